//! All checks of one real together.

use super::{ProbeResult, State, Tracker, Transition};
use crate::time::Tick;

/// The checks of one real, in the order of the configuration, and their common verdict: up when
/// all pass, down when one has failed often enough, draining when one asks for it, checking until all
/// are judged.
#[derive(Clone, Debug)]
pub struct Real {
    trackers: Vec<Tracker>,
    verdict: State,
}

/// What one result changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// The check's own transition.
    pub check: Option<Transition>,
    /// The real's transition.
    pub real: Option<Transition>,
}

impl Real {
    /// A real judged by `trackers`.
    pub fn new(trackers: Vec<Tracker>) -> Self {
        let verdict = verdict(&trackers);
        Real { trackers, verdict }
    }

    /// Counts one result of the check at `index`; an index of a check that is gone changes
    /// nothing.
    pub fn record(&mut self, index: usize, result: ProbeResult, now: Tick) -> Recorded {
        let check = self
            .trackers
            .get_mut(index)
            .and_then(|tracker| tracker.record(result, now));
        Recorded {
            check,
            real: self.judge(now),
        }
    }

    /// Other checks from now on: their verdict may differ without any result.
    pub fn replace(&mut self, trackers: Vec<Tracker>, now: Tick) -> Option<Transition> {
        self.trackers = trackers;
        self.judge(now)
    }

    /// The common verdict.
    pub fn verdict(&self) -> State {
        self.verdict
    }

    /// Each check alone, in the order of the configuration.
    pub fn trackers(&self) -> &[Tracker] {
        &self.trackers
    }

    fn judge(&mut self, now: Tick) -> Option<Transition> {
        let (from, to) = (self.verdict, verdict(&self.trackers));
        self.verdict = to;
        (from != to).then_some(Transition { from, to, at: now })
    }
}

fn verdict(trackers: &[Tracker]) -> State {
    let any = |state| trackers.iter().any(|tracker| tracker.state() == state);
    if any(State::Down) {
        State::Down
    } else if any(State::Draining) {
        State::Draining
    } else if any(State::Checking) {
        State::Checking
    } else {
        State::Up
    }
}
