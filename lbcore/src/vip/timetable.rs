//! When a VIP is announced: often at first, because a frame can get lost and caches are stubborn,
//! then now and then.

use crate::time::Tick;
use std::time::Duration;

/// Between announcements once the first ones are out. Switches forget a MAC after 300 s (IEEE
/// 802.1D's default ageing), routers an ARP entry after minutes to hours.
pub const REFRESH: Duration = Duration::from_secs(60);

/// Between two questions whether another machine answers for the VIP as well: one that begins to
/// (a real whose `arp_ignore` was lost, a peer behind a link that healed) tells its askers, not us.
pub const QUESTION: Duration = Duration::from_secs(10);

/// So long after the start, so many announcements in a row.
type Step = (Duration, u32);

/// keepalived's habit: five, and after 5 s five more.
const FIRST: &[Step] = &[(Duration::ZERO, 5), (Duration::from_secs(5), 5)];

/// A port whose carrier has just come up may not forward yet: a switch that runs spanning tree
/// listens and learns for 2 x 15 s first.
const AFTER_CARRIER: &[Step] = &[
    (Duration::ZERO, 5),
    (Duration::from_secs(1), 1),
    (Duration::from_secs(2), 1),
    (Duration::from_secs(5), 5),
    (Duration::from_secs(15), 1),
    (Duration::from_secs(30), 1),
];

/// The announcements still to come.
#[derive(Clone, Debug)]
pub(super) struct Timetable {
    start: Tick,
    steps: &'static [Step],
    refresh: Tick,
    question: Tick,
}

impl Timetable {
    /// Starts now; `after_carrier`: the link has just come up.
    pub(super) fn new(now: Tick, after_carrier: bool) -> Self {
        let steps = if after_carrier { AFTER_CARRIER } else { FIRST };
        let last = steps.last().map_or(Duration::ZERO, |(after, _)| *after);
        Timetable {
            start: now,
            steps,
            refresh: now + last + REFRESH,
            question: now + QUESTION,
        }
    }

    /// When the next announcement or question is due.
    pub(super) fn deadline(&self) -> Tick {
        let announcement = self
            .steps
            .first()
            .map_or(self.refresh, |(after, _)| self.start + *after);
        announcement.min(self.question)
    }

    /// How many announcements are due now, and whether a question is.
    pub(super) fn due(&mut self, now: Tick) -> (u32, bool) {
        let mut announcements = 0;
        while let Some(((after, count), rest)) = self.steps.split_first()
            && self.start + *after <= now
        {
            announcements += count;
            self.steps = rest;
        }
        if self.steps.is_empty() && self.refresh <= now {
            self.refresh = now + REFRESH;
            announcements += 1;
        }
        let question = self.question <= now;
        if question {
            self.question = now + QUESTION;
        }
        (announcements, question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (second, announcements) until `end` seconds, waking only at deadlines.
    fn play(mut timetable: Timetable, end: u64) -> Vec<(u64, u32)> {
        let mut heard = Vec::new();
        loop {
            let now = timetable.deadline();
            if now > Tick(end * 1000) {
                return heard;
            }
            let (announcements, question) = timetable.due(now);
            assert_eq!(question, now.0 > 0 && now.0.is_multiple_of(10_000));
            if announcements > 0 {
                heard.push((now.0 / 1000, announcements));
            }
        }
    }

    #[test]
    fn five_at_once_five_after_five_seconds_then_every_minute() {
        let played = play(Timetable::new(Tick(0), false), 200);
        assert_eq!(played, [(0, 5), (5, 5), (65, 1), (125, 1), (185, 1)]);
    }

    #[test]
    fn after_carrier_also_at_1_2_15_and_30_seconds() {
        let played = play(Timetable::new(Tick(0), true), 100);
        assert_eq!(
            played,
            [(0, 5), (1, 1), (2, 1), (5, 5), (15, 1), (30, 1), (90, 1)]
        );
    }

    #[test]
    fn a_late_wake_up_sends_what_is_overdue_once() {
        let mut timetable = Timetable::new(Tick(0), false);
        assert_eq!(timetable.due(Tick(1_000_000)), (11, true));
        assert_eq!(timetable.due(Tick(1_000_000)), (0, false));
        assert_eq!(timetable.deadline(), Tick(1_010_000));
        assert_eq!(timetable.due(Tick(1_060_000)), (1, true));
    }
}
