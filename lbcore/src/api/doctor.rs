//! What `doctor` finds.

use serde::{Deserialize, Serialize};

/// The answer to `doctor`: what was looked at, and each thing that is wrong with its fix.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DoctorView {
    /// Nothing is wrong: no finding is a fault or a warning.
    pub clean: bool,
    /// What is wrong or worth knowing, the worst first.
    pub findings: Vec<FindingView>,
    /// What was looked at.
    pub checks: Vec<CheckDone>,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FindingView {
    /// Names the kind of finding, and never changes: `return-path`.
    pub code: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: `web/rs1`, `eth0`; empty where it is this host as a whole.
    pub about: String,
    /// What was seen.
    pub seen: String,
    /// Why it matters.
    pub why: String,
    /// What mends it: a command, or what to do.
    pub fix: String,
}

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Clients are not served as they should be.
    Fault,
    /// They soon will not be, or some are not.
    Warning,
    /// Good to know; nothing is wrong.
    Note,
}

impl Severity {
    /// Whether something is wrong, and not only good to know.
    pub fn is_wrong(self) -> bool {
        self != Severity::Note
    }

    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Severity::Fault => "fault",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckDone {
    /// Which: `rules`, `rp_filter`, `return path of web/rs1`.
    pub check: String,
    /// How it went.
    pub result: Checked,
    /// What was seen, or why it was not looked at.
    pub seen: String,
}

/// How looking at something went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Checked {
    /// All is well.
    Good,
    /// There is a finding.
    Found,
    /// It was not looked at.
    Skipped,
}

impl Checked {
    /// The word in JSON and on the screen.
    pub fn word(self) -> &'static str {
        match self {
            Checked::Good => "good",
            Checked::Found => "found",
            Checked::Skipped => "skipped",
        }
    }
}
