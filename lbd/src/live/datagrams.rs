//! Datagrams of the proxy, counted so that every one is accounted for: in each direction, what was
//! received was sent, or dropped for one reason.

use super::Outcome;
use lbcore::director::Count;

/// Which way a datagram goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From a client to a real.
    ToReal,
    /// From a real to a client.
    ToClient,
}

/// Why a datagram went no further. The words are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DatagramDrop {
    /// From no address or port that can be answered.
    Martian,
    /// From a stranger, while this lbd is in maintenance.
    Maintenance,
    /// No real may serve.
    NoReal,
    /// No room for a new session: every real, the service or the host has all it takes, and
    /// every session is active.
    Full,
    /// The client is the only real there is.
    OwnAddress,
    /// No port is left towards the real from this client's address.
    NoPorts,
    /// The client's address has all the sessions it may have.
    PerSource,
    /// The receive queue was filling up: strangers went, so that known clients did not.
    Flood,
    /// Its real is dead, and the service says `on_dead = "drop"`.
    DeadReal,
    /// The real has no socket on its port.
    Refused,
    /// Longer than a datagram can be, or than the way takes.
    TooBig,
    /// The kernel had no room to send it.
    NoBuffer,
    /// There is no route.
    Unreachable,
    /// Our own trouble: no descriptors, no memory, no permission.
    OwnTrouble,
}

impl DatagramDrop {
    /// Every reason, in the order of its number.
    pub const ALL: [DatagramDrop; 14] = [
        DatagramDrop::Martian,
        DatagramDrop::Maintenance,
        DatagramDrop::NoReal,
        DatagramDrop::Full,
        DatagramDrop::OwnAddress,
        DatagramDrop::NoPorts,
        DatagramDrop::PerSource,
        DatagramDrop::Flood,
        DatagramDrop::DeadReal,
        DatagramDrop::Refused,
        DatagramDrop::TooBig,
        DatagramDrop::NoBuffer,
        DatagramDrop::Unreachable,
        DatagramDrop::OwnTrouble,
    ];

    /// The word in metrics.
    pub fn word(self) -> &'static str {
        match self {
            DatagramDrop::Martian => "martian",
            DatagramDrop::Maintenance => "maintenance",
            DatagramDrop::NoReal => "no_real",
            DatagramDrop::Full => "full",
            DatagramDrop::OwnAddress => "own_address",
            DatagramDrop::NoPorts => "no_ports",
            DatagramDrop::PerSource => "per_source",
            DatagramDrop::Flood => "flood",
            DatagramDrop::DeadReal => "dead_real",
            DatagramDrop::Refused => "refused",
            DatagramDrop::TooBig => "too_big",
            DatagramDrop::NoBuffer => "no_buffer",
            DatagramDrop::Unreachable => "unreachable",
            DatagramDrop::OwnTrouble => "own_trouble",
        }
    }

    /// How a session that could not begin for this reason ended.
    pub fn outcome(self) -> Outcome {
        match self {
            DatagramDrop::Maintenance => Outcome::Maintenance,
            DatagramDrop::NoReal | DatagramDrop::DeadReal => Outcome::NoReal,
            DatagramDrop::Full => Outcome::Full,
            DatagramDrop::OwnAddress => Outcome::OwnAddress,
            DatagramDrop::NoPorts => Outcome::NoPorts,
            DatagramDrop::PerSource => Outcome::PerSource,
            DatagramDrop::Unreachable | DatagramDrop::Refused => Outcome::ConnectFailed,
            DatagramDrop::Martian
            | DatagramDrop::Flood
            | DatagramDrop::TooBig
            | DatagramDrop::NoBuffer
            | DatagramDrop::OwnTrouble => Outcome::OwnTrouble,
        }
    }
}

/// One direction.
#[derive(Debug, Default)]
pub struct WayCounts {
    /// Read from sockets.
    pub received: Count,
    /// Taken by the kernel to send.
    pub sent: Count,
    /// Lost in the kernel because a socket's receive queue was full; never received.
    pub lost: Count,
    drops: [Count; DatagramDrop::ALL.len()],
}

impl WayCounts {
    /// Of one reason.
    #[inline]
    pub fn drops(&self, reason: DatagramDrop) -> &Count {
        &self.drops[reason as usize]
    }

    /// Of all reasons.
    pub fn dropped(&self) -> u64 {
        self.drops.iter().map(Count::get).sum()
    }
}

/// One worker's datagrams, both ways.
#[derive(Debug, Default)]
pub struct DatagramCounts([WayCounts; 2]);

impl DatagramCounts {
    /// One way.
    #[inline]
    pub fn of(&self, way: Way) -> &WayCounts {
        &self.0[way as usize]
    }
}
