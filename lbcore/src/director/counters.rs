//! What one worker counted. Only that worker writes, so a count is a plain load and store, never a
//! locked addition; anybody may read and add the workers up.

use super::DropReason;
use crate::flow::{Entry, Eviction, State};
use crate::id::{MAX_REALS, MAX_SERVICES, RealId, ServiceId};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Interfaces one lbd can receive on: counters are preallocated for them.
pub const MAX_INTERFACES: usize = 16;

/// A count with one writer.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// Adds `n`. For the one writer.
    #[inline]
    pub fn add(&self, n: u64) {
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// The count so far.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What clients sent to one service or real.
#[derive(Debug, Default)]
pub struct Tally {
    /// Packets; a super-frame counts as its segments.
    pub packets: Count,
    /// IP bytes.
    pub bytes: Count,
    /// Flows that began.
    pub new_flows: Count,
}

/// TCP handshakes of one real that clients began: how they ended, as far as the client's side of
/// them shows. A SYN sent again is no other handshake.
#[derive(Debug, Default)]
pub struct Handshakes {
    /// The client's ACK followed: the real's answer had reached it.
    pub completed: Count,
    /// Nothing followed the SYN until its flow was forgotten.
    pub unanswered: Count,
}

/// Frames of one interface. Received = sent + passed + all drops, exactly, over all interfaces.
#[derive(Debug, Default)]
pub struct InterfaceTally {
    /// Frames the engine got, after the socket filter.
    pub received: Count,
    /// Frames the kernel took to send.
    pub sent: Count,
    /// Frames left to the host.
    pub passed: Count,
}

/// One worker's counters.
#[derive(Debug)]
pub struct Counters {
    services: Box<[Tally]>,
    reals: Box<[Tally]>,
    handshakes: Box<[Handshakes]>,
    interfaces: [InterfaceTally; MAX_INTERFACES],
    drops: [Count; DropReason::ALL.len()],
    /// Flows answered by the ring because the table had no room.
    pub unremembered: Count,
    evicted: [Count; 3],
}

impl Default for Counters {
    fn default() -> Self {
        Counters {
            services: (0..MAX_SERVICES).map(|_| Tally::default()).collect(),
            reals: (0..MAX_REALS).map(|_| Tally::default()).collect(),
            handshakes: (0..MAX_REALS).map(|_| Handshakes::default()).collect(),
            interfaces: Default::default(),
            drops: Default::default(),
            unremembered: Count::default(),
            evicted: Default::default(),
        }
    }
}

impl Counters {
    /// Of one service.
    #[inline]
    pub fn service(&self, id: ServiceId) -> &Tally {
        &self.services[id.index()]
    }

    /// Of one real.
    #[inline]
    pub fn real(&self, id: RealId) -> &Tally {
        &self.reals[id.index()]
    }

    /// Of one real.
    #[inline]
    pub fn handshakes(&self, id: RealId) -> &Handshakes {
        &self.handshakes[id.index()]
    }

    /// Counts what the end of a flow says of its handshake. Only a flow that has outlived its time
    /// says something: one that made room for others may have been answered yet.
    pub fn expired(&self, entry: &Entry) {
        if entry.state == State::SynRecv {
            self.handshakes(entry.real).unanswered.add(1);
        }
    }

    /// Of the interface with this place in `network.interfaces`; the last one beyond the bound.
    #[inline]
    pub fn interface(&self, slot: usize) -> &InterfaceTally {
        &self.interfaces[slot.min(MAX_INTERFACES - 1)]
    }

    /// Flows that made room for newer ones.
    pub fn evicted(&self, why: Eviction) -> &Count {
        &self.evicted[why as usize]
    }

    /// Of one reason.
    #[inline]
    pub fn drops(&self, reason: DropReason) -> &Count {
        &self.drops[reason as usize]
    }
}
