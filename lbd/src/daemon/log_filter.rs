//! `log`: another filter for a while.

use super::reconciler::Reconciler;
use crate::control::Peer;
use crate::log::LogFilter;
use crate::sys::clock;
use lbcore::api::{ApiError, ErrorCode, LogView, Response, Timestamp, printable};
use lbcore::config;
use lbcore::time::Tick;
use std::time::{Duration, SystemTime};
use tracing::{info, warn};

/// Longer than this is for the configuration file.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

/// The log's filter: as configured at start, or as somebody set it.
#[derive(Debug)]
pub struct Filter {
    log: LogFilter,
    configured: String,
    set: Option<Set>,
}

#[derive(Clone, Debug)]
struct Set {
    directives: String,
    until: Option<(Tick, SystemTime)>,
}

impl Filter {
    /// In force as the configuration says.
    pub fn new(log: LogFilter, configured: String) -> Self {
        let set = None;
        Filter {
            log,
            configured,
            set,
        }
    }

    fn in_force(&self) -> &str {
        let set = self.set.as_ref();
        set.map_or(&self.configured, |set| &set.directives)
    }

    /// A sentence for the operator, while it is not as configured.
    pub fn warning(&self) -> Option<String> {
        let set = self.set.as_ref()?;
        let until = match set.until {
            Some((_, until)) => format!("until {}", Timestamp(until)),
            None => "until lbd restarts".to_owned(),
        };
        Some(format!(
            "the log's filter is {} {until}, set by command (the configuration says {}); \
             lbctl log reset sets it back",
            set.directives, self.configured
        ))
    }

    fn view(&self, changes: Vec<String>, dry_run: bool) -> LogView {
        let until = self.set.as_ref().and_then(|set| set.until);
        LogView {
            filter: self.in_force().to_owned(),
            configured: self.configured.clone(),
            until: until.map(|(_, until)| Timestamp(until)),
            changes,
            dry_run,
        }
    }

    /// Sets it back if its time has passed.
    pub fn expire(&mut self, now: Tick) {
        let until = self.set.as_ref().and_then(|set| set.until);
        if until.is_some_and(|(until, _)| now >= until) {
            self.set = None;
            match self.log.exchange(&self.configured) {
                Ok(()) => info!(
                    filter = self.configured,
                    "the log's filter is as configured again"
                ),
                Err(error) => warn!(error, "the log's filter could not be set back"),
            }
        }
    }
}

impl Reconciler {
    pub(super) fn log(&self) -> Response {
        Response::Log(self.log.view(Vec::new(), false))
    }

    pub(super) fn set_log(
        &mut self,
        directives: Option<String>,
        for_ms: Option<u64>,
        dry_run: bool,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        let bad = |words: String| ApiError::new(ErrorCode::BadRequest, words);
        if let Some(directives) = &directives {
            config::check_log_filter(directives).map_err(|(message, help)| {
                bad(format!("{message}; nothing was changed")).hint(help)
            })?;
        }
        let length = for_ms.map(Duration::from_millis);
        if length.is_some_and(|length| length > LONGEST || length.is_zero()) {
            return Err(
                bad("a filter is set for a week at most; nothing was changed".to_owned())
                    .hint("for good: log in the configuration file"),
            );
        }
        if directives.is_none() && length.is_some() {
            return Err(bad(
                "as configured is for good, not for a time; nothing was changed".to_owned(),
            ));
        }
        let set = directives.map(|directives| Set {
            directives,
            until: length.map(|length| (clock::now() + length, SystemTime::now() + length)),
        });
        // As configured for good is as configured.
        let set = set.filter(|s| s.until.is_some() || s.directives != self.log.configured);
        let before = self.log.in_force().to_owned();
        let after = set.as_ref().map_or(&self.log.configured, |s| &s.directives);
        let mut changes = Vec::new();
        if before != *after || set.is_some() != self.log.set.is_some() {
            changes.push(format!("log: {before} -> {after}"));
        }
        if dry_run {
            let set_until = set.as_ref().and_then(|s| s.until);
            let mut view = self.log.view(changes, true);
            view.filter = after.clone();
            view.until = set_until.map(|(_, until)| Timestamp(until));
            return Ok(Response::Log(view));
        }
        if let Err(error) = self.log.log.exchange(after) {
            let words = format!("the log does not take it: {error}; nothing was changed");
            return Err(ApiError::new(ErrorCode::Internal, words));
        }
        info!(filter = %printable(after), "the log's filter was set by command");
        self.log.set = set;
        for change in &changes {
            self.note_change(peer, change.clone());
        }
        Ok(Response::Log(self.log.view(changes, false)))
    }
}
