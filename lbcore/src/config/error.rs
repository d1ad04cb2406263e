//! What is wrong with a configuration file, and where.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// One mistake in a configuration file, or one warning about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigError {
    /// Whether it stops the file from being used.
    pub severity: Severity,
    /// Which of the configuration's files it speaks of: 0 is the main one, then those it includes.
    #[serde(default)]
    pub file: usize,
    /// Bytes of that file's text.
    pub span: Range<usize>,
    /// Line of `span.start`, from 1.
    pub line: usize,
    /// Column of `span.start` in characters, from 1.
    pub column: usize,
    /// The keys that lead there, `service[web].real[rs1].weight`; empty for a fault of the file
    /// as a whole.
    pub path: String,
    /// What is wrong. Text from the file stands in it escaped and cut short.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Whether a finding stops the file from being used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The whole file is refused.
    Error,
    /// The file is good; this may still surprise.
    Warning,
}

impl fmt::Display for ConfigError {
    /// `12:5: service[web].port: 0 is not a port (ports are 1-65535)`, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.what())
    }
}

impl ConfigError {
    /// The same without the place in the text: `service[web].port: 0 is not a port (..)`.
    pub fn what(&self) -> String {
        let mut what = String::new();
        if !self.path.is_empty() {
            what.push_str(&self.path);
            what.push_str(": ");
        }
        what.push_str(&self.message);
        if let Some(help) = &self.help {
            what.push_str(&format!(" ({help})"));
        }
        what
    }
}

impl std::error::Error for ConfigError {}
