//! What one proxy worker shows of itself: the worker counts, others read.

use super::datagrams::DatagramCounts;
use lbcore::director::{Count, Counters};
use lbcore::id::{MAX_SERVICES, RealId, ServiceId};
use lbcore::time::Tick;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// How a proxied connection or session ended; each has exactly one. The words are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Outcome {
    /// Both sides were done.
    Ok,
    /// This lbd takes no new sessions, by the operator's wish.
    Maintenance,
    /// No real may serve.
    NoReal,
    /// Every real has all the connections it takes.
    Full,
    /// The client is the only real there is.
    OwnAddress,
    /// No port is left towards the real from this client's address.
    NoPorts,
    /// A header told of a client whose address no real can be shown: they are of another family.
    OtherFamily,
    /// Every real that was tried refused.
    ConnectFailed,
    /// Every real that was tried kept silent.
    ConnectTimeout,
    /// The client reset it.
    ClientReset,
    /// The real reset it.
    RealReset,
    /// Nothing came for too long.
    Idle,
    /// Its real died, was drained for too long, or is gone.
    RealGone,
    /// A PROXY protocol header from someone who is not trusted.
    Untrusted,
    /// No proper PROXY protocol header came in time.
    BadHeader,
    /// The client's address has all the connections it may have.
    PerSource,
    /// A udp session made room for a newer one.
    Evicted,
    /// An operator ended it.
    Cleared,
    /// lbd stopped.
    Shutdown,
    /// Our own trouble: no descriptors, no memory.
    OwnTrouble,
}

impl Outcome {
    /// Every outcome, in the order of its number.
    pub const ALL: [Outcome; 20] = [
        Outcome::Ok,
        Outcome::Maintenance,
        Outcome::NoReal,
        Outcome::Full,
        Outcome::OwnAddress,
        Outcome::NoPorts,
        Outcome::OtherFamily,
        Outcome::ConnectFailed,
        Outcome::ConnectTimeout,
        Outcome::ClientReset,
        Outcome::RealReset,
        Outcome::Idle,
        Outcome::RealGone,
        Outcome::Untrusted,
        Outcome::BadHeader,
        Outcome::PerSource,
        Outcome::Evicted,
        Outcome::Cleared,
        Outcome::Shutdown,
        Outcome::OwnTrouble,
    ];

    /// The word in metrics and JSON.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Maintenance => "maintenance",
            Outcome::NoReal => "no_real",
            Outcome::Full => "full",
            Outcome::OwnAddress => "own_address",
            Outcome::NoPorts => "no_ports",
            Outcome::OtherFamily => "other_family",
            Outcome::ConnectFailed => "connect_failed",
            Outcome::ConnectTimeout => "connect_timeout",
            Outcome::ClientReset => "client_reset",
            Outcome::RealReset => "real_reset",
            Outcome::Idle => "idle",
            Outcome::RealGone => "real_gone",
            Outcome::Untrusted => "untrusted",
            Outcome::BadHeader => "bad_header",
            Outcome::PerSource => "per_source",
            Outcome::Evicted => "evicted",
            Outcome::Cleared => "cleared",
            Outcome::Shutdown => "shutdown",
            Outcome::OwnTrouble => "own_trouble",
        }
    }
}

/// Of one service, for one worker.
#[derive(Debug, Default)]
pub struct ProxyTally {
    /// Connections and sessions that began.
    pub begun: Count,
    outcomes: [Count; Outcome::ALL.len()],
    /// Bytes on their way to reals.
    pub to_real: Count,
    /// Bytes on their way to clients.
    pub to_client: Count,
}

impl ProxyTally {
    /// Connections that ended so.
    pub fn ended(&self, how: Outcome) -> &Count {
        &self.outcomes[how as usize]
    }

    /// Connections that are there now.
    pub fn open(&self) -> u64 {
        let ended: u64 = self.outcomes.iter().map(Count::get).sum();
        self.begun.get().saturating_sub(ended)
    }
}

/// Upper bounds of the connect durations' buckets, in seconds.
pub const CONNECT_BUCKETS: [f64; 10] = [
    0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.05, 0.25, 1.0, 3.0,
];

/// How long connecting to one real took.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConnectTimes {
    /// By bucket of [`CONNECT_BUCKETS`], not cumulated; longer ones are in `count` alone.
    pub buckets: [u64; CONNECT_BUCKETS.len()],
    /// All.
    pub count: u64,
    /// Seconds, all together.
    pub sum: f64,
}

impl ConnectTimes {
    fn add(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        if let Some(at) = CONNECT_BUCKETS.iter().position(|bound| seconds <= *bound) {
            self.buckets[at] += 1;
        }
        self.count += 1;
        self.sum += seconds;
    }

    /// Both together.
    pub fn merge(&mut self, other: &ConnectTimes) {
        for (mine, theirs) in self.buckets.iter_mut().zip(other.buckets) {
            *mine += theirs;
        }
        self.count += other.count;
        self.sum += other.sum;
    }
}

/// One proxy worker, seen from outside.
#[derive(Debug)]
pub struct ProxyShared {
    /// Packets, bytes and new flows by service and real, as clients sent them.
    pub counters: Counters,
    /// Datagrams, both ways.
    pub datagrams: DatagramCounts,
    services: Box<[ProxyTally]>,
    connects: Mutex<HashMap<RealId, ConnectTimes>>,
    beat: AtomicU64,
}

impl Default for ProxyShared {
    fn default() -> Self {
        ProxyShared {
            counters: Counters::default(),
            datagrams: DatagramCounts::default(),
            services: (0..MAX_SERVICES).map(|_| ProxyTally::default()).collect(),
            connects: Mutex::default(),
            beat: AtomicU64::new(0),
        }
    }
}

impl ProxyShared {
    /// Of one service.
    #[inline]
    pub fn service(&self, id: ServiceId) -> &ProxyTally {
        &self.services[id.index()]
    }

    /// Remembers how long a real took to accept.
    pub fn connected(&self, real: RealId, took: Duration) {
        let mut connects = self.connects.lock().unwrap_or_else(PoisonError::into_inner);
        connects.entry(real).or_default().add(took);
    }

    /// How long reals took to accept, so far.
    pub fn connects(&self) -> HashMap<RealId, ConnectTimes> {
        let connects = self.connects.lock().unwrap_or_else(PoisonError::into_inner);
        connects.clone()
    }

    /// Says that the worker lives.
    pub fn beat(&self, now: Tick) {
        self.beat.store(now.0, Relaxed);
    }

    /// When it last said so.
    pub fn last_beat(&self) -> Tick {
        Tick(self.beat.load(Relaxed))
    }
}
