//! Checks that were run at once: a line for each.

use super::RealState;
use serde::{Deserialize, Serialize};

/// One line of `POST /v1/services/{service}/check`: one check of one real. Every check of every
/// real that was asked for has exactly one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckNowView {
    /// Name of the service.
    pub service: String,
    /// Name of the real.
    pub real: String,
    /// Which check: `http`, `http#2`; empty: all of them.
    pub check: String,
    /// How it ended.
    pub result: CheckNowResult,
    /// In words: `"http 200 in 1.2 ms"`.
    pub reason: String,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// What this check says by rise and fall.
    pub check_state: Option<RealState>,
    /// What all checks of the real say together.
    pub real_state: Option<RealState>,
}

/// How a check that was run at once ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckNowResult {
    /// As expected.
    Pass,
    /// It answers, and wants no new flows.
    Drain,
    /// Refused, silent, or something else.
    Fail,
    /// This host could not ask; it says nothing of the real.
    OwnTrouble,
    /// It was not asked, and will not be: it has no checks, or is disabled.
    NotAsked,
    /// Its turn did not come in time.
    Late,
    /// It would be asked.
    WouldAsk,
}

impl CheckNowResult {
    /// The word in JSON and on screen.
    pub fn word(self) -> &'static str {
        match self {
            CheckNowResult::Pass => "pass",
            CheckNowResult::Drain => "drain",
            CheckNowResult::Fail => "fail",
            CheckNowResult::OwnTrouble => "own_trouble",
            CheckNowResult::NotAsked => "not_asked",
            CheckNowResult::Late => "late",
            CheckNowResult::WouldAsk => "would_ask",
        }
    }
}
