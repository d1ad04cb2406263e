//! The XDP program's half of the flow table, step by step as lbd/bpf/flows.h has it, on the smallest table.
//!
//! As x86 orders memory: a load acquires, a store releases, and an atomic instruction is a full barrier
//! besides.

use lbcore::net::{Addr, FlowKey};
use loom::sync::atomic::{AtomicU64, Ordering, fence};

/// How the program loads.
pub const LOAD: Ordering = Ordering::Acquire;
const STORE: Ordering = Ordering::Release;
const ATOMIC: Ordering = Ordering::AcqRel;

const FREE: u64 = 0;
const BUSY: u64 = 1;
const GONE: u64 = 0;
const PENDING: u64 = 0xf << 32;

const AT_PAUSED: usize = 4;
const SLOTS: usize = 4;
const LINE: usize = 8;
const FIRST_STRIPE: usize = 32;
const HEADER_LINES: usize = 64;

/// Where the two words of every slot are.
pub fn slots() -> impl Iterator<Item = [usize; 2]> {
    (0..2).flat_map(|bucket| {
        (0..SLOTS).map(move |slot| {
            let at = signature_at(bucket, slot);
            [at, at + 1]
        })
    })
}

fn signature_at(bucket: usize, slot: usize) -> usize {
    (HEADER_LINES + bucket) * LINE + 2 * slot
}

fn compare_and_swap(cell: &AtomicU64, old: u64, new: u64) -> u64 {
    fence(Ordering::SeqCst);
    let was = cell.compare_exchange(old, new, ATOMIC, LOAD);
    fence(Ordering::SeqCst);
    was.unwrap_or_else(|other| other)
}

fn slots_with(memory: &[AtomicU64], bucket: usize, signature: u64) -> Vec<usize> {
    (0..SLOTS)
        .filter(|&slot| memory[signature_at(bucket, slot)].load(LOAD) == signature)
        .collect()
}

/// look_up: where the entry of a flow is, and what was read there.
pub fn look_up(memory: &[AtomicU64], signature: u64) -> Option<(usize, u64)> {
    let at = (0..2).find_map(|bucket| {
        let mut slots = (0..SLOTS).map(|slot| signature_at(bucket, slot));
        slots.find(|&at| memory[at].load(LOAD) == signature)
    })?;
    let word = memory[at + 1].load(LOAD);
    let same = memory[at].load(LOAD) == signature;
    Some((at + 1, if same { word } else { GONE }))
}

/// A packet of a known flow.
pub fn update(memory: &[AtomicU64], at: usize, old: u64, new: u64) -> bool {
    compare_and_swap(&memory[at], old, new) == old
}

/// loses_to, with the bits of `later` as a function.
fn loses_to(
    memory: &[AtomicU64],
    bucket: usize,
    signature: u64,
    rivals: &[usize],
    later: impl Fn(usize) -> bool,
) -> bool {
    let Some(&first) = rivals.first() else {
        return false;
    };
    if rivals.len() > 1 {
        return true;
    }
    let at = signature_at(bucket, first);
    let mut word = memory[at + 1].load(LOAD);
    if later(first) && word & PENDING == PENDING {
        let was = compare_and_swap(&memory[at + 1], word, GONE);
        word = if was == word { GONE } else { was };
    }
    word != GONE && memory[at].load(LOAD) == signature
}

fn half(address: Addr, high: bool) -> u64 {
    let bits = u128::from_be_bytes(address.octets());
    (bits >> if high { 64 } else { 0 }) as u64
}

/// insert: whether the flow is remembered.
pub fn insert(memory: &[AtomicU64], signature: u64, flow: &FlowKey, entry: u64, now: u64) -> bool {
    if memory[AT_PAUSED].load(LOAD) != 0 {
        return false;
    }
    let free = [0, 1].map(|bucket| slots_with(memory, bucket, FREE));
    // The emptier bucket, the first one of two alike.
    let ours = usize::from(free[1].len() > free[0].len());
    let Some(&slot) = free[ours].first() else {
        return false;
    };
    let at = signature_at(ours, slot);
    if compare_and_swap(&memory[at], FREE, BUSY) != FREE {
        return false;
    }
    let pending = entry | PENDING;
    memory[at + 1].store(pending, STORE);
    let cold = (HEADER_LINES + 2 + ours * SLOTS + slot) * LINE;
    let service = flow.service;
    let ports = u64::from(flow.client_port) << 48
        | u64::from(service.port) << 32
        | u64::from(service.protocol.number()) << 16;
    let words = [
        half(flow.client, true),
        half(flow.client, false),
        half(service.vip, true),
        half(service.vip, false),
        ports,
        now,
        0,
        0,
    ];
    for (at, word) in (cold..).zip(words) {
        memory[at].store(word, STORE);
    }
    fence(Ordering::SeqCst);
    memory[at].swap(signature, ATOMIC);
    fence(Ordering::SeqCst);
    let other = 1 - ours;
    let mut here = slots_with(memory, ours, signature);
    here.retain(|rival| *rival != slot);
    let gives_way = loses_to(memory, ours, signature, &here, |rival| rival > slot)
        || {
            let there = slots_with(memory, other, signature);
            loses_to(memory, other, signature, &there, |_| ours == 0)
        }
        || compare_and_swap(&memory[at + 1], pending, entry) != pending;
    if gives_way {
        compare_and_swap(&memory[at + 1], pending, GONE);
        memory[at].store(FREE, STORE);
        return false;
    }
    memory[(FIRST_STRIPE + ours) * LINE].fetch_add(1, ATOMIC);
    true
}
