//! Going through the table: expiry in slices, listings, and taking over what an earlier process
//! left.

use super::layout::SLOTS;
use super::{FlowTable, Slot, cold, slot};
use crate::flow::Entry;
use crate::net::{FlowHash, FlowKey, HashKey};
use crate::time::Tick;

/// A packet of the flow may change its entry between the look and the removal, which then looks
/// again: a packet takes longer than that, so twice in a row is rare and more is not to be expected.
const FORGET_TRIES: usize = 8;

/// What [`FlowTable::open`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Flows that go on.
    pub flows: usize,
    /// Slots that were half written or damaged, and are free now.
    pub swept: usize,
}

impl FlowTable<'_> {
    /// Forgets the flows of the next `buckets` buckets that `is_expired` says are over, and
    /// reports each to `gone`, which has to count it out. `cursor` remembers where to go on; any
    /// value is good.
    pub fn expire(
        &self,
        cursor: &mut usize,
        buckets: usize,
        mut is_expired: impl FnMut(Entry) -> bool,
        mut gone: impl FnMut(Entry),
    ) {
        for _ in 0..buckets.min(self.hot.len()) {
            let bucket = *cursor % self.hot.len();
            *cursor = bucket + 1;
            for slot in (0..SLOTS).map(|index| Slot::new(bucket, index)) {
                if let Some((_, entry)) = self.entry_at(slot)
                    && is_expired(entry)
                    && self.retire(slot, entry)
                {
                    gone(entry);
                }
            }
        }
    }

    /// Shows every flow with the tick of its insert. Each is whole; all together are no snapshot
    /// while others write.
    pub fn for_each(&self, mut show: impl FnMut(FlowKey, Entry, Tick)) {
        for slot in self.slots() {
            if let Some((signature, entry)) = self.entry_at(slot)
                && let Some((key, created)) = cold::read(&self.cold[slot.number()])
                && self.slot(slot).holds(signature)
            {
                show(key, entry, created);
            }
        }
    }

    /// The tick of a flow's insert, if `slot` is still its place.
    pub fn created(&self, slot: Slot, hash: FlowHash) -> Option<Tick> {
        let (_, created) = cold::read(&self.cold[slot.number()])?;
        let same = self.slot(slot).holds(slot::signature(hash));
        same.then_some(created)
    }

    /// Forgets every flow that `is_meant` names, and reports each to `gone`, which has to count it
    /// out.
    pub fn forget(
        &self,
        mut is_meant: impl FnMut(&FlowKey, Entry) -> bool,
        mut gone: impl FnMut(Entry),
    ) {
        for slot in self.slots() {
            for _ in 0..FORGET_TRIES {
                if let Some((signature, entry)) = self.entry_at(slot)
                    && let Some((key, _)) = cold::read(&self.cold[slot.number()])
                    && self.slot(slot).holds(signature)
                    && is_meant(&key, entry)
                {
                    if self.retire(slot, entry) {
                        gone(entry);
                        break;
                    }
                } else {
                    break;
                }
            }
        }
    }

    /// Buckets of the table, for slices of [`FlowTable::expire`].
    pub fn buckets(&self) -> usize {
        self.hot.len()
    }

    /// Frees what is not a whole flow of this key in a place where it would be found, and counts
    /// the others. Nobody else may write meanwhile.
    pub(super) fn recover(&self, key: &HashKey) -> Recovered {
        let mut recovered = Recovered { flows: 0, swept: 0 };
        for slot in self.slots() {
            let cell = self.slot(slot);
            if cell.is_empty() {
                continue;
            }
            if self.is_whole(slot, key) {
                recovered.flows += 1;
            } else {
                cell.wipe();
                recovered.swept += 1;
            }
        }
        self.header.set_len(recovered.flows);
        recovered
    }

    fn is_whole(&self, slot: Slot, key: &HashKey) -> bool {
        let Some((signature, _)) = self.entry_at(slot) else {
            return false;
        };
        let Some((flow, _)) = cold::read(&self.cold[slot.number()]) else {
            return false;
        };
        slot::signature(key.flow(&flow)) == signature
            && self.candidates(signature).contains(&slot.bucket())
    }

    /// The confirmed entry in a slot, and its flow's signature.
    pub(super) fn entry_at(&self, slot: Slot) -> Option<(u64, Entry)> {
        let cell = self.slot(slot);
        let signature = cell.published()?;
        Some((signature, Entry::from_word(cell.read(signature)?)?))
    }

    fn slots(&self) -> impl Iterator<Item = Slot> {
        let buckets = 0..self.hot.len();
        buckets.flat_map(|bucket| (0..SLOTS).map(move |index| Slot::new(bucket, index)))
    }
}
