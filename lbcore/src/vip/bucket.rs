//! A token bucket: what strangers can make us send is bounded.

use crate::time::Tick;

/// Lets `per_second` answers pass in the long run and as many at once after a quiet second.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    per_second: u64,
    /// Thousandths of an answer, so that a millisecond's share is a whole number.
    level: u64,
    filled: Tick,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(per_second: u64, now: Tick) -> Self {
        Bucket {
            per_second,
            level: per_second * 1000,
            filled: now,
        }
    }

    /// Takes one answer out; false if there is none left.
    pub(super) fn take(&mut self, now: Tick) -> bool {
        let gained = now.since(self.filled).saturating_mul(self.per_second);
        self.level = self
            .level
            .saturating_add(gained)
            .min(self.per_second * 1000);
        self.filled = self.filled.max(now);
        match self.level.checked_sub(1000) {
            Some(rest) => {
                self.level = rest;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_full_at_once_then_the_rate() {
        let mut bucket = Bucket::new(10, Tick(0));
        let taken = (0..100).filter(|_| bucket.take(Tick(0))).count();
        assert_eq!(taken, 10);
        assert!(!bucket.take(Tick(99)));
        assert!(bucket.take(Tick(100)));
        assert!(!bucket.take(Tick(100)));
        let taken = (0..100).filter(|_| bucket.take(Tick(60_000))).count();
        assert_eq!(
            taken, 10,
            "a quiet minute fills it no further than a second does"
        );
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_away() {
        let mut bucket = Bucket::new(1, Tick(5000));
        assert!(bucket.take(Tick(5000)));
        assert!(!bucket.take(Tick(0)));
        assert!(!bucket.take(Tick(5999)));
        assert!(bucket.take(Tick(6000)));
    }
}
