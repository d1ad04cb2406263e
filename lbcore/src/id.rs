//! Small numbers that name a service or a real in the packet path, stable across reloads.

use std::fmt;

/// The most services one lbd serves; counters are preallocated for all of them.
pub const MAX_SERVICES: usize = 4096;

/// The most (service, real) pairs one lbd serves: a [`RealId`] fills 16 bits of a flow entry.
pub const MAX_REALS: usize = 65_536;

/// A virtual service. The number stays with the service's name for as long as any lbd on this
/// host remembers it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub u16);

impl ServiceId {
    /// The id as an index into per-service arrays.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// A real server *in one service*: the same machine has another id in another service. The number
/// stays with (service, address, port) across reloads and restarts; when it is given to another
/// pair, the [`Epoch`] beside it changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealId(pub u16);

impl RealId {
    /// The id as an index into per-real arrays.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service#{}", self.0)
    }
}

impl fmt::Display for RealId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "real#{}", self.0)
    }
}

/// How often a [`RealId`] has been given away, modulo 4096: a flow entry whose epoch differs from
/// the snapshot's speaks of a real that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Epoch(u16);

impl Epoch {
    /// Bits an epoch takes in a flow entry.
    pub const BITS: u32 = 12;

    /// Keeps the low 12 bits of `raw`.
    pub fn new(raw: u16) -> Self {
        Epoch(raw & ((1 << Self::BITS) - 1))
    }

    /// The number, below 4096.
    pub fn get(self) -> u16 {
        self.0
    }

    /// The epoch of the next owner of the same id.
    pub fn next(self) -> Self {
        Self::new(self.0.wrapping_add(1))
    }
}
