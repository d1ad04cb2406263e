//! Sessions of a proxy for datagrams: found by a key, ordered by when they were last heard, and
//! when there is no room, the one that is missed least makes room.
//!
//! ```text
//!            insert                client after real               victim, expired, remove
//!  (nothing) ------> newcomer ---------------------> established ------> (nothing)
//! ```
//!
//! Anybody can make a newcomer with one datagram from an address that is not theirs. Only a client
//! that hears the answers speaks again after one, so only such a session is established, and a
//! flood of newcomers pushes out newcomers.

mod list;

#[cfg(test)]
mod tests;

use crate::net::FlowHash;
use crate::time::Tick;
use hashbrown::HashTable;
use list::{Links, List, NONE};

/// A newcomer that was heard this recently may still get its answer, so an established session
/// that was silent for long goes before it: longer than any round trip.
pub const NEWCOMER_GRACE_MS: u64 = 1_000;

/// An established session that was heard this recently never makes room: longer than the
/// keepalives of QUIC, WireGuard and SIP are apart.
pub const ESTABLISHED_GRACE_MS: u64 = 30_000;

/// The most one table holds, whatever it is asked for: as many as Linux lets a process have
/// descriptors unless it is told otherwise (`fs.nr_open`).
pub const MAX_SESSIONS: usize = 1 << 20;

/// Where a session stands in the table, until it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Slot(u32);

impl Slot {
    /// The slot as a number, for a place that keeps only numbers (epoll).
    pub fn number(self) -> u32 {
        self.0
    }

    /// The slot of a number; whether a session stands there, [`Sessions::at`] says.
    pub fn from_number(number: u32) -> Self {
        Slot(number)
    }
}

/// Who was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The client.
    Client,
    /// The real.
    Real,
}

/// How much a session has proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Its client has not spoken after an answer yet.
    Newcomer,
    /// Client, real and client again: the client is where it says it is.
    Established,
}

/// One session.
#[derive(Debug)]
struct Held<K, V> {
    key: K,
    value: V,
    hash: FlowHash,
    heard: Tick,
    group: u16,
    rank: Rank,
    answered: bool,
    links: Links,
}

#[derive(Debug)]
enum Place<K, V> {
    Held(Held<K, V>),
    Free { next: u32 },
}

/// The sessions of one group (a service), each list from the one silent longest to the last heard.
#[derive(Debug, Default)]
struct Group {
    newcomers: List,
    established: List,
}

/// A table of at most `capacity` sessions. Every operation takes the same time however many there
/// are, except [`Sessions::victim`] over all groups, which looks at each group once.
#[derive(Debug)]
pub struct Sessions<K, V> {
    places: Vec<Place<K, V>>,
    free: u32,
    by_key: HashTable<u32>,
    groups: Vec<Group>,
    capacity: usize,
}

impl<K: Eq, V> Sessions<K, V> {
    /// An empty table. Address space is taken at once, memory as sessions come: a table that grew
    /// by moving would hold up to three times what it needs.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.min(MAX_SESSIONS);
        let mut places = Vec::new();
        // Without it the table grows by moving after all.
        let _ = places.try_reserve_exact(capacity);
        Sessions {
            places,
            free: NONE,
            by_key: HashTable::new(),
            groups: Vec::new(),
            capacity,
        }
    }

    /// What one session takes, its share of the index included (at its fullest 7 of 8 places of 5
    /// bytes each are in use, at its emptiest half as many).
    pub const BYTES: usize = std::mem::size_of::<Place<K, V>>() + 12;

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Whether [`Sessions::insert`] would refuse.
    pub fn is_full(&self) -> bool {
        self.len() >= self.capacity
    }

    /// Of one group.
    pub fn len_of(&self, group: u16) -> usize {
        self.groups
            .get(usize::from(group))
            .map_or(0, |group| group.newcomers.len() + group.established.len())
    }

    /// The session called `key`, whose hash is `hash`. The hash must be keyed: strangers choose
    /// the keys.
    #[inline]
    pub fn find(&self, hash: FlowHash, key: &K) -> Option<Slot> {
        let is_it = |at: &u32| self.held(*at).is_some_and(|held| held.key == *key);
        self.by_key.find(hash.0, is_it).map(|at| Slot(*at))
    }

    /// A newcomer in `group`, heard `now`. Gives `value` back if the table is full or has the key.
    pub fn insert(
        &mut self,
        hash: FlowHash,
        key: K,
        group: u16,
        value: V,
        now: Tick,
    ) -> Result<Slot, V> {
        if self.is_full() || self.find(hash, &key).is_some() {
            return Err(value);
        }
        let held = Place::Held(Held {
            key,
            value,
            hash,
            heard: now,
            group,
            rank: Rank::Newcomer,
            answered: false,
            links: Links::default(),
        });
        let at = match self.places.get_mut(self.free as usize) {
            Some(place) => {
                let at = self.free;
                if let Place::Free { next } = *place {
                    self.free = next;
                }
                *place = held;
                at
            }
            None => {
                self.places.push(held);
                // Below `MAX_SESSIONS`.
                (self.places.len() - 1) as u32
            }
        };
        let places = &self.places;
        self.by_key
            .insert_unique(hash.0, at, |at| match &places[*at as usize] {
                Place::Held(held) => held.hash.0,
                Place::Free { .. } => 0,
            });
        let index = usize::from(group);
        if index >= self.groups.len() {
            self.groups.resize_with(index + 1, Group::default);
        }
        self.push_last(at);
        Ok(Slot(at))
    }

    /// The session's value, if one stands there.
    #[inline]
    pub fn at(&self, slot: Slot) -> Option<&V> {
        Some(&self.held(slot.0)?.value)
    }

    /// The session's value, to change.
    #[inline]
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut V> {
        Some(&mut self.held_mut(slot.0)?.value)
    }

    /// The session's key.
    pub fn key(&self, slot: Slot) -> Option<&K> {
        Some(&self.held(slot.0)?.key)
    }

    /// When it was last heard, from either side, and what it has proved.
    pub fn standing(&self, slot: Slot) -> Option<(Tick, Rank)> {
        let held = self.held(slot.0)?;
        Some((held.heard, held.rank))
    }

    /// Says that `side` was heard.
    #[inline]
    pub fn heard(&mut self, slot: Slot, side: Side, now: Tick) {
        let Some(held) = self.held_mut(slot.0) else {
            return;
        };
        let rank = match side {
            Side::Client if held.answered => Rank::Established,
            Side::Client | Side::Real => held.rank,
        };
        held.answered |= side == Side::Real;
        if held.heard >= now && held.rank == rank {
            return; // Its place in the order is right already.
        }
        self.unlink(slot.0);
        if let Some(held) = self.held_mut(slot.0) {
            held.heard = held.heard.max(now);
            held.rank = rank;
        }
        self.push_last(slot.0);
    }

    /// Ends the session.
    pub fn remove(&mut self, slot: Slot) -> Option<V> {
        let hash = self.held(slot.0)?.hash;
        self.unlink(slot.0);
        if let Ok(entry) = self.by_key.find_entry(hash.0, |at| *at == slot.0) {
            entry.remove();
        }
        let place = self.places.get_mut(slot.0 as usize)?;
        let free = Place::Free { next: self.free };
        let Place::Held(held) = std::mem::replace(place, free) else {
            return None;
        };
        self.free = slot.0;
        Some(held.value)
    }

    /// The session that shall make room for a newcomer: in `group`, or in any. In this order: the
    /// newcomer silent longest, if it had its time to be answered; the established one silent
    /// longest, if that is long; the newcomer silent longest. `None`: all are established and
    /// active, and the newcomer must be refused.
    pub fn victim(&self, group: Option<u16>, now: Tick) -> Option<Slot> {
        let groups = match group {
            Some(group) => {
                let index = usize::from(group);
                self.groups.get(index..=index)?
            }
            None => &self.groups,
        };
        let newcomer = self.silent_longest(groups.iter().map(|group| &group.newcomers));
        let established = self.silent_longest(groups.iter().map(|group| &group.established));
        let silent = |found: Option<(u32, Tick)>, grace| {
            found.filter(|(_, heard)| now.since(*heard) >= grace)
        };
        silent(newcomer, NEWCOMER_GRACE_MS)
            .or_else(|| silent(established, ESTABLISHED_GRACE_MS))
            .or(newcomer)
            .map(|(at, _)| Slot(at))
    }

    /// A session of `group` that was not heard for `idle_ms`, the one silent longest of its rank.
    pub fn expired(&self, group: u16, idle_ms: u64, now: Tick) -> Option<Slot> {
        let group = self.groups.get(usize::from(group))?;
        [&group.newcomers, &group.established]
            .into_iter()
            .find_map(|list| {
                let (at, heard) = self.first(list)?;
                (now.since(heard) >= idle_ms).then_some(Slot(at))
            })
    }

    /// Every session: its slot, key and value.
    pub fn iter(&self) -> impl Iterator<Item = (Slot, &K, &V)> {
        (0u32..)
            .zip(&self.places)
            .filter_map(|(at, place)| match place {
                Place::Held(held) => Some((Slot(at), &held.key, &held.value)),
                Place::Free { .. } => None,
            })
    }

    fn silent_longest<'a>(&self, lists: impl Iterator<Item = &'a List>) -> Option<(u32, Tick)> {
        lists
            .filter_map(|list| self.first(list))
            .min_by_key(|(_, heard)| *heard)
    }

    fn first(&self, list: &List) -> Option<(u32, Tick)> {
        let at = list.first()?;
        Some((at, self.held(at)?.heard))
    }

    #[inline]
    fn held(&self, at: u32) -> Option<&Held<K, V>> {
        match self.places.get(at as usize)? {
            Place::Held(held) => Some(held),
            Place::Free { .. } => None,
        }
    }

    #[inline]
    fn held_mut(&mut self, at: u32) -> Option<&mut Held<K, V>> {
        match self.places.get_mut(at as usize)? {
            Place::Held(held) => Some(held),
            Place::Free { .. } => None,
        }
    }

    /// Takes it out of its list.
    fn unlink(&mut self, at: u32) {
        let Some(held) = self.held_mut(at) else {
            return;
        };
        let (group, rank) = (held.group, held.rank);
        let links = std::mem::take(&mut held.links);
        if let Some(before) = self.held_mut(links.before) {
            before.links.after = links.after;
        }
        if let Some(after) = self.held_mut(links.after) {
            after.links.before = links.before;
        }
        self.list_mut(group, rank).unlinked(links);
    }

    /// Puts it at the end of the list it belongs to: the last heard.
    fn push_last(&mut self, at: u32) {
        let Some(held) = self.held(at) else {
            return;
        };
        let (group, rank) = (held.group, held.rank);
        let before = self.list_mut(group, rank).push(at);
        if let Some(last) = self.held_mut(before) {
            last.links.after = at;
        }
        if let Some(held) = self.held_mut(at) {
            held.links.before = before;
        }
    }

    fn list_mut(&mut self, group: u16, rank: Rank) -> &mut List {
        let group = &mut self.groups[usize::from(group)];
        match rank {
            Rank::Newcomer => &mut group.newcomers,
            Rank::Established => &mut group.established,
        }
    }
}
