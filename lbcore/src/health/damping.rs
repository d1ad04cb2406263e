//! Flap damping: a real that goes up and down again and again stays down longer each time.

use crate::time::Tick;
use std::collections::VecDeque;
use std::time::Duration;

/// So many downs within [`WINDOW`] are flapping. A restart that goes wrong once is two.
pub const DOWNS: usize = 3;

/// Downs further apart are trouble of their own each.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);

/// The first hold; each further down doubles it.
pub const FIRST_HOLD: Duration = Duration::from_secs(30);

/// The longest hold: a real that fails as soon as it is let in changes the table six times an hour.
pub const LONGEST_HOLD: Duration = Duration::from_secs(20 * 60);

/// A real that stays up this long is forgiven one doubling.
pub const HEALS: Duration = Duration::from_secs(10 * 60);

/// How often one real went down lately, and how long its checks must pass before it serves again.
///
/// The hold begins when its checks pass, and anew when one of them fails meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damping {
    /// The last downs, at most [`DOWNS`] of them.
    lately: VecDeque<Tick>,
    flapping: Option<Flapping>,
    up_since: Option<Tick>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flapping {
    /// The first of the downs that count.
    since: Tick,
    downs: u32,
    /// How often the hold has doubled.
    doublings: u32,
}

impl Damping {
    /// The real serves again.
    pub fn up(&mut self, now: Tick) {
        self.up_since = Some(now);
    }

    /// The real no longer serves, because checks failed.
    pub fn down(&mut self, now: Tick) {
        self.heal(now);
        self.up_since = None;
        if self.lately.len() == DOWNS {
            self.lately.pop_front();
        }
        self.lately.push_back(now);
        if let Some(flapping) = &mut self.flapping {
            flapping.downs = flapping.downs.saturating_add(1);
            // Further doublings would only be more to heal.
            if hold_after(flapping.doublings) < LONGEST_HOLD {
                flapping.doublings += 1;
            }
            return;
        }
        let first = self.lately.front().filter(|_| self.lately.len() == DOWNS);
        self.flapping = first
            .filter(|first| now < **first + WINDOW)
            .map(|first| Flapping {
                since: *first,
                downs: DOWNS as u32,
                doublings: 0,
            });
    }

    /// Forgives one doubling for each [`HEALS`] it has stayed up; the last one ends the flapping.
    fn heal(&mut self, now: Tick) {
        let (Some(up_since), Some(flapping)) = (self.up_since, &mut self.flapping) else {
            return;
        };
        let forgiven = now.since(up_since) / millis(HEALS);
        let left = u64::from(flapping.doublings).checked_sub(forgiven);
        match left.and_then(|left| u32::try_from(left).ok()) {
            Some(left) => flapping.doublings = left,
            None => self.clear(),
        }
    }

    /// Forgets everything: somebody has looked after it.
    pub fn clear(&mut self) {
        *self = Damping::default();
    }

    /// How long its checks must pass before it serves again, and why; `None`: it does not flap.
    pub fn hold(&self, now: Tick) -> Option<(Duration, String)> {
        let flapping = self.flapping?;
        let downs = flapping.downs;
        let span = words(now.since(flapping.since));
        let why = format!("went down {downs} times in {span}");
        Some((hold_after(flapping.doublings), why))
    }
}

fn hold_after(doublings: u32) -> Duration {
    FIRST_HOLD
        .saturating_mul(2u32.saturating_pow(doublings))
        .min(LONGEST_HOLD)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `40 s`, `4 min`, `3 h`
fn words(ms: u64) -> String {
    match ms.div_ceil(1000) {
        s @ 0..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ProbeResult, Random, State, Tracker};
    use super::*;
    use std::num::NonZeroU32;

    const HOUR: u64 = 3_600_000;

    fn holds(damping: &Damping) -> Option<u64> {
        damping.hold(Tick(0)).map(|(hold, _)| hold.as_secs())
    }

    #[test]
    fn the_third_down_in_five_minutes_is_flapping() {
        let mut damping = Damping::default();
        for second in [0, 100] {
            damping.down(Tick(second * 1000));
            assert_eq!(holds(&damping), None);
        }
        damping.down(Tick(299_000));
        let (hold, why) = damping.hold(Tick(300_000)).expect("it flaps");
        assert_eq!(hold, FIRST_HOLD);
        assert_eq!(why, "went down 3 times in 5 min");

        let mut slow = Damping::default();
        for n in 0..100 {
            slow.down(Tick(n * 151_000));
        }
        assert_eq!(holds(&slow), None, "every other is 302 s ago");
    }

    #[test]
    fn holds_double_up_to_a_bound_and_heal() {
        let mut damping = Damping::default();
        let seen: Vec<_> = (0..12)
            .filter_map(|n| {
                damping.down(Tick(n * 1000));
                holds(&damping)
            })
            .collect();
        assert_eq!(
            seen,
            [30, 60, 120, 240, 480, 960, 1200, 1200, 1200, 1200],
            "seconds"
        );
        // Six doublings: an hour of being up forgives them, but not the flapping itself.
        damping.up(Tick(20_000));
        damping.down(Tick(20_000 + HOUR));
        assert_eq!(holds(&damping), Some(60));
        damping.up(Tick(2 * HOUR));
        damping.down(Tick(3 * HOUR));
        assert_eq!(holds(&damping), None, "forgotten");

        for n in 0..9 {
            damping.down(Tick(3 * HOUR + n));
        }
        damping.clear();
        assert_eq!(damping, Damping::default());
    }

    /// Changes of the table in each hour: a real behind `tracker` that is asked every 2 s, and
    /// held as the director's side holds it.
    fn changes(hours: u64, mut pass: impl FnMut(bool) -> bool) -> Vec<u32> {
        let count = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        let mut tracker = Tracker::new(count(2), count(3), State::Up);
        let mut damping = Damping::default();
        let mut serves = true;
        let mut passing_since = None;
        let mut changes = vec![0; hours as usize];
        for now in (0..hours * HOUR).step_by(2_000) {
            let result = if pass(serves) {
                ProbeResult::Pass
            } else {
                ProbeResult::Fail
            };
            if let Some(turn) = tracker.record(result, Tick(now)) {
                passing_since = (turn.to == State::Up).then_some(now);
            }
            let held = damping.hold(Tick(now)).map_or(0, |(hold, _)| millis(hold));
            let able = passing_since.is_some_and(|since| serves || now >= since + held);
            if able != serves {
                serves = able;
                changes[(now / HOUR) as usize] += 1;
                match serves {
                    true => damping.up(Tick(now)),
                    false => damping.down(Tick(now)),
                }
            }
        }
        changes
    }

    /// T32: with the hold at most six changes of the table an hour; in the first one, while it
    /// doubles, as many as the doublings are.
    #[test]
    fn t32_who_flaps_changes_the_table_six_times_an_hour_at_most() {
        let mut n = 0;
        let five_by_five = changes(6, |_| {
            n += 1;
            n / 5 % 2 == 0
        });
        assert_eq!(five_by_five, [5, 0, 0, 0, 0, 0], "never passes for 30 s");

        let as_soon_as_it_serves = changes(24, |serves| !serves);
        assert!(
            as_soon_as_it_serves[0] <= 20 && as_soon_as_it_serves[1..].iter().all(|n| *n <= 6),
            "{as_soon_as_it_serves:?}"
        );

        for seed in 0..20 {
            let mut random = Random::seeded(seed);
            let tossed = changes(24, |_| random.up_to(1) == 0);
            assert!(
                tossed[0] <= 20 && tossed[1..].iter().all(|n| *n <= 6),
                "{tossed:?}"
            );
        }
    }
}
