//! `check now`: the checks of a service, or of one real, run at once; a line for each as it ends.

use super::reconciler::Reconciler;
use super::views::said;
use crate::control::{CheckNowAsk, EventStream, Following, Peer};
use crate::probe::{CheckNow, CheckResult, CheckedNow};
use lbcore::api::{ApiError, CheckNowResult, CheckNowView, Envelope, ErrorCode, printable};
use lbcore::config::{Admin, Real, Service};
use lbcore::id::RealId;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc, watch};
use tracing::warn;

/// People who wait for checks at once.
const AT_ONCE: usize = 4;

static VISITS: Semaphore = Semaphore::const_new(AT_ONCE);

/// With many silent reals a probe waits for its turn; who asked waits this long beyond two of them
/// (the one that may be under way, and the one that is asked for).
const TURN: Duration = Duration::from_secs(30);

/// Lines still to come, by real and place of the check.
type Expected = BTreeMap<(RealId, usize), CheckNowView>;

impl Reconciler {
    /// Has them run, and streams what comes of it.
    pub(super) fn check_now(
        &mut self,
        ask: CheckNowAsk,
        peer: &Peer,
    ) -> Result<EventStream, ApiError> {
        let config = self.find_config(&ask.service)?;
        let reals: Vec<&Real> = match &ask.real {
            Some(wanted) => vec![self.find_real(config, wanted)?],
            None => config.reals.iter().collect(),
        };
        let mut past = String::new();
        let mut expected = Expected::new();
        for real in reals {
            match self.checks_of(config, real) {
                Ok(some) => expected.extend(some),
                Err(why) => past += &line(&not_asked(blank(config, real), why)),
            }
        }
        if ask.dry_run {
            for view in expected.into_values() {
                past += &line(&CheckNowView {
                    result: CheckNowResult::WouldAsk,
                    ..view
                });
            }
            let following = None;
            return Ok(EventStream { past, following });
        }
        let longest = config.checks.iter().map(|check| check.timeout).max();
        let patience = TURN + 2 * longest.unwrap_or_default();
        let busy = || {
            ApiError::new(ErrorCode::Unavailable, "checks are being run for others")
                .hint("ask again in some seconds")
        };
        let visit = VISITS.try_acquire().map_err(|_| busy())?;
        let (answers, heard) = mpsc::channel(expected.len().max(1));
        let mut asked: Vec<RealId> = expected.keys().map(|(real, _)| *real).collect();
        asked.dedup();
        let now = CheckNow {
            reals: asked,
            answers,
        };
        self.out.check_now.try_send(now).map_err(|_| busy())?;
        let of = ask.real.map_or(String::new(), |real| format!("/{real}"));
        self.note_change(peer, format!("checks run: {}{of}", ask.service));
        let (lines, to_come) = mpsc::channel(expected.len().max(1));
        let (until, cut) = watch::channel(());
        tokio::spawn(async move {
            pass_on(expected, heard, lines, patience, visit).await;
            drop(until);
        });
        let following = Some(Following {
            lines: to_come,
            cut,
        });
        Ok(EventStream { past, following })
    }

    /// The lines to expect of one real, or why it is not asked.
    fn checks_of(&self, service: &Service, real: &Real) -> Result<Expected, &'static str> {
        if service.checks.is_empty() {
            return Err("its service has no checks");
        }
        if real.admin == Admin::Disabled {
            return Err("it is disabled");
        }
        let id = self
            .world
            .registry
            .known_real(&service.name, real.place())
            .ok_or("lbd does not know it yet")?;
        let checks = self.board.checks(id).into_iter().enumerate();
        let lines: Expected = checks
            .map(|(index, check)| {
                let check = check.check;
                let view = CheckNowView {
                    check,
                    ..blank(service, real)
                };
                ((id, index), view)
            })
            .collect();
        match lines.is_empty() {
            true => Err("its checks begin only now"),
            false => Ok(lines),
        }
    }
}

/// Passes answers on as they come; who has given none in time is named, too.
async fn pass_on(
    mut expected: Expected,
    mut heard: mpsc::Receiver<CheckedNow>,
    lines: mpsc::Sender<String>,
    patience: Duration,
    _visit: SemaphorePermit<'static>,
) {
    let deadline = tokio::time::Instant::now() + patience;
    let mut late = false;
    while !expected.is_empty() {
        let answer = match tokio::time::timeout_at(deadline, heard.recv()).await {
            Ok(Some(answer)) => answer,
            Ok(None) => break,
            Err(_) => {
                late = true;
                break;
            }
        };
        let Some(view) = expected.remove(&(answer.real, answer.index)) else {
            continue;
        };
        if lines.send(line(&told(view, &answer))).await.is_err() {
            return;
        }
    }
    for view in expected.into_values() {
        let view = match late {
            true => CheckNowView {
                result: CheckNowResult::Late,
                reason: format!("its turn did not come within {patience:?}"),
                ..view
            },
            false => not_asked(view, "it is no longer checked"),
        };
        if lines.send(line(&view)).await.is_err() {
            return;
        }
    }
}

fn blank(service: &Service, real: &Real) -> CheckNowView {
    CheckNowView {
        service: service.name.clone(),
        real: real.name.clone(),
        check: String::new(),
        result: CheckNowResult::NotAsked,
        reason: String::new(),
        took_ms: None,
        check_state: None,
        real_state: None,
    }
}

fn not_asked(view: CheckNowView, why: &str) -> CheckNowView {
    CheckNowView {
        result: CheckNowResult::NotAsked,
        reason: why.to_owned(),
        ..view
    }
}

fn told(view: CheckNowView, answer: &CheckedNow) -> CheckNowView {
    CheckNowView {
        result: match answer.result {
            CheckResult::Pass => CheckNowResult::Pass,
            CheckResult::Drain => CheckNowResult::Drain,
            CheckResult::Fail => CheckNowResult::Fail,
            CheckResult::OwnTrouble => CheckNowResult::OwnTrouble,
        },
        reason: answer.reason.clone(),
        took_ms: Some(u64::try_from(answer.took.as_millis()).unwrap_or(u64::MAX)),
        check_state: Some(said(answer.check)),
        real_state: Some(said(answer.together)),
        ..view
    }
}

fn line(view: &CheckNowView) -> String {
    match serde_json::to_string(&Envelope::new(view)) {
        Ok(line) => line + "\n",
        Err(error) => {
            let real = printable(&view.real);
            warn!(%error, %real, "a check's answer cannot be written as JSON");
            String::new()
        }
    }
}
