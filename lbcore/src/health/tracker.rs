//! One check of one real: results in, transitions out.

use crate::time::Tick;
use std::num::NonZeroU32;

/// What checks say of a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Not judged yet.
    Checking,
    /// Passes.
    Up,
    /// Asks for no new flows; those it has may end.
    Draining,
    /// Failed often enough.
    Down,
}

/// How one probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProbeResult {
    /// Answered as expected.
    Pass,
    /// Answered that it wants no new flows.
    Drain,
    /// Refused, silent, or answered something else.
    Fail,
}

/// A change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// What it was.
    pub from: State,
    /// What it is now.
    pub to: State,
    /// When it changed.
    pub at: Tick,
}

/// How soon the next probe should follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tempo {
    /// Settled and up.
    Steady,
    /// Not judged yet, or the last result speaks against the state.
    Fast,
    /// Settled and down, or draining.
    Down,
}

/// Rise and fall counting.
///
/// ```text
///             first result passes                 `fall` failures in a row
///   Checking ---------------------> Up  ----------------------------------> Down
///       |                            ^                                       | ^
///       |                            +---------- `rise` passes in a row -----+ |
///       +----------------------- first result fails ---------------------------+
/// ```
///
/// One answer that asks to be drained leads from anywhere to Draining: the real itself has said
/// so, and each flow it gets meanwhile is lost. It leaves by `rise` passes or `fall` failures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tracker {
    rise: NonZeroU32,
    fall: NonZeroU32,
    state: State,
    /// The last result, and how many like it in a row.
    streak: Option<(ProbeResult, u32)>,
}

impl Tracker {
    /// Starts in `state`: [`State::Checking`], whose first result decides alone; or what was known
    /// before a restart or a reload, which only `rise` or `fall` results in a row overturn.
    pub fn new(rise: NonZeroU32, fall: NonZeroU32, state: State) -> Self {
        Tracker {
            rise,
            fall,
            state,
            streak: None,
        }
    }

    /// Other counts from now on; what was seen stays.
    pub fn retune(&mut self, rise: NonZeroU32, fall: NonZeroU32) {
        self.rise = rise;
        self.fall = fall;
    }

    /// Counts one result; the transition it brought, if any.
    pub fn record(&mut self, result: ProbeResult, now: Tick) -> Option<Transition> {
        let row = match self.streak {
            Some((last, row)) if last == result => row.saturating_add(1),
            _ => 1,
        };
        self.streak = Some((result, row));

        let (to, needed) = match result {
            ProbeResult::Pass => (State::Up, self.rise.get()),
            ProbeResult::Drain => (State::Draining, 1),
            ProbeResult::Fail => (State::Down, self.fall.get()),
        };
        let from = self.state;
        if from == to || (from != State::Checking && row < needed) {
            return None;
        }
        self.state = to;
        Some(Transition { from, to, at: now })
    }

    /// What this check says.
    pub fn state(&self) -> State {
        self.state
    }

    /// The last result and how many like it came in a row; `None` before the first.
    pub fn streak(&self) -> Option<(ProbeResult, u32)> {
        self.streak
    }

    /// How soon to ask again.
    pub fn tempo(&self) -> Tempo {
        match (self.state, self.streak) {
            (State::Checking, _)
            | (State::Up, Some((ProbeResult::Fail, _)))
            | (State::Draining, Some((ProbeResult::Pass | ProbeResult::Fail, _)))
            | (State::Down, Some((ProbeResult::Pass, _))) => Tempo::Fast,
            (State::Up, _) => Tempo::Steady,
            (State::Draining | State::Down, _) => Tempo::Down,
        }
    }
}
