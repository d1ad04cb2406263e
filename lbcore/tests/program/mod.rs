//! The XDP program's half of the flow table, step by step as lbd/bpf/flows.h has it, on the smallest table.
//!
//! As x86 orders memory: a load acquires, a store releases, and an atomic instruction is a full barrier
//! besides.

use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// How the program loads.
pub const LOAD: Ordering = Ordering::Acquire;
const STORE: Ordering = Ordering::Release;
const ATOMIC: Ordering = Ordering::AcqRel;

const FREE: u64 = 0;
const BUSY: u64 = 1;
const GONE: u64 = 0;
const PENDING: u64 = 0xf << 32;

const SLOTS: usize = 4;
const LINE: usize = 8;
const FIRST_STRIPE: usize = 32;
const HEADER_LINES: usize = 64;

/// What `insert` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// STORED.
    Stored,
    /// FULL or YIELDED: the packet goes up to the director.
    Yielded,
}

/// Where the two words of every slot are.
pub fn slots() -> impl Iterator<Item = [usize; 2]> {
    (0..2 * SLOTS).map(|slot| {
        [
            HEADER_LINES * LINE + 2 * slot,
            HEADER_LINES * LINE + 2 * slot + 1,
        ]
    })
}

fn signature_at(bucket: usize, slot: usize) -> usize {
    (HEADER_LINES + bucket) * LINE + 2 * slot
}

fn swap(cell: &AtomicU64, old: u64, new: u64) -> bool {
    fence(Ordering::SeqCst);
    let swapped = cell.compare_exchange(old, new, ATOMIC, LOAD).is_ok();
    fence(Ordering::SeqCst);
    swapped
}

fn slots_with(memory: &[AtomicU64], bucket: usize, signature: u64) -> Vec<usize> {
    (0..SLOTS)
        .filter(|&slot| memory[signature_at(bucket, slot)].load(LOAD) == signature)
        .collect()
}

/// look_up: where the entry of a flow is, and the entry.
pub fn look_up(memory: &[AtomicU64], signature: u64) -> Option<(usize, u64)> {
    let at = (0..2).find_map(|bucket| {
        let slots = slots_with(memory, bucket, signature);
        Some(signature_at(bucket, *slots.first()?))
    })?;
    let word = memory[at + 1].load(LOAD);
    let state = word >> 32 & 0xf;
    let whole = (1..=9).contains(&state) && memory[at].load(LOAD) == signature;
    whole.then_some((at + 1, word))
}

/// A packet of a known flow.
pub fn update(memory: &[AtomicU64], at: usize, old: u64, new: u64) -> bool {
    swap(&memory[at], old, new)
}

/// loses_to: whether the flow that is pending in `mine` gives way to another entry of the same flow among
/// `rivals`, which are slots of a bucket.
fn loses_to(
    memory: &[AtomicU64],
    bucket: usize,
    rivals: &[usize],
    later: impl Fn(usize) -> bool,
) -> bool {
    let Some(&first) = rivals.first() else {
        return false;
    };
    let at = signature_at(bucket, first);
    let word = memory[at + 1].load(LOAD);
    if rivals.len() == 1 && word == GONE {
        return false;
    }
    if rivals.len() > 1 || !later(first) || word & PENDING != PENDING {
        return true;
    }
    if !swap(&memory[at + 1], word, GONE) {
        return true;
    }
    memory[at].store(FREE, STORE);
    false
}

/// insert, without the cold words.
pub fn insert(memory: &[AtomicU64], signature: u64, entry: u64) -> Said {
    let free = [0, 1].map(|bucket| slots_with(memory, bucket, FREE));
    // The emptier bucket, the first one of two alike.
    let ours = usize::from(free[1].len() > free[0].len());
    let Some(&slot) = free[ours].first() else {
        return Said::Yielded;
    };
    let at = signature_at(ours, slot);
    if !swap(&memory[at], FREE, BUSY) {
        return Said::Yielded;
    }
    memory[at + 1].store(entry | PENDING, STORE);
    fence(Ordering::SeqCst);
    memory[at].swap(signature, ATOMIC);
    fence(Ordering::SeqCst);
    let other = 1 - ours;
    let mut here = slots_with(memory, ours, signature);
    here.retain(|rival| *rival != slot);
    let loses = loses_to(memory, ours, &here, |rival| rival > slot) || {
        let there = slots_with(memory, other, signature);
        loses_to(memory, other, &there, |_| ours == 0)
    };
    if loses {
        if swap(&memory[at + 1], entry | PENDING, GONE) {
            memory[at].store(FREE, STORE);
        }
        return Said::Yielded;
    }
    if !swap(&memory[at + 1], entry | PENDING, entry) {
        return Said::Yielded;
    }
    memory[(FIRST_STRIPE + ours) * LINE].fetch_add(1, ATOMIC);
    Said::Stored
}
