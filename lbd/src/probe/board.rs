//! What the checks last said: for `status`, and as metrics.

use super::{Answer, ProbeError, Target};
use crate::live::event::HealthState;
use lbcore::config::Check;
use lbcore::id::RealId;
use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tracing::warn;

/// How a probe counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckResult {
    /// As expected.
    Pass,
    /// It answers, and wants no new flows.
    Drain,
    /// Refused, silent, or something else.
    Fail,
    /// This host could not ask; it says nothing of the real.
    OwnTrouble,
}

impl CheckResult {
    /// The `result` label.
    pub fn word(self) -> &'static str {
        match self {
            CheckResult::Pass => "pass",
            CheckResult::Drain => "drain",
            CheckResult::Fail => "fail",
            CheckResult::OwnTrouble => "own_trouble",
        }
    }

    const ALL: [CheckResult; 4] = [
        CheckResult::Pass,
        CheckResult::Drain,
        CheckResult::Fail,
        CheckResult::OwnTrouble,
    ];
}

/// One check of one real, as views show it.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckStatus {
    /// Its word, with a number where a real has several of a kind: `http`, `http#2`.
    pub check: String,
    /// What it says, rise and fall considered.
    pub state: HealthState,
    /// Its last probe; `None` before the first.
    pub last: Option<LastProbe>,
}

/// How one probe ended.
#[derive(Clone, Debug, PartialEq)]
pub struct LastProbe {
    /// How it counts.
    pub result: CheckResult,
    /// `"http 200 in 1.2 ms"`, `"connection refused"`.
    pub reason: String,
    /// When it ended.
    pub at: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// When the certificate it has seen ends, in seconds since 1970.
    pub expires: Option<i64>,
}

/// Written by the probes, read by views and the metrics page; nothing of the packet path comes
/// here.
#[derive(Debug)]
pub struct Board {
    reals: Mutex<HashMap<RealId, Entry>>,
    results: IntCounterVec,
    durations: HistogramVec,
    certificates: IntGaugeVec,
}

#[derive(Debug)]
struct Entry {
    service: String,
    name: String,
    checks: Vec<CheckStatus>,
}

const DAY: i64 = 24 * 3600;

/// A certificate that ends within this many seconds is told: whoever renews by themselves (ACME
/// does so 30 days before) has failed by then, and there is time to do it by hand.
const SOON: i64 = 14 * DAY;

/// Seconds; from a neighbour's answer to the longest sensible timeout.
const BUCKETS: [f64; 12] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0,
];

impl Board {
    /// An empty board whose metrics `registry` shows; an error if it has others of their names.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let results = IntCounterVec::new(
            Opts::new(
                "lbd_check_results_total",
                "Probes of reals by how they ended.",
            ),
            &["service", "real", "check", "result"],
        )?;
        let durations = HistogramVec::new(
            HistogramOpts::new(
                "lbd_check_duration_seconds",
                "How long probes of reals took.",
            )
            .buckets(BUCKETS.to_vec()),
            &["service", "real", "check"],
        )?;
        let certificates = IntGaugeVec::new(
            Opts::new(
                "lbd_check_certificate_expiry_timestamp_seconds",
                "When the certificate that an https check has seen ends, in seconds since 1970.",
            ),
            &["service", "real", "check"],
        )?;
        registry.register(Box::new(certificates.clone()))?;
        registry.register(Box::new(results.clone()))?;
        registry.register(Box::new(durations.clone()))?;
        Ok(Board {
            reals: Mutex::new(HashMap::new()),
            results,
            durations,
            certificates,
        })
    }

    /// The checks of `real` in the order of the configuration; empty if it has none.
    pub fn checks(&self, real: RealId) -> Vec<CheckStatus> {
        self.reals()
            .get(&real)
            .map(|entry| entry.checks.clone())
            .unwrap_or_default()
    }

    /// A sentence for each certificate that ends soon, or has ended.
    pub fn certificate_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for Entry {
            service,
            name,
            checks,
        } in self.reals().values()
        {
            for status in checks {
                let expires = status.last.as_ref().and_then(|last| last.expires);
                if let Some(expires) = expires.filter(|expires| left(*expires) < SOON) {
                    let (check, ends) = (&status.check, ends(expires));
                    warnings.push(format!(
                        "{service}/{name}: the certificate of its {check} check {ends}"
                    ));
                }
            }
        }
        warnings.sort_unstable();
        warnings
    }

    /// Shows `target` with the states of its checks and what is known of their last probes.
    pub(super) fn show(&self, target: &Target, checks: Vec<(HealthState, Option<LastProbe>)>) {
        let checks = labels(&target.checks)
            .into_iter()
            .zip(checks)
            .map(|(check, (state, last))| CheckStatus { check, state, last })
            .collect();
        let entry = Entry {
            service: target.service.clone(),
            name: target.name.clone(),
            checks,
        };
        let mut reals = self.reals();
        if let Some(old) = reals.remove(&target.real) {
            for check in old
                .series()
                .filter(|series| !entry.series().any(|s| s == *series))
            {
                self.remove_series(check);
            }
        }
        for [service, real, check] in entry.series() {
            for result in CheckResult::ALL {
                self.results
                    .with_label_values(&[service, real, check, result.word()]);
            }
        }
        reals.insert(target.real, entry);
    }

    /// Takes `real` and its series down.
    pub(super) fn forget(&self, real: RealId) {
        if let Some(old) = self.reals().remove(&real) {
            for series in old.series() {
                self.remove_series(series);
            }
        }
    }

    /// Notes one answer to the check at `index`, and the state it led to.
    pub(super) fn note(&self, real: RealId, index: usize, answer: &Answer, state: HealthState) {
        let mut reals = self.reals();
        let Some(Entry {
            service,
            name,
            checks,
        }) = reals.get_mut(&real)
        else {
            return;
        };
        let Some(status) = checks.get_mut(index) else {
            return;
        };
        let result = result(answer);
        let labels = [service.as_str(), name.as_str(), status.check.as_str()];
        self.results
            .with_label_values(&[labels[0], labels[1], labels[2], result.word()])
            .inc();
        if result != CheckResult::OwnTrouble {
            self.durations
                .with_label_values(&labels)
                .observe(answer.took.as_secs_f64());
        }
        // A handshake that fails shows none: what was seen before still says when it ends.
        let seen = status.last.as_ref().and_then(|last| last.expires);
        let shown = answer.outcome.as_ref().ok().and_then(|found| found.expires);
        if let Some(expires) = shown {
            self.certificates.with_label_values(&labels).set(expires);
            if left(expires) < SOON && seen.is_none_or(|seen| left(seen) >= SOON || seen > expires)
            {
                warn!(
                    "{service}/{name}: the certificate of its {} check {}",
                    status.check,
                    ends(expires)
                );
            }
        }
        status.state = state;
        status.last = Some(LastProbe {
            expires: shown.or(seen),
            result,
            reason: answer.reason(),
            at: SystemTime::now(),
            took: answer.took,
        });
    }

    fn remove_series(&self, [service, real, check]: [&str; 3]) {
        // A series that was never written is not there: nothing to remove, nothing wrong.
        let _ = self.durations.remove_label_values(&[service, real, check]);
        let _ = self
            .certificates
            .remove_label_values(&[service, real, check]);
        for result in CheckResult::ALL {
            let _ = self
                .results
                .remove_label_values(&[service, real, check, result.word()]);
        }
    }

    fn reals(&self) -> MutexGuard<'_, HashMap<RealId, Entry>> {
        // Every change is a whole one, so what a panicked thread left is good.
        self.reals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds until then.
fn left(expires: i64) -> i64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    expires.saturating_sub(now.map_or(0, |now| now.as_secs().cast_signed()))
}

/// In words: `"ends in 5 days"`.
fn ends(expires: i64) -> String {
    match left(expires) {
        ..=0 => "has expired".to_owned(),
        left @ ..DAY => format!("ends in {} hours", left / 3600),
        left => format!("ends in {} days", left / DAY),
    }
}

impl Entry {
    fn series(&self) -> impl Iterator<Item = [&str; 3]> {
        let names = (self.service.as_str(), self.name.as_str());
        self.checks
            .iter()
            .map(move |status| [names.0, names.1, status.check.as_str()])
    }
}

/// How `answer` counts.
pub(super) fn result(answer: &Answer) -> CheckResult {
    match &answer.outcome {
        Ok(_) => CheckResult::Pass,
        Err(ProbeError::Drains(_)) => CheckResult::Drain,
        Err(error) if error.is_own_trouble() => CheckResult::OwnTrouble,
        Err(_) => CheckResult::Fail,
    }
}

fn labels(checks: &[Check]) -> Vec<String> {
    let word = |index: usize| checks[index].kind.word();
    (0..checks.len())
        .map(|index| {
            let earlier = (0..index)
                .filter(|other| word(*other) == word(index))
                .count();
            match earlier {
                0 => word(index).to_owned(),
                _ => format!("{}#{}", word(index), earlier + 1),
            }
        })
        .collect()
}
