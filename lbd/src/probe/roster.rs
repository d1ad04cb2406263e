//! Who is asked what: the targets in force, their trackers, and the timetable's keys.

use super::{Board, LastProbe, Leg, Question, Target, Way};
use crate::live::event::{HealthNews, HealthState};
use lbcore::config::{Check, CheckKind, Via};
use lbcore::health::{Pace, ProbeResult, Random, Real, Recorded, Tempo, Timetable, Tracker};
use lbcore::id::RealId;
use lbcore::time::Tick;
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// One question for as long as somebody has it asked: an answer that nobody wants any more finds
/// no owner. Checks of several services that ask the same of the same machine share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct CheckId(u64);

/// All that is judged.
pub(super) struct Roster {
    reals: HashMap<RealId, Judged>,
    asked: HashMap<CheckId, Asked>,
    /// The same by whom they ask, to find those that are alike.
    by_place: HashMap<SocketAddr, Vec<CheckId>>,
    timetable: Timetable<CheckId>,
    next: u64,
}

/// What is asked how often, and the reals that want to know it.
struct Asked {
    question: Question,
    pace: Pace,
    owners: Vec<RealId>,
}

pub(super) struct Judged {
    pub(super) target: Target,
    /// In the order of the target's checks, as its trackers are.
    ids: Vec<CheckId>,
    pub(super) health: Real,
    /// Of each check: whether the answer to its last failed probe was a no.
    said_no: Vec<bool>,
    /// Of each check: its last answer in words; empty before the first.
    said: Vec<String>,
    /// The check by which the real is as it is.
    decides: usize,
    /// What was told of a real that is down: whether it declined.
    told: Option<bool>,
    /// Of each check: the weight the real last gave itself.
    weights: Vec<Option<u16>>,
}

impl Roster {
    pub(super) fn new(random: Random) -> Self {
        Roster {
            reals: HashMap::new(),
            asked: HashMap::new(),
            by_place: HashMap::new(),
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
            self.leave(id, real);
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
        let mut said = Vec::new();
        let mut weights = Vec::new();
        let mut rows: Vec<(HealthState, Option<LastProbe>)> = Vec::new();
        for check in &target.checks {
            let kept = old.as_ref().and_then(|old| old.find(target, check, &taken));
            let (id, tracker, last) = match (kept, &old) {
                (Some(index), Some(old)) => {
                    taken[index] = true;
                    let mut tracker = old.health.trackers()[index].clone();
                    tracker.retune(check.rise, check.fall);
                    said_no.push(old.said_no[index]);
                    said.push(old.said[index].clone());
                    weights.push(old.weights[index]);
                    let id = self.go_on(old, index, (target, check), now);
                    (id, tracker, shown[index].last.take())
                }
                _ => {
                    let state = known.unwrap_or(HealthState::Checking);
                    let tracker = Tracker::new(check.rise, check.fall, state);
                    said_no.push(false);
                    said.push(String::new());
                    weights.push(None);
                    let id = self.join(target.real, question(target, check), pace(check), now);
                    (id, tracker, None)
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
            self.leave(*id, target.real);
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
            said,
            decides: 0,
            told,
            weights,
        };
        let news = changed.map(|changed| judged.news(changed.to, "its checks were changed"));
        self.reals.insert(target.real, judged);
        news
    }

    /// A real wants to know this: together with whoever has it asked already, else as a new probe.
    fn join(&mut self, real: RealId, question: Question, pace: Pace, now: Tick) -> CheckId {
        if let Some(id) = self.same(&question, pace) {
            self.owned(id, |owners| {
                owners.retain(|owner| *owner != real);
                owners.push(real);
            });
            return id;
        }
        let id = CheckId(self.next);
        self.next += 1;
        self.by_place.entry(question.to).or_default().push(id);
        let owners = vec![real];
        let asked = Asked {
            question,
            pace,
            owners,
        };
        self.asked.insert(id, asked);
        self.timetable.add(id, pace, now);
        id
    }

    /// The probe that asks just this.
    fn same(&self, question: &Question, pace: Pace) -> Option<CheckId> {
        let alike = self.by_place.get(&question.to).into_iter().flatten();
        alike.copied().find(|id| {
            let asked = self.asked.get(id);
            asked.is_some_and(|asked| asked.question == *question && asked.pace == pace)
        })
    }

    /// A real's check asks what it asked before, perhaps with another timeout or pace: then it keeps
    /// its place in the timetable, unless others hold on to what it was.
    fn go_on(
        &mut self,
        old: &Judged,
        index: usize,
        (target, check): (&Target, &Check),
        now: Tick,
    ) -> CheckId {
        let (id, question, pace) = (old.ids[index], question(target, check), pace(check));
        let twice = old.ids.iter().filter(|other| **other == id).count() > 1;
        let same = self.same(&question, pace);
        if same == Some(id) {
            return id;
        }
        if let Some(asked) = self.asked.get_mut(&id)
            && same.is_none()
            && !twice
            && asked.owners == [target.real]
        {
            (asked.question, asked.pace) = (question, pace);
            self.timetable.retime(id, pace, now);
            return id;
        }
        self.join(target.real, question, pace, now)
    }

    fn leave(&mut self, id: CheckId, real: RealId) {
        self.owned(id, |owners| owners.retain(|owner| *owner != real));
        let Some(gone) = self
            .asked
            .get(&id)
            .filter(|asked| asked.owners.is_empty())
            .map(|asked| asked.question.to)
        else {
            return;
        };
        self.asked.remove(&id);
        self.timetable.remove(id);
        if let Some(alike) = self.by_place.get_mut(&gone) {
            alike.retain(|other| *other != id);
            if alike.is_empty() {
                self.by_place.remove(&gone);
            }
        }
    }

    fn owned(&mut self, id: CheckId, change: impl FnOnce(&mut Vec<RealId>)) {
        if let Some(asked) = self.asked.get_mut(&id) {
            change(&mut asked.owners);
        }
    }

    /// When the next probe is due.
    pub(super) fn next_due(&self) -> Option<Tick> {
        self.timetable.next_due()
    }

    /// The probe that has been due longest, if one is.
    pub(super) fn take_due(&mut self, now: Tick) -> Option<(CheckId, Question)> {
        loop {
            let id = self.timetable.take_due(now)?;
            // Every probe in the timetable is asked for; were one lost, it must not stop the rest.
            if let Some(asked) = self.asked.get(&id) {
                return Some((id, asked.question.clone()));
            }
            self.timetable.remove(id);
        }
    }

    /// Whose checks an answer is for: reals, and places of checks in them. Empty if they are gone.
    pub(super) fn owners(&self, id: CheckId) -> Vec<(RealId, usize)> {
        let owners = self.asked.get(&id).into_iter().flat_map(|a| &a.owners);
        let judged = owners.filter_map(|real| Some((*real, self.reals.get(real)?)));
        let places = judged.flat_map(|(real, judged)| {
            let ids = judged.ids.iter().enumerate();
            ids.filter(|(_, other)| **other == id)
                .map(move |(index, _)| (real, index))
        });
        places.collect()
    }

    /// The checks of a real, in the order of its target's; empty if it has none.
    pub(super) fn checks(&self, real: RealId) -> &[CheckId] {
        self.reals.get(&real).map_or(&[], |judged| &judged.ids)
    }

    /// Has a probe made at once. False: one is under way.
    pub(super) fn hurry(&mut self, id: CheckId, now: Tick) -> bool {
        self.timetable.hurry(id, now)
    }

    pub(super) fn judged(&mut self, real: RealId) -> Option<&mut Judged> {
        self.reals.get_mut(&real)
    }

    /// A probe has ended: the next follows as the most hurried of its checks asks.
    pub(super) fn done(&mut self, id: CheckId, now: Tick) {
        let tempos = self.owners(id).into_iter().filter_map(|(real, index)| {
            let judged = self.reals.get(&real)?;
            Some(judged.health.trackers()[index].tempo())
        });
        let hurry = |tempo: &Tempo| match tempo {
            Tempo::Fast => 0,
            Tempo::Steady => 1,
            Tempo::Down => 2,
        };
        if let Some(tempo) = tempos.min_by_key(hurry) {
            self.timetable.done(id, tempo, now);
        }
    }

    /// How many probes there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.asked.len(), self.timetable.len());
        self.asked.len()
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

    /// Notes in words what the check at `index` said. True if it is another check now than before that
    /// keeps the real from new flows.
    pub(super) fn note_words(&mut self, index: usize, said: String, turned: bool) -> bool {
        self.said[index] = said;
        let verdict = self.health.verdict();
        let is_so = |at: &usize| self.health.trackers()[*at].state() == verdict;
        let before = self.decides;
        // After a restart a check may be down that has said nothing yet.
        let kept = Some(before).filter(|at| !turned && is_so(at) && !self.said[*at].is_empty());
        let found = kept.or_else(|| {
            let mut all = std::iter::once(index).chain(0..self.said.len());
            all.find(is_so)
        });
        self.decides = found.unwrap_or(index);
        let keeps_away = matches!(verdict, HealthState::Down | HealthState::Draining);
        keeps_away && self.decides != before
    }

    /// Why the real is as it is: what the check said that made it so.
    pub(super) fn reason(&self) -> &str {
        &self.said[self.decides]
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
    let port = check.port.unwrap_or(target.default_port);
    let real = SocketAddr::new(target.address, port);
    let (to, way) = match (check.via, vips(target, check)) {
        (Via::Vip, (Some(vip), other)) => {
            let other = other.map(|vip| SocketAddr::new(vip, port));
            let wires = None;
            let leg = Leg { real, other, wires };
            (SocketAddr::new(vip, port), Way::Vip(leg))
        }
        (Via::Client, _) => (real, Way::Client),
        (Via::Real | Via::Vip, _) => (real, Way::Real),
    };
    Question {
        to,
        way,
        source: check.source,
        timeout: check.timeout,
        kind: check.kind.clone(),
        names: matches!(check.kind, CheckKind::Exec(_))
            .then(|| (target.service.clone(), target.name.clone())),
    }
}

/// The VIPs a check asks: the first, and the first of the other family. With a source, that of its
/// family.
fn vips(target: &Target, check: &Check) -> (Option<IpAddr>, Option<IpAddr>) {
    let fits = |vip: &&IpAddr| check.source.is_none_or(|s| s.is_ipv4() == vip.is_ipv4());
    let mut vips = target.vips.iter().filter(fits).copied();
    let first = vips.next();
    let other = vips.find(|vip| first.is_some_and(|first| first.is_ipv4() != vip.is_ipv4()));
    (first, other)
}

fn pace(check: &Check) -> Pace {
    Pace {
        interval: check.interval,
        fast_interval: check.fast_interval,
        down_interval: check.down_interval,
    }
}
