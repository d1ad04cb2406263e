//! One flow in one word.

use super::State;
use crate::id::{Epoch, RealId};
use crate::time::Tick;

/// What is remembered of a flow: 64 bits, so that it changes as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where its packets go.
    pub real: RealId,
    /// Whose id `real` was when the flow began.
    pub epoch: Epoch,
    /// How far it is.
    pub state: State,
    /// When its last packet came.
    pub seen: Coarse,
}

const REAL_SHIFT: u32 = 48;
const EPOCH_SHIFT: u32 = 36;
const STATE_SHIFT: u32 = 32;
const STATE_MASK: u64 = 0xf;

impl Entry {
    /// The entry as a word; never 0, because no state is.
    #[inline]
    pub fn to_word(self) -> u64 {
        u64::from(self.real.0) << REAL_SHIFT
            | u64::from(self.epoch.get()) << EPOCH_SHIFT
            | Self::state_bits(self.state)
            | u64::from(self.seen.0)
    }

    /// A state at its place in a word.
    #[inline]
    pub(super) fn state_bits(state: State) -> u64 {
        (state as u64) << STATE_SHIFT
    }

    /// The entry of a word; `None` if its state bits are none of [`State`].
    #[inline]
    pub fn from_word(word: u64) -> Option<Self> {
        Some(Entry {
            real: RealId((word >> REAL_SHIFT) as u16),
            epoch: Epoch::new((word >> EPOCH_SHIFT) as u16),
            state: State::from_number((word >> STATE_SHIFT & STATE_MASK) as u8)?,
            seen: Coarse(word as u32),
        })
    }

    /// Milliseconds since its last packet.
    #[inline]
    pub fn idle_ms(&self, now: Tick) -> u64 {
        self.seen.idle_ms(now)
    }
}

/// A [`Tick`] in units of 64 ms, in 32 bits: it wraps after 8.7 years, which differences bear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Coarse(u32);

impl Coarse {
    /// Milliseconds in one unit.
    pub const UNIT_MS: u64 = 64;

    /// Workers read the clock once a batch, so one may see what another noted a moment ahead of
    /// its own time; a note further ahead than this is damage, or from before a reboot.
    const AHEAD_MS: u64 = 60_000;

    /// The unit `now` lies in.
    #[inline]
    pub fn at(now: Tick) -> Self {
        Coarse((now.0 / Self::UNIT_MS) as u32)
    }

    /// The number of the unit, modulo 2^32.
    pub fn units(self) -> u32 {
        self.0
    }

    /// Milliseconds from here to `now`, to the unit; 0 from slightly ahead of now, and years from
    /// far ahead.
    #[inline]
    pub fn idle_ms(self, now: Tick) -> u64 {
        let units = Coarse::at(now).0.wrapping_sub(self.0);
        if u64::from(units.wrapping_neg()) <= Self::AHEAD_MS / Self::UNIT_MS {
            return 0;
        }
        u64::from(units) * Self::UNIT_MS
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn time_ahead_is_fresh_and_far_ahead_is_old() {
        let now = Tick(1_000_000);
        assert_eq!(Coarse::at(Tick(now.0 - 6_400)).idle_ms(now), 6_400);
        assert_eq!(Coarse::at(now).idle_ms(now), 0);
        assert_eq!(Coarse::at(Tick(now.0 + 30_000)).idle_ms(now), 0);
        assert!(Coarse::at(Tick(now.0 + 120_000)).idle_ms(now) > 1_000_000_000);
    }

    proptest! {
        /// A word is an entry or none, and an entry comes back as it went in.
        #[test]
        fn words_and_entries(word in any::<u64>()) {
            match Entry::from_word(word) {
                Some(entry) => prop_assert_eq!(entry.to_word(), word),
                None => prop_assert!(!(1..=9).contains(&(word >> 32 & 0xf))),
            }
        }

        /// Idle time survives the wrap of the coarse clock.
        #[test]
        fn idle_time_is_right_to_the_unit(start in any::<u32>(), gone in 0u64..10_000_000) {
            let start = u64::from(start) * Coarse::UNIT_MS;
            let idle = Coarse::at(Tick(start)).idle_ms(Tick(start + gone));
            prop_assert_eq!(idle, gone / Coarse::UNIT_MS * Coarse::UNIT_MS);
        }
    }
}
