//! Soft ejection: a real that clients get no answer from gets no new flows for a while, though its
//! checks pass.
//!
//! Clients are a weaker witness than checks, for anybody can send a SYN and be silent. So few
//! reals are ejected at a time, none where many look alike, and never for good.

use crate::id::RealId;
use crate::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// Of so many reals that serve, one may be ejected; so none of one to nine.
pub const ONE_IN: usize = 10;

/// The first ejection; the second is twice, the third three times as long.
pub const FIRST: Duration = Duration::from_secs(30);

/// The longest one.
pub const LONGEST: Duration = Duration::from_secs(10 * 60);

/// A real that is not ejected for this long is forgiven one ejection.
pub const HEALS: Duration = Duration::from_secs(10 * 60);

/// Who of one service's reals is ejected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ejections(BTreeMap<RealId, Ejection>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ejection {
    until: Tick,
    /// How often lately.
    times: u32,
}

impl Ejections {
    /// Ejects whom it may of `suspects`, the worst first, and returns those it newly did.
    /// `serving` are the reals that would get flows if nobody were ejected.
    ///
    /// Where more than half of those that serve are suspect, the cause is another: nobody is
    /// ejected for that.
    pub fn judge(&mut self, suspects: &[RealId], serving: &[RealId], now: Tick) -> Vec<RealId> {
        self.0
            .retain(|real, ejection| serving.contains(real) && ejection.heal(now));
        let mut new = Vec::new();
        if suspects.len() * 2 > serving.len() {
            return new;
        }
        let most = serving.len() / ONE_IN;
        for real in suspects.iter().filter(|real| serving.contains(real)) {
            if self.now(now).count() >= most {
                break;
            }
            let ejection = self.0.entry(*real).or_insert(Ejection {
                until: now,
                times: 0,
            });
            if now < ejection.until {
                continue;
            }
            ejection.times = ejection.times.saturating_add(1);
            ejection.until = now + FIRST.saturating_mul(ejection.times).min(LONGEST);
            new.push(*real);
        }
        new
    }

    /// Until when a real is ejected, if it is.
    pub fn until(&self, real: RealId, now: Tick) -> Option<Tick> {
        let until = self.0.get(&real)?.until;
        (now < until).then_some(until)
    }

    fn now(&self, now: Tick) -> impl Iterator<Item = RealId> + '_ {
        let ejected = self.0.iter().filter(move |(_, e)| now < e.until);
        ejected.map(|(real, _)| *real)
    }
}

impl Ejection {
    /// Forgives what is long ago. False once all is forgiven.
    fn heal(&mut self, now: Tick) -> bool {
        let heals = u64::try_from(HEALS.as_millis()).unwrap_or(u64::MAX);
        let left = u64::from(self.times).checked_sub(now.since(self.until) / heals);
        match left.and_then(|left| u32::try_from(left).ok()) {
            None | Some(0) => false,
            Some(left) if left < self.times => {
                // What was forgiven is not forgiven twice.
                let forgiven = HEALS.saturating_mul(self.times - left);
                self.until = self.until + forgiven;
                self.times = left;
                true
            }
            Some(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reals(count: u16) -> Vec<RealId> {
        (0..count).map(RealId).collect()
    }

    #[test]
    fn one_of_ten_and_none_of_nine() {
        for (serving, most) in [(1, 0), (9, 0), (10, 1), (19, 1), (20, 2), (105, 10)] {
            let serving = reals(serving);
            let suspects = &serving[..serving.len() / 2];
            let ejected = Ejections::default().judge(suspects, &serving, Tick(1));
            assert_eq!(ejected, suspects[..most]);
        }
    }

    #[test]
    fn where_most_look_alike_nobody_is_ejected() {
        let serving = reals(20);
        let ejected = Ejections::default().judge(&serving[..11], &serving, Tick(1));
        assert!(ejected.is_empty());
    }

    #[test]
    fn ejections_grow_end_and_heal() {
        let serving = reals(10);
        let mut ejections = Ejections::default();
        let mut now = Tick(1_000);
        for seconds in [30, 60, 90] {
            assert_eq!(ejections.judge(&serving[..1], &serving, now), serving[..1]);
            let until = now + Duration::from_secs(seconds);
            assert_eq!(ejections.until(RealId(0), now), Some(until));
            assert!(ejections.judge(&serving[..1], &serving, now).is_empty());
            now = until;
            assert_eq!(ejections.until(RealId(0), now), None);
        }
        now = now + HEALS;
        ejections.judge(&[], &serving, now);
        ejections.judge(&serving[..1], &serving, now);
        let until = now + FIRST * 3;
        assert_eq!(ejections.until(RealId(0), now), Some(until), "one forgiven");
        now = until + HEALS * 3;
        ejections.judge(&[], &serving, now);
        assert_eq!(ejections, Ejections::default(), "all forgiven");
    }

    #[test]
    fn who_no_longer_serves_is_judged_by_its_checks_alone() {
        let serving = reals(10);
        let mut ejections = Ejections::default();
        ejections.judge(&serving[..1], &serving, Tick(1));
        ejections.judge(&[], &serving[1..], Tick(2));
        assert_eq!(ejections.until(RealId(0), Tick(3)), None);
    }

    proptest! {
        /// However suspects come and go, never more than one in ten is out.
        #[test]
        fn never_more_than_one_in_ten(
            steps in prop::collection::vec(
                (prop::collection::vec(0u16..60, 0..40), 1u16..60, 0u64..100_000),
                1..50,
            )
        ) {
            let mut ejections = Ejections::default();
            let mut now = Tick(0);
            for (suspects, serving, later) in steps {
                now = now + Duration::from_millis(later);
                let suspects: Vec<_> = suspects.into_iter().map(RealId).collect();
                let serving = reals(serving);
                let before = ejections.now(now).count();
                let new = ejections.judge(&suspects, &serving, now);
                let out = ejections.now(now).count();
                prop_assert!(new.is_empty() || out <= serving.len() / ONE_IN);
                prop_assert!(out <= before + new.len());
            }
        }
    }
}
