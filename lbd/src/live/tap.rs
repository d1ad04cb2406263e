//! Windows on live traffic: who traces, and how workers show packets and connections to them. While
//! nobody does, a worker looks at one flag a batch.

use arc_swap::ArcSwap;
use lbcore::api::ConnectionView;
use lbcore::director::{Decision, Verdict};
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use lbcore::trace::{Quota, Seen, Wanted};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// Traces at once: each costs every frame a comparison.
pub const MAX_TAPS: usize = 4;

/// Sightings that wait to be written: what a few batches bring. More are counted, not kept.
const QUEUE: usize = 1024;

/// What a worker shows. Packets are the many: a box for each would be an allocation in the worker's
/// loop.
#[allow(clippy::large_enum_variant)]
#[derive(Debug)]
pub enum Sighting {
    /// A frame and its verdict, with the snapshot it was decided by.
    Packet {
        /// When.
        at: Tick,
        /// What it is.
        seen: Seen,
        /// What was decided.
        decision: Decision,
        /// What became of it.
        verdict: Verdict,
        /// The snapshot.
        table: Arc<ServiceTable>,
    },
    /// A proxied connection that has its real, or has ended.
    Connection {
        /// When.
        at: Tick,
        /// What it is.
        view: Box<ConnectionView>,
    },
}

/// One trace, for the workers.
#[derive(Debug)]
pub struct Tap {
    /// What it wants to see.
    pub wanted: Wanted,
    /// How much of that.
    pub quota: Quota,
    queue: mpsc::Sender<Sighting>,
    queue_full: AtomicU64,
}

impl Tap {
    /// A tap, and where its sightings come out.
    pub fn new(wanted: Wanted, quota: Quota) -> (Self, mpsc::Receiver<Sighting>) {
        let (queue, sightings) = mpsc::channel(QUEUE);
        let tap = Tap {
            wanted,
            quota,
            queue,
            queue_full: AtomicU64::new(0),
        };
        (tap, sightings)
    }

    /// A frame was dealt with.
    pub fn packet(
        &self,
        at: Tick,
        seen: &Seen,
        decision: &Decision,
        verdict: Verdict,
        table: &Arc<ServiceTable>,
    ) {
        if self.wanted.packet(seen, decision, verdict, table) && self.quota.admit(at) {
            self.show(Sighting::Packet {
                at,
                seen: *seen,
                decision: *decision,
                verdict,
                table: table.clone(),
            });
        }
    }

    /// Shows what was wanted and admitted; a worker waits for nobody.
    pub fn show(&self, sighting: Sighting) {
        if self.queue.try_send(sighting).is_err() {
            self.queue_full.fetch_add(1, Release);
        }
    }

    /// Sightings nobody had room for.
    pub fn queue_full(&self) -> u64 {
        self.queue_full.load(Acquire)
    }
}

/// All traces.
#[derive(Debug, Default)]
pub struct Taps {
    any: AtomicBool,
    list: ArcSwap<Vec<Arc<Tap>>>,
    writing: Mutex<()>,
}

impl Taps {
    /// Whether somebody traces.
    #[inline]
    pub fn any(&self) -> bool {
        self.any.load(Relaxed)
    }

    /// Who traces.
    pub fn list(&self) -> Arc<Vec<Arc<Tap>>> {
        self.list.load_full()
    }

    /// One more; false if there are [`MAX_TAPS`] already.
    pub fn add(&self, tap: Arc<Tap>) -> bool {
        let mut added = false;
        self.change(|list| {
            added = list.len() < MAX_TAPS;
            if added {
                list.push(tap);
            }
        });
        added
    }

    /// One has seen enough.
    pub fn remove(&self, tap: &Arc<Tap>) {
        self.change(|list| list.retain(|other| !Arc::ptr_eq(other, tap)));
    }

    fn change(&self, how: impl FnOnce(&mut Vec<Arc<Tap>>)) {
        let _alone = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut list = self.list.load().to_vec();
        how(&mut list);
        self.any.store(!list.is_empty(), Relaxed);
        self.list.store(Arc::new(list));
    }
}
