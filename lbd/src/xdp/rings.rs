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
}

impl Rings {
    /// On that memory, all of it free.
    pub fn new(memory: &'static [AtomicU64]) -> Self {
        let places = 0..memory.len() / RING_WORDS;
        Rings {
            memory,
            held: BTreeMap::new(),
            free: places.map(|n| (n * RING_WORDS, Tick(0))).collect(),
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
                let place = self.place_of(service.id, ring, now)?;
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
        let unused = |(_, since): &(usize, Tick)| since.0 == 0 || now.since(*since) >= IN_USE_MS;
        let nth = self.free.iter().position(unused)?;
        let (at, _) = self.free.swap_remove(nth);
        record::write_ring(self.memory, at, ring);
        Some(at)
    }

    /// The snapshot these were placed for is in force: what it does not need is free.
    pub fn settle(&mut self, placed: Placed, now: Tick) {
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
}

/// Where the rings of one snapshot stand.
#[derive(Default)]
pub struct Placed {
    at: BTreeMap<ServiceId, RingsAt>,
    held: BTreeMap<ServiceId, Vec<Held>>,
}

impl Placed {
    /// Of one service.
    pub fn of(&self, service: ServiceId) -> RingsAt {
        self.at.get(&service).copied().unwrap_or_default()
    }
}
