//! What one packet worker shows of itself.

use lbcore::director::Counters;
use lbcore::time::Tick;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// One worker on one interface, seen from outside. The worker writes, others read.
#[derive(Debug)]
pub struct WorkerShared {
    /// The interface's name.
    pub interface: String,
    /// Its place in `network.interfaces`.
    pub slot: usize,
    /// Which of the interface's workers.
    pub index: usize,
    /// What it receives from.
    pub source: Source,
    /// Its counters.
    pub counters: Counters,
    beat: AtomicU64,
    open: AtomicBool,
    filter_version: AtomicU64,
    ring_drops: AtomicU64,
    state: Mutex<WorkerState>,
}

/// What a worker receives from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// A raw socket, of which it opens a new one whenever the interface is made anew.
    RawSocket,
    /// AF_XDP sockets that were opened at the start, beside the interface's raw socket.
    Queues,
}

/// What a worker is doing, in words for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WorkerState {
    /// Waiting for the interface, or for an engine to open: why.
    Waiting(String),
    /// Forwarding.
    Running,
    /// Its queues are gone for good, and others do its work: why.
    Ended(String),
}

impl WorkerShared {
    /// A worker that has not begun.
    pub fn new(interface: &str, slot: usize, index: usize, source: Source) -> Self {
        WorkerShared {
            interface: interface.to_owned(),
            slot,
            index,
            source,
            counters: Counters::default(),
            beat: AtomicU64::new(0),
            open: AtomicBool::new(false),
            filter_version: AtomicU64::new(0),
            ring_drops: AtomicU64::new(0),
            state: Mutex::new(WorkerState::Waiting("starting".to_owned())),
        }
    }

    /// Says that the worker lives.
    pub fn beat(&self, now: Tick) {
        self.beat.store(now.0, Relaxed);
    }

    /// When it last said so.
    pub fn last_beat(&self) -> Tick {
        Tick(self.beat.load(Relaxed))
    }

    /// Follows the worker's state; true if it changed.
    pub fn set_state(&self, state: WorkerState) -> bool {
        self.open.store(state == WorkerState::Running, Relaxed);
        let mut held = self
            .state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let changed = *held != state;
        *held = state;
        changed
    }

    /// What it is doing.
    pub fn state(&self) -> WorkerState {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Whether it has an engine open.
    pub fn is_open(&self) -> bool {
        self.open.load(Relaxed)
    }

    /// Whether it does nothing any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.state(), WorkerState::Ended(_))
    }

    /// The filter its engine has attached.
    pub fn filter_version(&self) -> u64 {
        self.filter_version.load(Relaxed)
    }

    /// Says which filter its engine has attached.
    pub fn set_filter_version(&self, version: u64) {
        self.filter_version.store(version, Relaxed);
    }

    /// Adds frames the kernel lost because the ring was full.
    pub fn add_ring_drops(&self, n: u64) {
        self.ring_drops.fetch_add(n, Relaxed);
    }

    /// Frames the kernel lost because the ring was full.
    pub fn ring_drops(&self) -> u64 {
        self.ring_drops.load(Relaxed)
    }
}
