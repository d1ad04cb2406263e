//! The two words of a slot and the only ways they change.

use super::atomic::AtomicU64;
use super::layout::Bucket;
use crate::flow::{Entry, State};
use crate::net::FlowHash;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};

/// Signature of a slot that nobody uses.
pub(super) const FREE: u64 = 0;

/// Signature of a slot that one worker has claimed and is writing.
pub(super) const BUSY: u64 = 1;

/// Entry word of a slot whose flow was taken out, and before the first.
pub(super) const GONE: u64 = 0;

/// State bits of an entry that is published but not confirmed.
const PENDING: u64 = 0xf << 32;

/// The signature of a flow: its hash, away from the two words that mean something else.
#[inline]
pub(super) fn signature(hash: FlowHash) -> u64 {
    if hash.0 > BUSY { hash.0 } else { hash.0 + 2 }
}

/// Whether an entry word is published but not confirmed.
#[inline]
pub(super) fn is_pending(word: u64) -> bool {
    word & PENDING == PENDING
}

/// The word that announces `entry` before it is confirmed.
#[inline]
pub(super) fn pending(entry: Entry) -> u64 {
    entry.to_word() | PENDING
}

/// The entry of a word that may be pending, whose state is not there to be read then.
pub(super) fn announced(word: u64, state: State) -> Option<Entry> {
    if is_pending(word) {
        return Entry::from_word(word & !PENDING | Entry::state_bits(state));
    }
    Entry::from_word(word)
}

/// One slot.
#[derive(Clone, Copy)]
pub(super) struct SlotRef<'m> {
    signature: &'m AtomicU64,
    entry: &'m AtomicU64,
}

impl<'m> SlotRef<'m> {
    #[inline]
    pub fn of(line: &'m Bucket, index: usize) -> Self {
        SlotRef {
            signature: &line[2 * index],
            entry: &line[2 * index + 1],
        }
    }

    #[inline]
    pub fn holds(self, signature: u64) -> bool {
        self.signature.load(Relaxed) == signature
    }

    /// The signature, if a flow is published here.
    pub fn published(self) -> Option<u64> {
        Some(self.signature.load(Acquire)).filter(|&signature| signature > BUSY)
    }

    /// Free, with no trace of a flow.
    pub fn is_empty(self) -> bool {
        self.is_free() && self.entry.load(Relaxed) == GONE
    }

    /// Makes a slot empty, whatever it was. For the only user of a table.
    pub fn wipe(self) {
        self.entry.store(GONE, Relaxed);
        self.free();
    }

    pub fn is_free(self) -> bool {
        self.signature.load(Relaxed) == FREE
    }

    /// The entry word that belongs to `signature`: the slot had it before and after the word was
    /// read. The word changes only while the signature is another, so no other flow's is returned
    /// unless the slot changed hands twice in between, and the second time back to this flow.
    #[inline]
    pub fn read(self, signature: u64) -> Option<u64> {
        if self.signature.load(Acquire) != signature {
            return None;
        }
        let word = self.entry.load(Acquire);
        (self.signature.load(Relaxed) == signature && word != GONE).then_some(word)
    }

    /// Free -> busy: from here the slot is the caller's.
    pub fn claim(self) -> bool {
        self.signature
            .compare_exchange(FREE, BUSY, AcqRel, Relaxed)
            .is_ok()
    }

    /// Keeps a slot busy whose entry the caller has buried: from here the slot is the caller's.
    pub fn take_over(self) {
        self.signature.store(BUSY, Release);
    }

    /// Writes the entry word of a slot that is the caller's. Whoever reads it sees that the slot
    /// had become busy before.
    pub fn write(self, word: u64) {
        self.entry.store(word, Release);
    }

    /// Busy -> published: from here others see the flow.
    pub fn publish(self, signature: u64) {
        self.signature.store(signature, Release);
    }

    /// Pending -> itself, unless an insert of the same flow in an earlier slot has buried it.
    pub fn confirm(self, entry: Entry) -> bool {
        self.swap(pending(entry), entry.to_word())
    }

    #[inline]
    pub fn replace(self, old: Entry, new: Entry) -> bool {
        self.swap(old.to_word(), new.to_word())
    }

    /// `word` -> gone. Of a confirmed entry: from here the slot is the caller's, to free or to take
    /// over. Of a pending one: it stays its owner's, who alone frees it.
    pub fn bury(self, word: u64) -> bool {
        self.swap(word, GONE)
    }

    /// Gives a slot back that is the caller's.
    pub fn free(self) {
        self.signature.store(FREE, Release);
    }

    /// Whoever fails sees what the one who was quicker had done before: the slot of an insert that made
    /// ours give way.
    fn swap(self, old: u64, new: u64) -> bool {
        self.entry
            .compare_exchange(old, new, AcqRel, Acquire)
            .is_ok()
    }
}
