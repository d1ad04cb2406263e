//! Configurations that were in force: who brought them, what they changed, what became of them.

use super::{Plan, Timestamp};
use crate::config::SourceFile;
use serde::{Deserialize, Serialize};

/// One configuration that was, or is, in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevisionView {
    /// Its number; a higher one is later.
    pub revision: u64,
    /// Since when it was in force.
    pub at: Timestamp,
    /// How it came: `start`, `reload`, `SIGHUP`, `command`, `apply`, `undo`.
    pub how: String,
    /// The user id that asked; `None`: nobody typed it.
    pub uid: Option<u32>,
    /// What that user is called here.
    pub user: Option<String>,
    /// What it changed, in words.
    pub changes: Vec<String>,
    /// What became of it.
    pub result: RevisionResult,
    /// Why, where there is something to say.
    pub note: Option<String>,
    /// The earlier revision that an undo went back to.
    pub restores: Option<u64>,
}

/// What became of a configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionResult {
    /// It stands in the file, or stood there until the next.
    Saved,
    /// In force, but the file could not be written.
    NotSaved,
    /// In force until it is confirmed, or rolled back at its deadline.
    Unconfirmed,
    /// It was not confirmed: the one before came back.
    RolledBack,
}

impl RevisionResult {
    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            RevisionResult::Saved => "saved",
            RevisionResult::NotSaved => "not saved",
            RevisionResult::Unconfirmed => "unconfirmed",
            RevisionResult::RolledBack => "rolled back",
        }
    }
}

/// `GET /v1/config/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryView {
    /// The one in force.
    pub revision: u64,
    /// The latest first.
    pub revisions: Vec<RevisionView>,
    /// What of it cannot be read.
    pub warnings: Vec<String>,
}

/// `GET /v1/config`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigView {
    /// Its number.
    pub revision: u64,
    /// Whether it runs now. Then changes made with `--runtime` are part of the texts.
    pub running: bool,
    /// The main file, then those it includes.
    pub files: Vec<SourceFile>,
}

/// `GET|POST /v1/config/diff`: what runs against what stands in the file, or against a draft.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ConfigDiffView {
    /// What it is compared with: the name of a file.
    pub with: String,
    /// Whether both say the same.
    pub same: bool,
    /// The configuration that runs.
    pub revision: u64,
    /// What would change if the other one ran, in words, old and new.
    pub changes: Vec<String>,
    /// What that would do to traffic.
    pub plan: Plan,
    /// The same as a unified diff of the texts; empty where they do not differ.
    pub diff: String,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

/// A configuration that waits to be confirmed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnconfirmedView {
    /// Its number.
    pub revision: u64,
    /// The one that comes back.
    pub back_to: u64,
    /// Whole seconds until then.
    pub seconds_left: u64,
}
