//! What a worker does with a frame: decide, commit, count.

use crate::io::{Disposition, FrameHandler};
use crate::live::{Live, Tap, WorkerShared};
use crate::sys::{clock, prefetch};
use arc_swap::{ArcSwap, Cache};
use lbcore::director::{
    Cursors, Decision, DropReason, Flood, Recognised, Verdict, View, commit, decide_recognised,
    recognise,
};
use lbcore::net::FrameMeta;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use lbcore::trace::Seen;
use std::sync::Arc;

/// Flow table buckets looked at for expiry per millisecond, however many turns that has: a table of 2^18
/// buckets is swept in about four seconds, at well under 1 % of a core.
const EXPIRE_BUCKETS: u64 = 64;

/// And at most so many at a time: frames wait meanwhile.
const EXPIRE_AT_ONCE: u64 = 4096;

/// A worker's frame handler.
pub struct Packets {
    live: Arc<Live>,
    me: Arc<WorkerShared>,
    table: Cache<Arc<ArcSwap<ServiceTable>>, Arc<ServiceTable>>,
    current: Arc<ServiceTable>,
    /// Who traces, if somebody does.
    taps: Option<Arc<Vec<Arc<Tap>>>>,
    cursors: Cursors,
    flood: Flood,
    now: Tick,
    next_bucket: usize,
    swept: Tick,
}

impl Packets {
    /// For worker `me`, which is number `number` of all.
    pub fn new(live: Arc<Live>, me: Arc<WorkerShared>, number: usize) -> Self {
        let mut table = Cache::new(live.table_cell());
        let current = table.load().clone();
        let flood = Flood::new(live.flows.capacity());
        let count = live.workers().len().max(1);
        // Workers sweep the whole table together: each begins in its own part.
        let next_bucket = live.flows.buckets() / count * number;
        Packets {
            live,
            me,
            table,
            current,
            taps: None,
            cursors: Cursors::new(number),
            flood,
            now: clock::now(),
            next_bucket,
            swept: clock::now(),
        }
    }

    /// Goes by the clock and by the snapshot in force.
    fn follow(&mut self) {
        self.now = clock::now();
        let latest = self.table.load();
        if !Arc::ptr_eq(latest, &self.current) {
            self.current = latest.clone();
        }
    }

    fn slot_of(&self, ifindex: u32) -> usize {
        self.current
            .interface(ifindex)
            .map_or(self.me.slot, |i| i.slot)
    }

    /// Shows a frame to who traces.
    #[cold]
    fn show(&self, seen: &Seen, decision: &Decision, verdict: Verdict) {
        for tap in self.taps.iter().flat_map(|taps| taps.iter()) {
            tap.packet(self.now, seen, decision, verdict, &self.current);
        }
    }

    /// Forgets the flows of so many buckets that are over.
    fn sweep(&mut self, buckets: usize) {
        let (table, now, loads) = (&self.current, self.now, &self.live.loads);
        let counters = &self.me.counters;
        // Before the first snapshot no real is known, and every flow the last lbd left would seem
        // to have outlived its own.
        if table.generation == 0 {
            return;
        }
        self.live.flows.expire(
            &mut self.next_bucket,
            buckets,
            |entry| table.is_expired(&entry, now),
            |gone| {
                loads.sub(gone.real, gone.state.weightiness());
                // A flow whose real is gone says nothing of who has its id now.
                if table.real_of(&gone).is_some() {
                    counters.expired(&gone);
                }
            },
        );
    }
}

impl FrameHandler for Packets {
    type Recognised = Recognised;

    fn begin(&mut self) {
        self.follow();
        self.taps = self.live.taps.any().then(|| self.live.taps.list());
    }

    #[inline]
    fn recognise(&self, frame: &[u8], meta: &FrameMeta) -> Recognised {
        let recognised = recognise(frame, meta, &self.current);
        if let Some(hash) = recognised.hash() {
            prefetch(self.live.flows.whereabouts(hash));
        }
        recognised
    }

    #[inline]
    fn frame(
        &mut self,
        frame: &mut [u8],
        meta: &FrameMeta,
        recognised: &Recognised,
    ) -> Disposition {
        self.me.counters.interface(self.me.slot).received.add(1);
        // Before the frame is rewritten.
        let seen = self.taps.is_some().then(|| Seen::of(frame, meta));
        let view = View {
            table: &self.current,
            flows: &self.live.flows,
            loads: &self.live.loads,
            cursors: &self.cursors,
            flood: self.flood.is_on(),
        };
        let decision = decide_recognised(recognised, &view, self.now);
        let verdict = commit(
            &decision,
            frame,
            &view,
            &self.me.counters,
            self.me.slot,
            self.now,
        );
        if decision.begins() {
            self.cursors.placed(&decision, &self.current);
            self.flood.began();
        }
        if let Some(seen) = &seen {
            self.show(seen, &decision, verdict);
        }
        match verdict {
            Verdict::Forward(chosen) => Disposition::Forward {
                ifindex: chosen.path.ifindex,
            },
            Verdict::Pass | Verdict::Drop(_) => Disposition::Release,
        }
    }

    fn sent(&mut self, ifindex: u32, frames: u64) {
        self.me
            .counters
            .interface(self.slot_of(ifindex))
            .sent
            .add(frames);
    }

    fn lost(&mut self, _ifindex: u32, reason: DropReason) {
        if reason == DropReason::Truncated {
            self.me.counters.interface(self.me.slot).received.add(1);
        }
        self.me.counters.drops(reason).add(1);
    }

    fn idle(&mut self) {
        // A worker that gets no frames sweeps, too: others store flows of reals that are new.
        self.follow();
        self.me.beat(self.now);
        let passed = self.now.since(self.swept);
        if passed > 0 {
            self.swept = self.now;
            self.sweep((passed * EXPIRE_BUCKETS).min(EXPIRE_AT_ONCE) as usize);
        }
        self.flood.tick(self.now, || self.live.flows.len());
    }
}

#[cfg(test)]
mod tests;
