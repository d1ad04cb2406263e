//! What the reconciler does with the XDP program, where there is one.

use super::Reconciler;
use crate::sys::clock;
use lbcore::flow::FlowTable;
use lbcore::id::{MAX_REALS, RealId};
use lbcore::load::{Loads, Weightiness};
use lbcore::time::Tick;
use std::time::Duration;

/// How often what the program has done is counted without being asked for: a microsecond a real.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// By then the program has heeded that it is to remember no new flows: a packet takes it microseconds.
const PAUSED_AFTER: Duration = Duration::from_millis(10);

impl Reconciler {
    /// A few times a second.
    pub(super) fn attend_fast_path(&mut self, now: Tick) {
        let Some(fast_path) = &mut self.engines.fast_path else {
            return;
        };
        fast_path.renew(&self.live.flows, now);
        if fast_path.has_room_again(now) {
            fast_path.follow(&self.live.table(), &self.world.links, now);
        }
        if now >= self.fast_path_counted + COUNTED_EVERY {
            self.fast_path_counted = now;
            self.count_fast_path();
        }
    }

    /// Counts what the program has done. For whoever shows counts, and now and then.
    pub(in crate::daemon) fn count_fast_path(&mut self) {
        if let (Some(fast_path), Some(counters)) =
            (&mut self.engines.fast_path, &self.live.fast_path)
        {
            fast_path.count(counters, &self.live.loads);
        }
    }

    /// Before workers run, and with this lbd's program in place: counts the flows of each real anew, since
    /// the last lbd's program has begun and ended some that nobody here was told of.
    pub(super) async fn recount(&mut self) {
        let Some(fast_path) = &mut self.engines.fast_path else {
            return;
        };
        let memory = fast_path.flow_words();
        FlowTable::pause_others(memory, true);
        tokio::time::sleep(PAUSED_AFTER).await;
        self.count_fast_path();
        let (found, known) = (Loads::default(), &self.live.loads);
        let table = &self.live.flows;
        table.for_each(|_, entry, _| found.add(entry.real, entry.state.weightiness()));
        for id in (0..MAX_REALS).filter_map(|id| u16::try_from(id).ok().map(RealId)) {
            for (kind, of) in [
                (
                    Weightiness::Active,
                    Loads::active as fn(&Loads, RealId) -> u32,
                ),
                (Weightiness::Inactive, Loads::inactive),
            ] {
                let off = i64::from(of(&found, id)) - i64::from(of(known, id));
                if off != 0 {
                    known.adjust(id, kind, off);
                }
            }
        }
        FlowTable::pause_others(memory, false);
    }

    /// Before a snapshot is published: counts under the ids of the one in force, and lets the program
    /// follow.
    pub(super) fn let_fast_path_follow(&mut self, table: &lbcore::service::ServiceTable) {
        self.count_fast_path();
        if let Some(fast_path) = &mut self.engines.fast_path {
            let now = clock::now();
            // The first time, before it takes the place of the last lbd's: new flows go on to be remembered.
            fast_path.renew(&self.live.flows, now);
            fast_path.follow(table, &self.world.links, now);
        }
    }
}
