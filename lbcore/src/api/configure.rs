//! What can be asked about whole configurations.

use std::fmt;
use std::time::Duration;

/// A question or wish about configurations as a whole. All of these need an administrator: a
/// configuration may hold secrets, such as a header of a check.
#[derive(Clone, Debug, PartialEq)]
pub enum ConfigRequest {
    /// The texts of one.
    Show {
        /// Which; `None`: the one that runs.
        revision: Option<u64>,
    },
    /// Those that were in force.
    History,
    /// What running another one would change.
    Diff {
        /// Which; `None`: what stands in the file.
        draft: Option<Draft>,
    },
    /// Put another one in force, and into the file.
    Apply {
        /// Which.
        draft: Draft,
        /// It is rolled back after this long unless it is confirmed, and in the file only then.
        confirm: Option<Duration>,
        /// Also if this host listens on a VIP:port of it, or has no address but VIPs.
        force: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// Keep what waits to be confirmed.
    Confirm {
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
    /// Go back to an earlier one.
    Undo {
        /// Which; `None`: the one before.
        revision: Option<u64>,
        /// Also if this host listens on a VIP:port of it, or has no address but VIPs.
        force: bool,
        /// Say what would change, and change nothing.
        dry_run: bool,
    },
}

/// The text of a main file that is to be looked at or applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// What its faults call it.
    pub name: String,
    /// All of it.
    pub text: String,
}

impl fmt::Display for ConfigRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = |revision: &Option<u64>| revision.map_or(String::new(), |n| format!(" {n}"));
        let (words, dry_run) = match self {
            ConfigRequest::Show { revision: n } => (format!("show{}", revision(n)), &false),
            ConfigRequest::History => ("history".to_owned(), &false),
            ConfigRequest::Diff { draft } => {
                let name = draft.as_ref().map_or("", |draft| &draft.name);
                (format!("diff {name}").trim_end().to_owned(), &false)
            }
            ConfigRequest::Apply {
                draft,
                confirm,
                force,
                dry_run,
            } => {
                let confirm = confirm.map_or(String::new(), |within| {
                    format!(" confirm={}", humantime::format_duration(within))
                });
                let force = if *force { " force" } else { "" };
                (format!("apply {}{confirm}{force}", draft.name), dry_run)
            }
            ConfigRequest::Confirm { dry_run } => ("confirm".to_owned(), dry_run),
            ConfigRequest::Undo {
                revision: n,
                force,
                dry_run,
            } => {
                let force = if *force { " force" } else { "" };
                (format!("undo{}{force}", revision(n)), dry_run)
            }
        };
        let dry_run = if *dry_run { " dry_run" } else { "" };
        write!(f, "config {words}{dry_run}")
    }
}
