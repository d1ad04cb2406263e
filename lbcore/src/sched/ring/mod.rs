//! The Maglev table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load
//! Balancer", NSDI 2016, section 3.4) with Katran's smooth weights.
//!
//! Every real walks the slots in an order of its own, which follows from the key and its identity
//! alone; the reals take turns, and each turn claims the next free slot of the walk. When a real
//! leaves, few slots but its own change hands.

#[cfg(test)]
mod tests;

use super::{Candidate, Identity, weighted};
use crate::id::RealId;
use crate::net::{FlowHash, HashKey};
use std::fmt;

/// One real for every hash.
#[derive(Clone, PartialEq, Eq)]
pub struct Ring(Box<[u16]>);

impl Ring {
    /// Number of slots: a prime (any step visits all slots), more than a hundred for each of 400
    /// reals (shares within 1 %), and 2^16 + 1, so that the remainder is cheap.
    pub const SIZE: usize = 65_537;

    /// Fills the ring; `None` when no candidate has a weight. The order of `candidates` does not
    /// matter, and scaling all weights alike changes nothing.
    pub fn build(candidates: &[Candidate], key: &HashKey) -> Option<Ring> {
        let mut sorted: Vec<&Candidate> = weighted(candidates).collect();
        sorted.sort_unstable_by_key(|candidate| candidate.identity);
        let heaviest = u32::from(sorted.iter().map(|candidate| candidate.weight).max()?);

        let mut walkers: Vec<Walker> = sorted
            .iter()
            .map(|candidate| Walker::new(candidate, heaviest, key))
            .collect();
        let mut slots = vec![0u16; Self::SIZE].into_boxed_slice();
        let mut free = FreeSlots::all();
        let mut left = Self::SIZE;
        loop {
            for walker in &mut walkers {
                if !walker.earns_a_turn(heaviest) {
                    continue;
                }
                slots[walker.claim(&mut free)] = walker.real.0;
                left -= 1;
                if left == 0 {
                    return Some(Ring(slots));
                }
            }
        }
    }

    /// The real that answers for `hash`.
    pub fn pick(&self, hash: FlowHash) -> RealId {
        RealId(self.0[Self::slot(hash)])
    }

    /// Which slot `hash` falls into, below [`Ring::SIZE`].
    pub fn slot(hash: FlowHash) -> usize {
        // Below 2^17, so nothing is cut off.
        (hash.0 % Self::SIZE as u64) as usize
    }

    /// All slots, each the number of a [`RealId`].
    pub fn slots(&self) -> &[u16] {
        &self.0
    }

    /// How many slots `real` has, of [`Ring::SIZE`].
    pub fn share(&self, real: RealId) -> usize {
        self.0.iter().filter(|slot| **slot == real.0).count()
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ring({} slots)", self.0.len())
    }
}

/// One real on its walk over the slots.
struct Walker {
    real: RealId,
    position: usize,
    step: usize,
    /// Twice its weight, earned each round. Doubled so that the half a turn everyone starts with
    /// is a whole number: shares are then rounded, not cut.
    income: u32,
    credit: u32,
}

impl Walker {
    fn new(candidate: &Candidate, heaviest: u32, key: &HashKey) -> Self {
        let (position, step) = walk(&candidate.identity, key);
        let income = 2 * u32::from(candidate.weight);
        Walker {
            real: candidate.real,
            position,
            step,
            income,
            credit: heaviest,
        }
    }

    /// Earns one round's income and pays for a turn if it can: the heaviest can in every round.
    fn earns_a_turn(&mut self, heaviest: u32) -> bool {
        self.credit += self.income;
        let turn = self.credit >= 2 * heaviest;
        if turn {
            self.credit -= 2 * heaviest;
        }
        turn
    }

    /// Claims the next free slot of the walk. There must be one.
    fn claim(&mut self, free: &mut FreeSlots) -> usize {
        loop {
            let slot = self.position;
            self.position += self.step;
            if self.position >= Ring::SIZE {
                self.position -= Ring::SIZE;
            }
            if free.take(slot) {
                return slot;
            }
        }
    }
}

/// Where a real's walk begins, and its step, never 0: the two halves of the keyed hash of its
/// identity.
fn walk(identity: &Identity, key: &HashKey) -> (usize, usize) {
    // The label keeps this hash apart from those of flows and client addresses.
    let mut bytes = *b"lbd ring\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    bytes[8..24].copy_from_slice(&identity.address.octets());
    bytes[24..26].copy_from_slice(&identity.port.to_be_bytes());
    let hash = key.bytes(&bytes);
    let size = Ring::SIZE as u64;
    // Both are below 2^17, so nothing is cut off.
    (
        ((hash >> 32) % size) as usize,
        ((hash & 0xffff_ffff) % (size - 1) + 1) as usize,
    )
}

/// Which slots are free, one bit each: 8 KiB instead of the ring's 128 stay in the L1 cache while
/// the walks visit them some 700,000 times.
struct FreeSlots(Vec<u64>);

impl FreeSlots {
    fn all() -> Self {
        FreeSlots(vec![u64::MAX; Ring::SIZE.div_ceil(64)])
    }

    /// Whether `slot` was free; it no longer is.
    fn take(&mut self, slot: usize) -> bool {
        let bit = 1 << (slot % 64);
        let free = self.0[slot / 64] & bit != 0;
        self.0[slot / 64] &= !bit;
        free
    }
}
