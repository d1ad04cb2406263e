//! What clients' handshakes say of a real that its checks do not: that its answers reach nobody.

use crate::time::Tick;
use std::collections::VecDeque;
use std::time::Duration;

/// What is older says nothing of now.
pub const WINDOW: Duration = Duration::from_secs(5 * 60);

/// Between two notes: a note more says little more.
const APART: Duration = Duration::from_secs(10);

/// Fewer handshakes are no evidence: some clients always go away in the middle of one.
pub const ENOUGH: u64 = 20;

/// What one real's handshakes were, as counts that only grow.
#[derive(Clone, Debug, Default)]
pub struct Handshakes {
    /// When, completed, unanswered; the latest last.
    notes: VecDeque<(Tick, u64, u64)>,
}

/// Most clients get no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Handshakes that clients completed.
    pub completed: u64,
    /// Handshakes that ended one way or the other.
    pub of: u64,
}

impl Handshakes {
    /// Notes the counts as they are now.
    pub fn note(&mut self, completed: u64, unanswered: u64, now: Tick) {
        if self.notes.back().is_some_and(|(at, ..)| now < *at + APART) {
            return;
        }
        self.notes.push_back((now, completed, unanswered));
        // The oldest note is where the window begins.
        while self
            .notes
            .get(1)
            .is_some_and(|(at, ..)| *at + WINDOW <= now)
        {
            self.notes.pop_front();
        }
    }

    /// The finding, where in the window fewer than half of enough handshakes were completed.
    pub fn finding(&self) -> Option<Unanswered> {
        let (_, completed_then, unanswered_then) = self.notes.front()?;
        let (_, completed, unanswered) = self.notes.back()?;
        // Less than then: the counts are of another real by now.
        let completed = completed.checked_sub(*completed_then)?;
        let of = completed + unanswered.checked_sub(*unanswered_then)?;
        (of >= ENOUGH && completed * 2 < of).then_some(Unanswered { completed, of })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts noted every ten seconds.
    fn seen(counts: &[(u64, u64)]) -> Option<Unanswered> {
        let mut handshakes = Handshakes::default();
        for (n, (completed, unanswered)) in counts.iter().enumerate() {
            handshakes.note(*completed, *unanswered, Tick(n as u64 * 10_000));
        }
        handshakes.finding()
    }

    #[test]
    fn most_of_enough_handshakes_must_be_unanswered() {
        assert_eq!(seen(&[]), None);
        assert_eq!(seen(&[(0, 0), (0, 19)]), None);
        let all = Unanswered {
            completed: 0,
            of: 312,
        };
        assert_eq!(seen(&[(7, 0), (7, 312)]), Some(all));
        assert_eq!(seen(&[(0, 0), (50, 50)]), None);
        let most = Unanswered {
            completed: 49,
            of: 100,
        };
        assert_eq!(seen(&[(0, 0), (49, 51)]), Some(most));
        assert_eq!(seen(&[(500, 500), (0, 40)]), None, "another real's counts");
    }

    #[test]
    fn the_window_moves_and_is_bounded() {
        let mut handshakes = Handshakes::default();
        handshakes.note(0, 0, Tick(0));
        handshakes.note(0, 100, Tick(10_000));
        assert!(handshakes.finding().is_some());
        for second in 11..=320 {
            handshakes.note(0, 100, Tick(second * 1000));
        }
        assert_eq!(handshakes.finding(), None, "mended five minutes ago");
        assert!(handshakes.notes.len() <= 32, "{}", handshakes.notes.len());
    }
}
