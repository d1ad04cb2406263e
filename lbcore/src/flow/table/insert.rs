//! Remembering a new flow, and making room for it.

use super::atomic::fence;
use super::layout::SLOTS;
use super::{FlowTable, Hit, Slot, cold, slot};
use crate::flow::Entry;
use crate::net::{FlowHash, FlowKey};
use crate::time::Tick;
use std::sync::atomic::Ordering::SeqCst;

/// A flow seen this recently is in use: it never makes room for another.
const PROTECTED_MS: u64 = 5_000;

/// Tries to claim a slot while other workers take the ones we see: more than a few in a row means
/// a flood, and then the ring answers.
const CLAIM_TRIES: usize = 4;

/// What became of an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the evicted flow has to be counted out"]
pub struct Inserted {
    /// Whether the flow is remembered now.
    pub outcome: Outcome,
    /// The flow that made room, whatever the outcome: it is forgotten, and this caller alone has
    /// to count it out.
    pub evicted: Option<Evicted>,
}

/// Whether a flow is remembered after an insert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is, as the caller said.
    Stored(Slot),
    /// Another worker remembered it first: that entry's real is the flow's.
    Existing(Hit),
    /// It is not: every slot it could take holds a flow in use. Also, once in a long while, if
    /// another flow's insert took this one's entry for that of its rival, whose slot this was just
    /// before.
    Full,
}

/// A flow that made room for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// What was remembered of it.
    pub entry: Entry,
    /// Why it was the one.
    pub why: Eviction,
}

/// Why a flow made room, in the order in which they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Eviction {
    /// The caller said it was over.
    Expired,
    /// It was closing, and the oldest of these.
    Closing,
    /// Only its opening had been seen, and it was the oldest of these.
    Opening,
}

impl Eviction {
    /// The word, a metric label.
    pub fn word(self) -> &'static str {
        match self {
            Eviction::Expired => "expired",
            Eviction::Closing => "closing",
            Eviction::Opening => "opening",
        }
    }
}

impl<'m> FlowTable<'m> {
    /// Remembers a flow. Where all candidate slots are taken, a flow makes room for it: one that
    /// `is_expired` says is over, else the oldest closing one, else the oldest of which only the
    /// opening was seen; never one seen in the last five seconds, unless it is over.
    pub fn insert(
        &self,
        hash: FlowHash,
        key: &FlowKey,
        entry: Entry,
        now: Tick,
        is_expired: impl FnMut(Entry) -> bool,
    ) -> Inserted {
        if let Some(hit) = self.lookup(hash) {
            return Inserted {
                outcome: Outcome::Existing(hit),
                evicted: None,
            };
        }
        let signature = slot::signature(hash);
        let Some((slot, evicted)) = self.claim(signature, now, is_expired) else {
            return Inserted {
                outcome: Outcome::Full,
                evicted: None,
            };
        };
        let cell = self.slot(slot);
        cell.write(slot::pending(entry));
        cold::write(&self.cold[slot.number()], key, now);
        cell.publish(signature);
        Inserted {
            outcome: self.settle(slot, signature, entry),
            evicted,
        }
    }

    /// Makes one slot ours: a free one of the emptier bucket, else one whose flow makes room.
    fn claim(
        &self,
        signature: u64,
        now: Tick,
        mut is_expired: impl FnMut(Entry) -> bool,
    ) -> Option<(Slot, Option<Evicted>)> {
        for _ in 0..CLAIM_TRIES {
            if let Some(slot) = self.free_slot(signature) {
                if self.slot(slot).claim() {
                    return Some((slot, None));
                }
                continue;
            }
            let (slot, victim) = self.victim(signature, now, &mut is_expired)?;
            let cell = self.slot(slot);
            if cell.bury(victim.entry.to_word()) {
                cell.take_over();
                self.header.count_out(slot);
                return Some((slot, Some(victim)));
            }
        }
        None
    }

    /// A free slot of the bucket that has more of them: two choices keep buckets even, so that
    /// nearly all of the capacity is used before one overflows.
    fn free_slot(&self, signature: u64) -> Option<Slot> {
        let [first, second] = self.candidates(signature).map(|bucket| {
            let mut free = (0..SLOTS)
                .map(|index| Slot::new(bucket, index))
                .filter(|&slot| self.slot(slot).is_free());
            let slot = free.next();
            (slot, free.count())
        });
        if first.0.is_some() && first.1 >= second.1 {
            first.0
        } else {
            second.0.or(first.0)
        }
    }

    /// The flow that has to make room, if one may.
    fn victim(
        &self,
        signature: u64,
        now: Tick,
        is_expired: &mut impl FnMut(Entry) -> bool,
    ) -> Option<(Slot, Evicted)> {
        self.candidate_slots(signature)
            .filter_map(|slot| {
                let (_, entry) = self.entry_at(slot)?;
                let why = eviction(entry, now, is_expired)?;
                Some((slot, Evicted { entry, why }))
            })
            .min_by_key(|(_, victim)| (victim.why, std::cmp::Reverse(victim.entry.idle_ms(now))))
    }

    /// Makes sure that the flow just published in `mine` is in the table once, and confirms it or
    /// gives it up: to a confirmed entry, and to a pending one in an earlier slot. A pending one
    /// in a later slot gives way, and its owner frees that slot.
    fn settle(&self, mine: Slot, signature: u64, entry: Entry) -> Outcome {
        // Between our publishing and our looking: of two inserts of one flow at least one sees
        // the other.
        fence(SeqCst);
        let cell = self.slot(mine);
        let mut rivals = self.candidate_slots(signature).filter(|&slot| slot != mine);
        let winner = rivals.find_map(|slot| {
            let rival = self.slot(slot);
            let word = rival.read(signature)?;
            let yields = slot::is_pending(word) && self.precedes(signature, mine, slot);
            if yields && rival.bury(word) {
                return None;
            }
            self.standing(slot, signature, entry)
        });
        if winner.is_none() && cell.confirm(entry) {
            self.header.count_in(mine);
            return Outcome::Stored(mine);
        }
        // Unless the one we give way to has done it.
        cell.bury(slot::pending(entry));
        cell.free();
        let earlier = || {
            self.candidate_slots(signature)
                .find_map(|slot| self.standing(slot, signature, entry))
        };
        winner
            .or_else(earlier)
            .map_or(Outcome::Full, Outcome::Existing)
    }

    /// What a slot says of this flow, confirmed or not. A pending entry does not show its state,
    /// which is that of a flow as new as `like`.
    fn standing(&self, slot: Slot, signature: u64, like: Entry) -> Option<Hit> {
        let word = self.slot(slot).read(signature)?;
        Some(Hit {
            slot,
            entry: slot::announced(word, like.state)?,
        })
    }
}

/// Whether, and why, a flow may make room for another.
fn eviction(
    entry: Entry,
    now: Tick,
    is_expired: &mut impl FnMut(Entry) -> bool,
) -> Option<Eviction> {
    if is_expired(entry) {
        return Some(Eviction::Expired);
    }
    if entry.idle_ms(now) < PROTECTED_MS {
        return None;
    }
    match entry.state {
        state if state.closing() => Some(Eviction::Closing),
        state if state.opening() => Some(Eviction::Opening),
        _ => None,
    }
}
