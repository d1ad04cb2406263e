//! Where rings stand in the memory the program reads them from.

use super::record::{self, RING_WORDS, RingsAt};
use lbcore::id::ServiceId;
use lbcore::sched::Ring;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A packet that was under way when a ring was let go has long been sent by then, in milliseconds.
const IN_USE_MS: u64 = 100;

/// How many rings there is room for with so many services: two for each, which a change of all of them
/// takes, where that is little; and more for changes that come quickly.
pub fn places_for(services: usize) -> usize {
    services + services.min(256) + 16
}

/// A ring and its place.
type Held = (Arc<Ring>, usize);

/// The places of all rings that the program may read.
pub struct Rings {
    memory: &'static [AtomicU64],
    held: BTreeMap<ServiceId, Vec<Held>>,
    /// Places nobody uses, and since when.
    free: Vec<(usize, Tick)>,
    /// Rings of the snapshot in force that have none.
    homeless: usize,
}

impl Rings {
    /// On that memory, all of it free.
    pub fn new(memory: &'static [AtomicU64]) -> Self {
        let places = 0..memory.len() / RING_WORDS;
        Rings {
            memory,
            held: BTreeMap::new(),
            free: places.map(|n| (n * RING_WORDS, Tick(0))).collect(),
            homeless: 0,
        }
    }

    /// Writes the rings of a snapshot where nothing reads yet. What the snapshot in force needs stays until
    /// [`settle`](Self::settle).
    pub fn place(&mut self, table: &ServiceTable, now: Tick) -> Placed {
        let mut placed = Placed::default();
        for service in &table.services {
            let mut held = Vec::new();
            let mut at = |ring: Option<&Arc<Ring>>| {
                let ring = ring?;
                let Some(place) = self.place_of(service.id, ring, now) else {
                    placed.homeless += 1;
                    return None;
                };
                held.push((ring.clone(), place));
                Some(place)
            };
            let ring = at(service.ring.as_ref());
            let past = at(service.past.as_ref().map(|past| &past.ring));
            placed.at.insert(service.id, RingsAt { ring, past });
            placed.held.insert(service.id, held);
        }
        placed
    }

    fn place_of(&mut self, service: ServiceId, ring: &Arc<Ring>, now: Tick) -> Option<usize> {
        let known = self.held.get(&service).into_iter().flatten();
        if let Some((_, at)) = known.into_iter().find(|(held, _)| Arc::ptr_eq(held, ring)) {
            return Some(*at);
        }
        let nth = self.free.iter().position(|free| is_unused(free, now))?;
        let (at, _) = self.free.swap_remove(nth);
        record::write_ring(self.memory, at, ring);
        Some(at)
    }

    /// The snapshot these were placed for is in force: what it does not need is free.
    pub fn settle(&mut self, placed: Placed, now: Tick) {
        self.homeless = placed.homeless;
        let before = std::mem::replace(&mut self.held, placed.held);
        let kept = |at: usize| self.held.values().flatten().any(|(_, kept)| *kept == at);
        let gone: Vec<usize> = before
            .into_values()
            .flatten()
            .map(|(_, at)| at)
            .filter(|at| !kept(*at))
            .collect();
        self.free.extend(gone.into_iter().map(|at| (at, now)));
    }

    /// Whether places come free in a moment.
    pub fn has_more_soon(&self) -> bool {
        !self.free.is_empty()
    }

    /// Whether rings that found no place would find one now.
    pub fn has_room_again(&self, now: Tick) -> bool {
        self.homeless > 0 && self.free.iter().any(|free| is_unused(free, now))
    }
}

/// No packet that was under way reads there any more.
fn is_unused((_, since): &(usize, Tick), now: Tick) -> bool {
    since.0 == 0 || now.since(*since) >= IN_USE_MS
}

/// Where the rings of one snapshot stand.
#[derive(Default)]
pub struct Placed {
    at: BTreeMap<ServiceId, RingsAt>,
    held: BTreeMap<ServiceId, Vec<Held>>,
    /// Rings that found none.
    pub homeless: usize,
}

impl Placed {
    /// Of one service.
    pub fn of(&self, service: ServiceId) -> RingsAt {
        self.at.get(&service).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbcore::service::fixture::World;

    #[test]
    fn a_ring_without_a_place_has_one_when_others_are_let_go() {
        let memory = (0..RING_WORDS)
            .map(|_| AtomicU64::new(0))
            .collect::<Vec<_>>();
        let mut rings = Rings::new(memory.leak());
        let mut world = World::web("scheduler = \"maglev\"", &[1, 1]);
        let tell = |rings: &mut Rings, table: &ServiceTable, now| {
            let placed = rings.place(table, now);
            let there = placed.of(table.services[0].id).ring.is_some();
            rings.settle(placed, now);
            there
        };
        assert!(tell(&mut rings, &world.table(), Tick(1000)));
        world.down("rs1");
        let table = world.table();
        assert!(
            !tell(&mut rings, &table, Tick(2000)),
            "the one place is in use"
        );
        assert!(
            !rings.has_room_again(Tick(2000)),
            "a packet may read there yet"
        );
        assert!(rings.has_room_again(Tick(2000 + IN_USE_MS)));
        assert!(tell(&mut rings, &table, Tick(2000 + IN_USE_MS)));
        assert!(!rings.has_room_again(Tick(3000)));
    }
}
