//! How much of what matches is shown: one of so many, and so many a second. Many workers ask at
//! once; what is left out is counted by why.

use crate::time::Tick;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// The bounds of one trace.
#[derive(Debug)]
pub struct Quota {
    every: u64,
    per_second: u64,
    matched: AtomicU64,
    sampled_out: AtomicU64,
    over_rate: AtomicU64,
    /// The second (32 bits) and how many were shown in it.
    second: AtomicU64,
}

/// What became of all that matched so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spent {
    /// All.
    pub matched: u64,
    /// Left out by sampling.
    pub sampled_out: u64,
    /// More than the rate allows.
    pub over_rate: u64,
}

impl Quota {
    /// One of `every`, and at most `per_second`.
    pub fn new(every: u32, per_second: u32) -> Self {
        Quota {
            every: u64::from(every.max(1)),
            per_second: u64::from(per_second),
            matched: AtomicU64::new(0),
            sampled_out: AtomicU64::new(0),
            over_rate: AtomicU64::new(0),
            second: AtomicU64::new(0),
        }
    }

    /// Whether the next one that matches is shown: the first, and then each `every`-th.
    pub fn admit(&self, now: Tick) -> bool {
        let number = self.matched.fetch_add(1, Relaxed);
        if !number.is_multiple_of(self.every) {
            self.sampled_out.fetch_add(1, Release);
            return false;
        }
        let second = (now.0 / 1000) << 32;
        let counted = self.second.fetch_update(Relaxed, Relaxed, |held| {
            let shown = match held >> 32 << 32 == second {
                true => held & u64::from(u32::MAX),
                false => 0,
            };
            (shown < self.per_second).then_some(second | (shown + 1))
        });
        if counted.is_err() {
            self.over_rate.fetch_add(1, Release);
        }
        counted.is_ok()
    }

    /// What became of all so far. The parts are read before the whole, which so is never smaller,
    /// whoever counts meanwhile.
    pub fn spent(&self) -> Spent {
        let sampled_out = self.sampled_out.load(Acquire);
        let over_rate = self.over_rate.load(Acquire);
        Spent {
            matched: self.matched.load(Relaxed),
            sampled_out,
            over_rate,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_of_so_many_is_shown_the_first_among_them() {
        let quota = Quota::new(3, 1000);
        let shown: Vec<bool> = (0..7).map(|_| quota.admit(Tick(5))).collect();
        assert_eq!(shown, [true, false, false, true, false, false, true]);
        let spent = quota.spent();
        assert_eq!(
            (spent.matched, spent.sampled_out, spent.over_rate),
            (7, 4, 0)
        );
    }

    #[test]
    fn a_second_has_its_bound_and_the_next_one_its_own() {
        let quota = Quota::new(1, 2);
        let at = |ms| quota.admit(Tick(ms));
        assert_eq!(
            [at(1000), at(1500), at(1999), at(2000)],
            [true, true, false, true]
        );
        assert_eq!(quota.spent().over_rate, 1);
    }

    proptest! {
        /// Whatever comes when: everything is shown or counted, no second has more than its bound.
        #[test]
        fn nothing_is_lost_uncounted(
            every in 1u32..10, rate in 1u32..10, steps in prop::collection::vec(0u64..700, 0..200)
        ) {
            let quota = Quota::new(every, rate);
            let (mut now, mut shown) = (0, std::collections::BTreeMap::<u64, u32>::new());
            for step in &steps {
                now += step;
                if quota.admit(Tick(now)) {
                    *shown.entry(now / 1000).or_default() += 1;
                }
            }
            prop_assert!(shown.values().all(|n| *n <= rate));
            let shown: u32 = shown.values().sum();
            let spent = quota.spent();
            prop_assert_eq!(spent.matched, steps.len() as u64);
            prop_assert_eq!(u64::from(shown) + spent.sampled_out + spent.over_rate, spent.matched);
        }
    }
}
