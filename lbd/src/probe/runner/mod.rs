//! One task drives one timetable; every probe is a task of its own.

#[cfg(test)]
mod tests;

use super::board::result;
use super::now::Impatient;
use super::roster::{CheckId, Roster};
use super::wire::Wires;
use super::{Answer, Board, CheckNow, CheckResult, Hops, Question, Target};
use crate::live::Event;
use crate::live::event::{HealthNews, HealthState};
use crate::sys::{clock, rlimit};
use lbcore::health::{ProbeResult, Random};
use lbcore::id::RealId;
use lbcore::time::Tick;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::{error, info, warn};

/// Probes under way at once, at most: enough for 500 silent reals asked every 2 s for 1 s each,
/// and with what a probe may read 16 MiB at worst. Others wait their turn, the longest due first.
const MOST_PROBES: usize = 256;

/// Of the files the process may open, one in so many may be a probe: sockets of the data path and
/// of operators come first.
const SHARE_OF_FILES: u64 = 4;

/// Between two log lines about trouble of our own, which every due probe would repeat.
const QUIET: Duration = Duration::from_secs(60);

/// Judges `targets` until their sender or the events' receiver is gone. Sends [`Event::Health`]
/// when the verdict of a real changes, the first one included; puts the address of a real whose
/// check begins to fail into `suspects`, so that the way to it can be looked at again. `hops` says
/// where frames of our own go. What comes by `nows` is asked at once.
pub async fn run(
    targets: watch::Receiver<Arc<Vec<Target>>>,
    hops: watch::Receiver<Arc<Hops>>,
    board: Arc<Board>,
    events: mpsc::Sender<Event>,
    suspects: mpsc::Sender<IpAddr>,
    nows: mpsc::Receiver<CheckNow>,
) {
    let most = rlimit::open_files().map_or(MOST_PROBES, |files| {
        usize::try_from(files / SHARE_OF_FILES)
            .unwrap_or(MOST_PROBES)
            .clamp(1, MOST_PROBES)
    });
    let wires = Arc::new(Wires::new(hops));
    let ask = move |question: Question| question.on(&wires).ask();
    let runner = Runner::new(board, events, suspects, most, ask);
    runner.run(targets, nows).await;
}

/// `ask` is [`Question::ask`], or what a test puts in its place.
pub(super) struct Runner<A> {
    roster: Roster,
    board: Arc<Board>,
    events: mpsc::Sender<Event>,
    suspects: mpsc::Sender<IpAddr>,
    most: usize,
    ask: A,
    probes: JoinSet<Answer>,
    asked: HashMap<Id, CheckId>,
    impatient: Impatient,
    complained: Option<Tick>,
}

/// Nobody listens any more.
struct Unheard;

impl<A, F> Runner<A>
where
    A: Fn(Question) -> F,
    F: Future<Output = Answer> + Send + 'static,
{
    pub(super) fn new(
        board: Arc<Board>,
        events: mpsc::Sender<Event>,
        suspects: mpsc::Sender<IpAddr>,
        most: usize,
        ask: A,
    ) -> Self {
        // Peers and successors must not probe in step, so the seed is any.
        let random = Random::seeded(RandomState::new().build_hasher().finish());
        Runner {
            roster: Roster::new(random),
            board,
            events,
            suspects,
            most,
            ask,
            probes: JoinSet::new(),
            asked: HashMap::new(),
            impatient: Impatient::default(),
            complained: None,
        }
    }

    pub(super) async fn run(
        mut self,
        mut targets: watch::Receiver<Arc<Vec<Target>>>,
        mut nows: mpsc::Receiver<CheckNow>,
    ) {
        targets.mark_changed();
        loop {
            let due = self
                .roster
                .next_due()
                .filter(|_| self.probes.len() < self.most);
            let heard = tokio::select! {
                changed = targets.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let now_wanted = targets.borrow_and_update().clone();
                    self.update(&now_wanted).await
                }
                Some(now) = nows.recv() => {
                    // Whoever asks means the reals there are by now.
                    let now_wanted = targets.borrow_and_update().clone();
                    let heard = self.update(&now_wanted).await;
                    self.impatient.take(now, &mut self.roster, clock::now());
                    heard
                }
                Some(ended) = self.probes.join_next_with_id() => self.ended(ended).await,
                () = until(due) => {
                    self.start_due();
                    Ok(())
                }
            };
            if heard.is_err() {
                return;
            }
        }
    }

    async fn update(&mut self, targets: &[Target]) -> Result<(), Unheard> {
        for news in self.roster.update(targets, &self.board, clock::now()) {
            self.send(news).await?;
        }
        Ok(())
    }

    fn start_due(&mut self) {
        while self.probes.len() < self.most {
            let Some((id, question)) = self.roster.take_due(clock::now()) else {
                return;
            };
            let task = self.probes.spawn((self.ask)(question));
            self.asked.insert(task.id(), id);
        }
    }

    async fn ended(&mut self, ended: Result<(Id, Answer), JoinError>) -> Result<(), Unheard> {
        let now = clock::now();
        let (task, answer) = match ended {
            Ok((task, answer)) => (task, Some(answer)),
            Err(error) => {
                error!("a probe ended by a fault in lbd itself, it counts for nothing: {error}");
                (error.id(), None)
            }
        };
        let Some(check) = self.asked.remove(&task) else {
            return Ok(());
        };
        let mut news = Vec::new();
        if let Some(answer) = &answer {
            for (real, index) in self.roster.owners(check) {
                news.extend(self.answered((real, index), answer, now));
                if let Some(judged) = self.roster.judged(real) {
                    self.impatient.hear((real, index), answer, &judged.health);
                }
            }
        }
        self.roster.done(check, now);
        if self.impatient.wants_another(check) {
            self.roster.hurry(check, now);
        }
        for news in news {
            self.send(news).await?;
        }
        Ok(())
    }

    /// Counts one answer for one real's check; news if it changed the real's verdict, which check
    /// decides it, or the real's weight.
    fn answered(
        &mut self,
        (real, index): (RealId, usize),
        answer: &Answer,
        now: Tick,
    ) -> Option<HealthNews> {
        let judged = self.roster.judged(real)?;
        let mut otherwise_down = false;
        let mut reweighed = false;
        let recorded = match result(answer) {
            CheckResult::Pass => {
                let weight = answer.outcome.as_ref().ok().and_then(|found| found.weight);
                reweighed = judged.note_weight(index, weight);
                judged.record(index, ProbeResult::Pass, now)
            }
            CheckResult::Drain => judged.record(index, ProbeResult::Drain, now),
            CheckResult::Fail => {
                let recorded = judged.record(index, ProbeResult::Fail, now);
                let said_no = matches!(&answer.outcome, Err(error) if error.declines());
                otherwise_down = judged.note_failure(index, said_no);
                if judged.just_began_to_fail(index) {
                    // Full: others are being looked at, and the next failure says it again.
                    let _ = self.suspects.try_send(judged.target.address);
                }
                recorded
            }
            CheckResult::OwnTrouble => Default::default(),
        };
        let target = &judged.target;
        let state = judged.health.trackers()[index].state();
        self.board.note(target.real, index, answer, state);

        if result(answer) == CheckResult::OwnTrouble
            && self.complained.is_none_or(|last| now >= last + QUIET)
        {
            self.complained = Some(now);
            let (service, real, reason) = (&target.service, &target.name, answer.reason());
            warn!(
                "cannot check {service}/{real}, nor perhaps others; it stays {state:?}: {reason}"
            );
        }
        if result(answer) == CheckResult::OwnTrouble {
            return None;
        }
        let redecided = judged.note_words(index, answer.reason(), recorded.real.is_some());
        let reason = judged.reason();
        if let Some(transition) = recorded.real {
            let (service, real) = (&judged.target.service, &judged.target.name);
            match transition.to {
                HealthState::Up => info!("{service}/{real} is up: {reason}"),
                HealthState::Draining => info!("{service}/{real} drains: {reason}"),
                HealthState::Down => warn!("{service}/{real} is down: {reason}"),
                HealthState::Checking => info!("{service}/{real} is being checked: {reason}"),
            }
        }
        let verdict = judged.health.verdict();
        let changed = recorded.real.is_some() || otherwise_down || reweighed || redecided;
        changed.then(|| judged.news(verdict, reason))
    }

    async fn send(&self, news: HealthNews) -> Result<(), Unheard> {
        self.events
            .send(Event::Health(news))
            .await
            .map_err(|_| Unheard)
    }
}

async fn until(due: Option<Tick>) {
    match due {
        Some(due) => tokio::time::sleep(Duration::from_millis(due.since(clock::now()))).await,
        None => std::future::pending().await,
    }
}
