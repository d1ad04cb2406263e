//! Who is asked what: the targets in force, their trackers, and the timetable's keys.

use super::{Board, LastProbe, Question, Target};
use crate::live::event::{HealthNews, HealthState};
use lbcore::config::{Check, CheckKind};
use lbcore::health::{Pace, ProbeResult, Random, Real, Recorded, Timetable, Tracker};
use lbcore::id::RealId;
use lbcore::time::Tick;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

/// One check of one real for as long as it asks the same: an answer to a check that is gone finds
/// no owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CheckId(u64);

/// All that is judged.
pub(super) struct Roster {
    reals: HashMap<RealId, Judged>,
    owners: HashMap<CheckId, RealId>,
    timetable: Timetable<CheckId>,
    next: u64,
}

pub(super) struct Judged {
    pub(super) target: Target,
    /// In the order of the target's checks, as its trackers are.
    ids: Vec<CheckId>,
    pub(super) health: Real,
    /// Of each check: whether the answer to its last failed probe was a no.
    said_no: Vec<bool>,
    /// What was told of a real that is down: whether it declined.
    told: Option<bool>,
    /// Of each check: the weight the real last gave itself.
    weights: Vec<Option<u16>>,
}

impl Roster {
    pub(super) fn new(random: Random) -> Self {
        Roster {
            reals: HashMap::new(),
            owners: HashMap::new(),
            timetable: Timetable::new(random),
            next: 0,
        }
    }

    /// Puts `targets` in force. Checks that ask what they asked before keep their place and their
    /// counts; what is new starts within one interval. Returns the verdicts that changed without a
    /// probe, because checks are gone.
    pub(super) fn update(
        &mut self,
        targets: &[Target],
        board: &Board,
        now: Tick,
    ) -> Vec<HealthNews> {
        let wanted: HashSet<_> = targets
            .iter()
            .filter(|target| !target.checks.is_empty())
            .map(|target| (target.real, target.epoch))
            .collect();
        let gone: Vec<RealId> = self
            .reals
            .values()
            .map(|judged| &judged.target)
            .filter(|target| !wanted.contains(&(target.real, target.epoch)))
            .map(|target| target.real)
            .collect();
        for real in gone {
            self.forget(real, board);
        }
        targets
            .iter()
            .filter(|target| !target.checks.is_empty())
            .filter_map(|target| self.put(target, board, now))
            .collect()
    }

    fn forget(&mut self, real: RealId, board: &Board) {
        board.forget(real);
        for id in self
            .reals
            .remove(&real)
            .into_iter()
            .flat_map(|judged| judged.ids)
        {
            self.drop_check(id);
        }
    }

    fn put(&mut self, target: &Target, board: &Board, now: Tick) -> Option<HealthNews> {
        let mut old = self.reals.remove(&target.real);
        if let Some(judged) = old.take_if(|judged| judged.target == *target) {
            self.reals.insert(target.real, judged);
            return None;
        }
        let mut shown = board.checks(target.real);
        let mut taken: Vec<bool> = vec![false; shown.len()];
        let known = old
            .as_ref()
            .map(|judged| judged.health.verdict())
            .or(target.initial);

        let mut ids = Vec::new();
        let mut trackers = Vec::new();
        let mut said_no = Vec::new();
        let mut weights = Vec::new();
        let mut rows: Vec<(HealthState, Option<LastProbe>)> = Vec::new();
        for check in &target.checks {
            let kept = old.as_ref().and_then(|old| old.find(target, check, &taken));
            let (id, tracker, last) = match (kept, &old) {
                (Some(index), Some(old)) => {
                    taken[index] = true;
                    let mut tracker = old.health.trackers()[index].clone();
                    tracker.retune(check.rise, check.fall);
                    self.timetable.retime(old.ids[index], pace(check), now);
                    said_no.push(old.said_no[index]);
                    weights.push(old.weights[index]);
                    (old.ids[index], tracker, shown[index].last.take())
                }
                _ => {
                    let state = known.unwrap_or(HealthState::Checking);
                    let tracker = Tracker::new(check.rise, check.fall, state);
                    said_no.push(false);
                    weights.push(None);
                    (self.new_check(target.real, check, now), tracker, None)
                }
            };
            ids.push(id);
            rows.push((tracker.state(), last));
            trackers.push(tracker);
        }
        for id in old
            .iter()
            .flat_map(|old| &old.ids)
            .filter(|id| !ids.contains(id))
        {
            self.drop_check(*id);
        }
        board.show(target, rows);

        let told = old.as_ref().and_then(|old| old.told);
        let mut health = old.map_or_else(|| Real::new(trackers.clone()), |old| old.health);
        let changed = health.replace(trackers, now);
        let judged = Judged {
            target: target.clone(),
            ids,
            health,
            said_no,
            told,
            weights,
        };
        let news = changed.map(|changed| judged.news(changed.to, "its checks were changed"));
        self.reals.insert(target.real, judged);
        news
    }

    fn new_check(&mut self, real: RealId, check: &Check, now: Tick) -> CheckId {
        let id = CheckId(self.next);
        self.next += 1;
        self.owners.insert(id, real);
        self.timetable.add(id, pace(check), now);
        id
    }

    fn drop_check(&mut self, id: CheckId) {
        self.owners.remove(&id);
        self.timetable.remove(id);
    }

    /// When the next probe is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.timetable.next_due()
    }

    /// The probe that has been due longest, if one is.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<(CheckId, Question)> {
        loop {
            let id = self.timetable.take_due(now)?;
            // Every check in the timetable has an owner; were one lost, it must not stop the rest.
            if let Some((judged, index)) = self.find(id) {
                return Some((id, judged.question(index)));
            }
            self.timetable.remove(id);
        }
    }

    /// The real of a check and the check's place in it; `None` if the check is gone.
    pub(super) fn find(&mut self, id: CheckId) -> Option<(&mut Judged, usize)> {
        let judged = self.reals.get_mut(self.owners.get(&id)?)?;
        let index = judged.ids.iter().position(|other| *other == id)?;
        Some((judged, index))
    }

    /// A probe has ended: the next follows as its check's tempo asks.
    pub(super) fn done(&mut self, id: CheckId, now: Tick) {
        if let Some((judged, index)) = self.find(id) {
            let tempo = judged.health.trackers()[index].tempo();
            self.timetable.done(id, tempo, now);
        }
    }
}

impl Judged {
    /// Counts one result of the check at `index`.
    pub(super) fn record(&mut self, index: usize, result: ProbeResult, now: Tick) -> Recorded {
        self.health.record(index, result, now)
    }

    /// Notes whether the failure of the check at `index` was an answer that says no. True if the
    /// real is down, and whether it declined is not what was told.
    pub(super) fn note_failure(&mut self, index: usize, said_no: bool) -> bool {
        self.said_no[index] = said_no;
        if self.health.verdict() != HealthState::Down {
            return false;
        }
        let declined = Some(self.declined());
        std::mem::replace(&mut self.told, declined) != declined
    }

    /// Notes the weight a passed probe has found. True if the real's weight is another one now.
    pub(super) fn note_weight(&mut self, index: usize, weight: Option<u16>) -> bool {
        let before = self.weight();
        // Who no longer says keeps what it said.
        self.weights[index] = weight.or(self.weights[index]);
        self.weight() != before
    }

    /// As the first of its checks says that says anything.
    fn weight(&self) -> Option<u16> {
        self.weights.iter().copied().flatten().next()
    }

    /// Whether a check is down by what the real itself says.
    fn declined(&self) -> bool {
        let trackers = self.health.trackers().iter();
        trackers
            .zip(&self.said_no)
            .any(|(tracker, said_no)| *said_no && tracker.state() == HealthState::Down)
    }

    /// What the reconciler is to hear.
    pub(super) fn news(&self, state: HealthState, reason: &str) -> HealthNews {
        HealthNews {
            real: self.target.real,
            epoch: self.target.epoch,
            state,
            declined: state == HealthState::Down && self.declined(),
            weight: self.weight(),
            reason: reason.to_owned(),
        }
    }

    /// Whether the last result of the check at `index` was the first failure in a row.
    pub(super) fn just_began_to_fail(&self, index: usize) -> bool {
        self.health.trackers()[index].streak() == Some((ProbeResult::Fail, 1))
    }

    fn question(&self, index: usize) -> Question {
        question(&self.target, &self.target.checks[index])
    }

    /// The check that already asks what `check` of `target` asks, unless it is taken.
    fn find(&self, target: &Target, check: &Check, taken: &[bool]) -> Option<usize> {
        let same = |index: &usize| {
            let (ours, theirs) = (self.question(*index), question(target, check));
            Question {
                timeout: theirs.timeout,
                ..ours
            } == theirs
        };
        (0..self.ids.len())
            .filter(|index| !taken[*index])
            .find(same)
    }
}

fn question(target: &Target, check: &Check) -> Question {
    Question {
        to: SocketAddr::new(target.address, check.port.unwrap_or(target.default_port)),
        source: check.source,
        timeout: check.timeout,
        kind: check.kind.clone(),
        names: matches!(check.kind, CheckKind::Exec(_))
            .then(|| (target.service.clone(), target.name.clone())),
    }
}

fn pace(check: &Check) -> Pace {
    Pace {
        interval: check.interval,
        fast_interval: check.fast_interval,
        down_interval: check.down_interval,
    }
}
