//! Time as a plain number: milliseconds of CLOCK_MONOTONIC, which the next process shares.

use std::ops::{Add, Sub};
use std::time::Duration;

/// Milliseconds since boot. Comes in as a parameter everywhere; nothing here reads a clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

impl Tick {
    /// Milliseconds since `earlier`; 0 if `earlier` is later.
    pub fn since(self, earlier: Tick) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl Add<Duration> for Tick {
    type Output = Tick;

    fn add(self, rhs: Duration) -> Tick {
        Tick(
            self.0
                .saturating_add(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}

impl Sub<Duration> for Tick {
    type Output = Tick;

    fn sub(self, rhs: Duration) -> Tick {
        Tick(
            self.0
                .saturating_sub(u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX)),
        )
    }
}
