//! Second step: write a decision to the flow table, the counts and the frame.

use super::decide::{forbidden, forward, without_memory};
use super::{Chosen, Counters, Cursors, Decision, Memory, Verdict, View};
use crate::flow::{Entry, Evicted, Eviction, FlowTable, Outcome};
use crate::load::Loads;
use crate::net::{FlowHash, FlowKey, rewrite};
use crate::service::{FlowFate, Service, ServiceTable};
use crate::time::Tick;

/// The flow table as one commit writes it.
struct Writer<'a> {
    table: &'a ServiceTable,
    flows: &'a FlowTable<'a>,
    loads: &'a Loads,
    counters: &'a Counters,
    now: Tick,
}

/// Carries out `decision` on `frame`, which it was made about, and says what became of it: a frame
/// that is forwarded is rewritten, and to be sent; any other is counted, and as it was.
///
/// `slot` is the place of the interface the frame came in by. The view may have changed since the
/// decision in one way only: other workers and expiry write the same flow table. What they did is
/// seen by compare-and-swap, and then their word counts.
#[inline]
pub fn commit(
    decision: &Decision,
    frame: &mut [u8],
    view: &View<'_>,
    counters: &Counters,
    slot: usize,
    now: Tick,
) -> Verdict {
    let writer = Writer {
        table: view.table,
        flows: view.flows,
        loads: view.loads,
        counters,
        now,
    };
    let verdict = match (decision.verdict, decision.service) {
        (Verdict::Forward(chosen), Some(index)) => {
            match writer.remember(decision, &view.table.services[index]) {
                None => Verdict::Forward(chosen),
                Some(verdict) => not_back(verdict, frame),
            }
        }
        (verdict, _) => verdict,
    };
    match verdict {
        Verdict::Pass => {
            counters.interface(slot).passed.add(1);
        }
        Verdict::Drop(reason) => {
            counters.drops(reason).add(1);
        }
        Verdict::Forward(chosen) => {
            rewrite::direct_route(frame, chosen.path.src, chosen.path.dst);
            tally(decision, chosen, view.table, counters);
        }
    }
    verdict
}

/// What was decided of the way back holds for another real, too.
#[cold]
fn not_back(verdict: Verdict, frame: &[u8]) -> Verdict {
    let Verdict::Forward(chosen) = verdict else {
        return verdict;
    };
    match rewrite::macs(frame).and_then(|(dst, src)| forbidden(src, dst, chosen.path.dst)) {
        Some(reason) => Verdict::Drop(reason),
        None => verdict,
    }
}

#[inline]
fn tally(decision: &Decision, chosen: Chosen, table: &ServiceTable, counters: &Counters) {
    let Some(index) = decision.service else {
        return;
    };
    let both = [
        counters.service(table.services[index].id),
        counters.real(chosen.real),
    ];
    for tally in both {
        tally.packets.add(u64::from(decision.packets));
        tally.bytes.add(decision.bytes);
        if decision.begins() {
            tally.new_flows.add(1);
        }
    }
}

impl Writer<'_> {
    /// Writes the flow table and says where else the frame goes than it was decided to: another worker
    /// was first with this flow, or the table has no room.
    #[inline]
    fn remember(&self, decision: &Decision, service: &Service) -> Option<Verdict> {
        match decision.memory {
            Memory::Nothing | Memory::Unneeded => {}
            Memory::Refresh { slot, old, new } | Memory::Move { slot, old, new } => {
                if self.flows.update(slot, old, new) {
                    self.recount(old, new);
                } else {
                    return self.word_of_others(decision.hash);
                }
            }
            Memory::Unremembered => self.count_unremembered(decision),
            Memory::Store { key, new } => {
                let hash = decision.hash.unwrap_or_else(|| self.table.key.flow(&key));
                let (verdict, room) = self.store(hash, &key, new, service);
                if !room {
                    self.count_unremembered(decision);
                }
                return verdict;
            }
        }
        None
    }

    /// Where another worker has sent this flow meanwhile, so that it does not split.
    #[cold]
    fn word_of_others(&self, hash: Option<FlowHash>) -> Option<Verdict> {
        let entry = self.flows.lookup(hash?)?.entry;
        let real = self.table.real_of(&entry)?;
        (real.fate == FlowFate::Keep).then(|| forward(entry.real, real))
    }

    fn recount(&self, old: Entry, new: Entry) {
        let (was, is) = (old.state.weightiness(), new.state.weightiness());
        if old.real != new.real || was != is {
            self.loads.sub(old.real, was);
            self.loads.add(new.real, is);
            if old.state.completes(new.state) && old.real == new.real {
                self.counters.handshakes(new.real).completed.add(1);
            }
        }
    }

    fn count_out(&self, evicted: Option<Evicted>) {
        let Some(Evicted { entry, why }) = evicted else {
            return;
        };
        self.loads.sub(entry.real, entry.state.weightiness());
        self.counters.evicted(why).add(1);
        if why == Eviction::Expired {
            self.counters.expired(&entry);
        }
    }

    /// Flows are counted, not their packets.
    fn count_unremembered(&self, decision: &Decision) {
        if decision.begins() {
            self.counters.unremembered.add(1);
        }
    }

    /// Where else the frame goes; `None`: as decided. And whether the table had room.
    fn store(
        &self,
        hash: FlowHash,
        key: &FlowKey,
        new: Entry,
        service: &Service,
    ) -> (Option<Verdict>, bool) {
        let is_expired = |entry: Entry| self.table.is_expired(&entry, self.now);
        let inserted = self.flows.insert(hash, key, new, self.now, is_expired);
        self.count_out(inserted.evicted);
        match inserted.outcome {
            Outcome::Stored(_) => {
                self.loads.add(new.real, new.state.weightiness());
                (None, true)
            }
            Outcome::Existing(hit) => {
                let real = self.table.real_of(&hit.entry);
                (real.map(|real| forward(hit.entry.real, real)), true)
            }
            Outcome::Full => {
                let source = || self.table.key.source(&key.client);
                let verdict = without_memory(self.table, service, hash, source);
                (Some(verdict), false)
            }
        }
    }
}

impl Cursors {
    /// Moves on after a flow was placed. Call after [`commit`], once the view is let go.
    #[inline]
    pub fn placed(&mut self, decision: &Decision, table: &ServiceTable) {
        if decision.begins()
            && let Some(index) = decision.service
        {
            self.advance(table.services[index].id);
        }
    }
}
