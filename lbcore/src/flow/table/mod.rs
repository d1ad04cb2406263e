//! The one flow table of all workers, on memory that may outlive the process.
//!
//! A flow lives in one of the eight slots of two candidate buckets, each one cache line. A slot is
//! two words: the *signature* (the flow's keyed hash; 0 is free, 1 is busy) and the *entry*. They
//! change without locks:
//!
//! - **Insert**: claim a slot (signature free -> busy), write the entry marked *pending* and the
//!   cold words, publish the signature, look whether the same flow is in another slot, confirm
//!   (entry pending -> itself). Of two workers that insert one flow at the same time, each sees
//!   the other's slot before it confirms or is seen; the earlier slot wins, and only confirmed
//!   entries were ever there.
//! - **Give way**: the entry becomes *gone* by compare-and-swap, by the hand of its owner or of the
//!   one who wins, but its owner alone frees the signature. The winner may come late, when the
//!   slot is another flow's already whose pending entry looks the same: that flow is not remembered
//!   then, but no slot is lost.
//! - **Update**: compare-and-swap of the entry.
//! - **Remove**: compare-and-swap of a confirmed entry to *gone*; whoever succeeds reports the flow,
//!   once, and frees the signature, or keeps the slot for a flow of its own.
//! - **Read**: signature, entry, signature again. A slot whose entry is pending or gone holds no
//!   flow, and another one may.
//!
//! A writer that dies in between leaves a slot busy, pending or gone; [`FlowTable::open`] frees it.

mod atomic;
mod cold;
mod insert;
mod layout;
mod slot;
mod walk;

pub use insert::{Evicted, Eviction, Inserted, Outcome};
pub use layout::{LayoutError, MAX_CAPACITY, OpenError};
pub use walk::Recovered;

use super::Entry;
use crate::net::FlowHash;
use layout::{Bucket, Header, SLOTS};
use slot::SlotRef;

/// The flow table. Cheap to copy around; every method may be called by any thread at any time.
#[derive(Clone, Copy, Debug)]
pub struct FlowTable<'m> {
    header: Header<'m>,
    /// One cache line each: four slots of signature and entry.
    hot: &'m [Bucket],
    /// One line a slot: whose flow it is. Written on insert, read by listings only.
    cold: &'m [Bucket],
}

/// Where an entry is. It speaks of the entry it was given with: another flow may be there later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(u32);

/// A flow that is in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Where it is.
    pub slot: Slot,
    /// What is remembered of it.
    pub entry: Entry,
}

impl<'m> FlowTable<'m> {
    /// The flow of this hash, if it is remembered. Two flows of one 64-bit hash would be taken
    /// for one: among a million flows a chance of 1 in 37 million, which nobody without the key
    /// can better.
    #[inline]
    pub fn lookup(&self, hash: FlowHash) -> Option<Hit> {
        let signature = slot::signature(hash);
        let [first, second] = self.candidates(signature);
        self.lookup_in(first, signature)
            .or_else(|| self.lookup_in(second, signature))
    }

    /// Where in memory the flow of this hash stands, in most cases: for a hint to the processor.
    #[inline]
    pub fn whereabouts(&self, hash: FlowHash) -> *const u8 {
        let [first, _] = self.candidates(slot::signature(hash));
        self.hot[first].as_ptr().cast()
    }

    /// Replaces `old` by `new`. `false` if the entry is no longer `old`: somebody else changed or
    /// removed it, and nothing was done.
    #[inline]
    pub fn update(&self, slot: Slot, old: Entry, new: Entry) -> bool {
        self.slot(slot).replace(old, new)
    }

    /// Forgets a flow. `false` if the slot no longer holds this flow with `old`: nothing was done.
    pub fn remove(&self, slot: Slot, hash: FlowHash, old: Entry) -> bool {
        self.slot(slot).holds(slot::signature(hash)) && self.retire(slot, old)
    }

    /// Flows in the table; exact when nobody writes.
    pub fn len(&self) -> usize {
        self.header.len()
    }

    /// Whether no flow is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Flows the table has room for.
    pub fn capacity(&self) -> usize {
        self.hot.len() * SLOTS
    }

    /// The two buckets a flow can be in: one of the first half by the low bits of its hash, one
    /// of the second half by the high bits. With ties to the first half this fills more of the
    /// table before a bucket overflows than two picks among all (Vöcking's "always go left").
    #[inline]
    fn candidates(&self, signature: u64) -> [usize; 2] {
        let half = self.hot.len() / 2;
        let low = signature as usize & (half - 1);
        let high = (signature >> 32) as usize & (half - 1);
        [low, half + high]
    }

    #[inline]
    fn lookup_in(&self, bucket: usize, signature: u64) -> Option<Hit> {
        let line = &self.hot[bucket];
        for index in 0..SLOTS {
            // A pending or gone entry is no entry.
            if let Some(entry) = SlotRef::of(line, index)
                .read(signature)
                .and_then(Entry::from_word)
            {
                return Some(Hit {
                    slot: Slot::new(bucket, index),
                    entry,
                });
            }
        }
        None
    }

    #[inline]
    fn slot(&self, slot: Slot) -> SlotRef<'m> {
        SlotRef::of(&self.hot[slot.bucket()], slot.index())
    }

    /// The slots a flow can be in, in the order in which inserts of one flow give way.
    fn candidate_slots(&self, signature: u64) -> impl Iterator<Item = Slot> {
        let slots = |bucket| (0..SLOTS).map(move |index| Slot::new(bucket, index));
        self.candidates(signature).into_iter().flat_map(slots)
    }

    /// Whether `a` comes before `b` in that order.
    fn precedes(&self, signature: u64, a: Slot, b: Slot) -> bool {
        self.candidate_slots(signature)
            .find(|&slot| slot == a || slot == b)
            == Some(a)
    }

    /// Takes `entry` out, if it still is what the slot holds, and counts it out.
    fn retire(&self, slot: Slot, entry: Entry) -> bool {
        let cell = self.slot(slot);
        let mine = cell.bury(entry.to_word());
        if mine {
            cell.free();
            self.header.count_out(slot);
        }
        mine
    }
}

impl Slot {
    fn new(bucket: usize, index: usize) -> Self {
        Slot((bucket * SLOTS + index) as u32)
    }

    fn number(self) -> usize {
        self.0 as usize
    }

    fn bucket(self) -> usize {
        self.number() / SLOTS
    }

    fn index(self) -> usize {
        self.number() % SLOTS
    }
}

#[cfg(test)]
mod tests;
