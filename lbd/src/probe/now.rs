//! Checks that somebody wants run at once, and who waits for what they say.

use super::board::result;
use super::roster::{CheckId, Roster};
use super::{Answer, CheckResult};
use crate::live::event::HealthState;
use lbcore::health::Real;
use lbcore::id::RealId;
use lbcore::time::Tick;
use std::collections::{HashMap, HashSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// Reals whose checks are to be run at once.
#[derive(Debug)]
pub struct CheckNow {
    /// Which.
    pub reals: Vec<RealId>,
    /// Where each answer goes, with room for all of them. Closed when there are no more.
    pub answers: mpsc::Sender<CheckedNow>,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedNow {
    /// Whose.
    pub real: RealId,
    /// The check's place in the configuration.
    pub index: usize,
    /// How it counts.
    pub result: CheckResult,
    /// In words.
    pub reason: String,
    /// How long it took.
    pub took: Duration,
    /// What the check says by rise and fall.
    pub check: HealthState,
    /// What all checks of the real say together.
    pub together: HealthState,
}

/// Those who wait.
#[derive(Debug, Default)]
pub(super) struct Impatient {
    waiting: Vec<Waiting>,
    /// Probes that were under way when somebody asked: they may have seen what is no longer so, and
    /// are made once more.
    again: HashSet<CheckId>,
}

#[derive(Debug)]
struct Waiting {
    /// By real and place of the check: whether the probe under way is still the one from before.
    left: HashMap<(RealId, usize), bool>,
    answers: mpsc::Sender<CheckedNow>,
}

impl Impatient {
    /// Somebody asks.
    pub fn take(&mut self, now: CheckNow, roster: &mut Roster, at: Tick) {
        let mut left = HashMap::new();
        for real in now.reals {
            for (index, id) in roster.checks(real).to_vec().into_iter().enumerate() {
                let under_way = !roster.hurry(id, at);
                if under_way {
                    self.again.insert(id);
                }
                left.insert((real, index), under_way);
            }
        }
        self.prune();
        if !left.is_empty() {
            let answers = now.answers;
            self.waiting.push(Waiting { left, answers });
        }
    }

    /// A probe has answered for a real's check.
    pub fn hear(&mut self, (real, index): (RealId, usize), answer: &Answer, health: &Real) {
        for waiting in &mut self.waiting {
            match waiting.left.get_mut(&(real, index)) {
                None => continue,
                Some(before) if *before => {
                    *before = false;
                    continue;
                }
                Some(_) => {}
            }
            waiting.left.remove(&(real, index));
            let Some(tracker) = health.trackers().get(index) else {
                continue;
            };
            // Nobody may wait any more.
            let _ = waiting.answers.try_send(CheckedNow {
                real,
                index,
                result: result(answer),
                reason: answer.reason(),
                took: answer.took,
                check: tracker.state(),
                together: health.verdict(),
            });
        }
        self.prune();
    }

    /// Whether the probe that has just ended is to be made once more, at once.
    pub fn wants_another(&mut self, id: CheckId) -> bool {
        self.again.remove(&id)
    }

    fn prune(&mut self) {
        self.waiting
            .retain(|w| !w.left.is_empty() && !w.answers.is_closed());
    }
}
