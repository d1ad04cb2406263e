//! A configuration that was applied for a while: it is in force, and not in the file. Whoever
//! starts next begins with the file, so that it is gone with this lbd, too.

use super::Reconciler;
use super::next::Next;
use super::revisions::Origin;
use crate::daemon::filed::Written;
use crate::sys::clock;
use lbcore::api::{ApiError, ErrorCode, Happening, RevisionResult, UnconfirmedView};
use lbcore::config::Overlay;
use lbcore::time::Tick;
use std::time::Duration;
use tracing::{info, warn};

/// What waits to be confirmed.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Unconfirmed {
    /// Its number.
    pub revision: u64,
    /// It is rolled back then.
    pub deadline: Tick,
    /// What comes back.
    pub before: Before,
}

/// What was in force before.
#[derive(Clone, Debug)]
pub(in crate::daemon) struct Before {
    pub revision: u64,
    pub wanted: Written,
    pub runtime: Overlay,
    pub warnings: Vec<String>,
}

impl Reconciler {
    /// Puts `next` in force until it is confirmed, `within` that time.
    pub(in crate::daemon) async fn try_out(
        &mut self,
        next: Next,
        within: Duration,
        origin: &Origin<'_>,
    ) {
        let before = Before {
            revision: self.revision,
            wanted: self.filed.wanted.clone(),
            runtime: self.world.overrides.runtime.clone(),
            warnings: self.standing_warnings.clone(),
        };
        let changes = next.changes();
        self.put_in_force(next).await;
        self.keep_revision(origin, changes, RevisionResult::Unconfirmed);
        // From when it is in force: whoever tries it has all of that time.
        self.unconfirmed = Some(Unconfirmed {
            revision: self.revision,
            deadline: clock::now() + within,
            before,
        });
    }

    /// What waits to be confirmed, for people.
    pub(in crate::daemon) fn unconfirmed_view(&self) -> Option<UnconfirmedView> {
        let unconfirmed = self.unconfirmed.as_ref()?;
        let left = unconfirmed.deadline.since(clock::now());
        Some(UnconfirmedView {
            revision: unconfirmed.revision,
            back_to: unconfirmed.before.revision,
            seconds_left: left.div_ceil(1000),
        })
    }

    /// While a configuration waits to be confirmed, nothing else is changed: it would be rolled
    /// back with it, or not.
    ///
    /// # Errors
    /// There is one.
    pub(in crate::daemon) fn refuse_while_unconfirmed(&self) -> Result<(), ApiError> {
        let Some(view) = self.unconfirmed_view() else {
            return Ok(());
        };
        let message = format!(
            "revision {} waits to be confirmed, for {} s more; nothing was changed",
            view.revision, view.seconds_left
        );
        Err(ApiError::new(ErrorCode::Conflict, message)
            .hint("lbctl config confirm keeps it, lbctl config undo takes it back at once"))
    }

    /// Rolls back what was not confirmed in time.
    pub(super) async fn keep_deadline(&mut self) {
        let due = |unconfirmed: &Unconfirmed| clock::now() >= unconfirmed.deadline;
        if self.unconfirmed.as_ref().is_some_and(due) {
            self.roll_back("it was not confirmed in time").await;
        }
    }

    /// Puts back in force what was before. Returns what that changed.
    pub(in crate::daemon) async fn roll_back(&mut self, why: &str) -> Vec<String> {
        let Some(Unconfirmed {
            revision, before, ..
        }) = self.unconfirmed.take()
        else {
            return Vec::new();
        };
        let next = self.drawn_up(before.wanted.loaded(), &before.runtime);
        let changes = next.changes();
        // Its texts are read from the history, while it still counts as the one in force.
        self.gave_up(revision, why);
        self.put_in_force(next).await;
        self.standing_warnings = before.warnings;
        self.revision = before.revision;
        self.save_overrides();
        warn!(
            revision,
            to = self.revision,
            why,
            "configuration rolled back"
        );
        self.journal.note(Happening::RolledBack {
            revision,
            to: self.revision,
            reason: why.to_owned(),
        });
        changes
    }

    /// It is kept: written into the file by the caller.
    pub(in crate::daemon) fn confirmed(&mut self) {
        if let Some(unconfirmed) = self.unconfirmed.take() {
            info!(revision = unconfirmed.revision, "configuration confirmed");
            self.save_overrides();
        }
    }
}
