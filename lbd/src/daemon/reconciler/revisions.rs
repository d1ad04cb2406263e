//! Which configuration is in force, by number, and what becomes of its files.

use super::Reconciler;
use crate::control::Peer;
use crate::daemon::filed::{SAVE_AGAIN, Unsaved, Written};
use crate::daemon::reload;
use crate::daemon::store::{self, NotWritten};
use crate::sys::{clock, peer};
use lbcore::api::{Happening, RevisionResult, RevisionView, SavedState, SavedView, Timestamp};
use std::time::SystemTime;
use tracing::{info, warn};

/// Warnings about the history that are kept.
const WARNINGS: usize = 20;

/// How a configuration came.
#[derive(Clone, Debug, Default)]
pub(in crate::daemon) struct Origin<'a> {
    /// `start`, `reload`, `SIGHUP`, `command`, `apply`, `undo`.
    pub how: &'a str,
    /// Who asked; `None`: nobody typed it.
    pub peer: Option<&'a Peer>,
    /// The earlier revision that an undo goes back to.
    pub restores: Option<u64>,
}

impl Reconciler {
    /// At start: which revision this is, and what became of the last one. A configuration that was
    /// never confirmed is not in the file, so it is not the one that starts.
    pub(super) fn take_up_history(&mut self) {
        let left = self.history.revisions().iter();
        let left = left.filter(|r| r.result == RevisionResult::Unconfirmed);
        for revision in left.map(|r| r.revision).collect::<Vec<_>>() {
            let why = "lbd ended before it was confirmed";
            let warning = format!("revision {revision} was rolled back: {why}");
            warn!(warning, "configuration");
            self.standing_warnings.push(warning);
            self.gave_up(revision, why);
        }
        let revisions = self.history.revisions().iter().rev();
        let good = revisions.filter(|r| r.result != RevisionResult::RolledBack);
        let numbers: Vec<u64> = good.map(|r| r.revision).collect();
        let wanted = &self.filed.wanted.sources;
        let known = numbers
            .iter()
            .find(|n| self.history.sources(**n).is_ok_and(|s| s == *wanted));
        match known {
            // An older one that stands in the file again is a change, too.
            Some(revision) if Some(revision) == numbers.first() => self.revision = *revision,
            _ => {
                let before = numbers.first().and_then(|n| self.history.sources(*n).ok());
                let before = before.and_then(|sources| reload::judge(sources).ok());
                let changes = before.map_or_else(Vec::new, |before| {
                    let diff = lbcore::config::diff(&before.config, &self.filed.wanted.config);
                    diff.changes.iter().map(ToString::to_string).collect()
                });
                let origin = Origin {
                    how: "start",
                    ..Origin::default()
                };
                self.keep_revision(&origin, changes, RevisionResult::Saved);
            }
        }
    }

    /// Gives the configuration in force a number and keeps it.
    pub(in crate::daemon) fn keep_revision(
        &mut self,
        origin: &Origin<'_>,
        changes: Vec<String>,
        result: RevisionResult,
    ) {
        self.revision = self.history.next();
        let uid = origin.peer.map(|peer| peer.uid);
        let unsaved = self.filed.unsaved.as_ref();
        let about = RevisionView {
            revision: self.revision,
            at: Timestamp(SystemTime::now()),
            how: origin.how.to_owned(),
            uid,
            user: uid.and_then(peer::user_name),
            changes,
            result,
            note: unsaved.map(|unsaved| unsaved.why.clone()),
            restores: origin.restores,
        };
        let kept = self.history.add(about, &self.filed.wanted.sources);
        self.note_history(kept);
    }

    /// What became of an earlier revision, or that its texts gained a comment.
    pub(in crate::daemon) fn amend_revision(
        &mut self,
        revision: u64,
        change: impl FnOnce(&mut RevisionView),
    ) {
        let sources = match revision == self.revision {
            true => Ok(self.filed.wanted.sources.clone()),
            false => self.history.sources(revision),
        };
        let kept = sources
            .map_err(std::io::Error::other)
            .and_then(|sources| self.history.amend(revision, &sources, change));
        self.note_history(kept);
    }

    /// A revision that was never confirmed is over.
    pub(super) fn gave_up(&mut self, revision: u64, why: &str) {
        self.amend_revision(revision, |about| {
            about.result = RevisionResult::RolledBack;
            about.note = Some(why.to_owned());
        });
    }

    /// Whether a revision came into its file.
    pub(in crate::daemon) fn judge_revision(&mut self, revision: u64, result: RevisionResult) {
        let note = self
            .filed
            .unsaved
            .as_ref()
            .map(|unsaved| unsaved.why.clone());
        self.amend_revision(revision, |about| {
            about.result = result;
            about.note = note;
        });
    }

    fn note_history(&mut self, kept: std::io::Result<()>) {
        let Err(error) = kept else { return };
        warn!(%error, "the history of configurations could not be written");
        let warnings = &mut self.history.warnings;
        warnings.push(format!("the history could not be written: {error}"));
        let surplus = warnings.len().saturating_sub(WARNINGS);
        warnings.drain(..surplus);
    }

    /// Writes the files that are to say something else than they do. What cannot be written is
    /// drift from now on, and tried again.
    pub(in crate::daemon) fn save(&mut self) -> (SavedView, Vec<String>) {
        let before = self.filed.on_disk.sources.clone();
        let written = store::write(&mut self.filed.on_disk.sources, &self.filed.wanted.sources);
        let now = self.filed.on_disk.sources.files();
        let files = before
            .files()
            .zip(now)
            .filter(|(was, is)| was.text != is.text);
        let files: Vec<String> = files.map(|(_, is)| is.path.display().to_string()).collect();
        let (state, reason, mut notes) = match written {
            Ok(notes) => {
                self.filed.on_disk = self.filed.wanted.clone();
                self.filed.unsaved = None;
                let state = match files.is_empty() {
                    true => SavedState::Unchanged,
                    false => SavedState::Yes,
                };
                (state, None, notes)
            }
            Err(error) => {
                if let Ok(loaded) = reload::judge(self.filed.on_disk.sources.clone()) {
                    self.filed.on_disk = Written::of(&loaded);
                }
                let why = error.to_string();
                let reason = unsaved(&error);
                warn!(reason, "the configuration");
                self.filed.unsaved = Some(Unsaved {
                    why,
                    next_try: clock::now() + SAVE_AGAIN,
                });
                (SavedState::No, Some(reason), Vec::new())
            }
        };
        // The owner of the files is told once: it stays true.
        notes.retain(|note| !self.told.contains(note));
        self.told.extend(notes.iter().cloned());
        self.note_drift();
        let saved = SavedView {
            state,
            files,
            reason,
        };
        (saved, notes)
    }

    /// What could not be saved is tried again.
    pub(super) fn save_again(&mut self) {
        let due = |unsaved: &Unsaved| clock::now() >= unsaved.next_try;
        if self.unconfirmed.is_some() || !self.filed.unsaved.as_ref().is_some_and(due) {
            return;
        }
        let (saved, _) = self.save();
        if saved.state == SavedState::No {
            return;
        }
        info!(revision = self.revision, "the configuration is saved now");
        self.judge_revision(self.revision, RevisionResult::Saved);
        self.journal.note(Happening::Saved {
            revision: self.revision,
        });
    }
}

/// In force, but not saved: why, and what becomes of it.
fn unsaved(error: &NotWritten) -> String {
    let next = match error {
        NotWritten::HandEdited(_) => "lbctl config diff shows how they differ",
        NotWritten::ReadOnly { .. } | NotWritten::Failed { .. } => {
            "lbd goes on trying; until then a restart or a reload undoes the change"
        }
    };
    format!("in force, but not saved: {error}; {next}")
}
