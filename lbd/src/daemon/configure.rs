//! Whole configurations by command: shown, compared, applied, confirmed, undone.

use super::answers::refusal;
use super::changes::not_written;
use super::reconciler::{Next, Origin, Reconciler, compose};
use super::reload::{self, Loaded};
use super::store;
use crate::control::Peer;
use lbcore::api::{
    ApiError, ChangeView, ConfigDiffView, ConfigRequest, ConfigView, Draft, ErrorCode, HistoryView,
    Response, RevisionResult, RevisionView, SavedState, SavedView,
};
use lbcore::config::{self, Overlay, SourceFile, Sources};
use std::time::Duration;

impl Reconciler {
    /// Answers what is asked about whole configurations.
    ///
    /// # Errors
    /// What is wrong, and what to do. Nothing was changed.
    pub(super) async fn configure(
        &mut self,
        request: ConfigRequest,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        Ok(match request {
            ConfigRequest::Show { revision } => Response::Config(self.show(revision)?),
            ConfigRequest::History => Response::History(HistoryView {
                revision: self.revision,
                revisions: self.history.revisions().iter().rev().cloned().collect(),
                warnings: self.history.warnings.clone(),
            }),
            ConfigRequest::Diff { draft } => Response::ConfigDiff(Box::new(self.compare(draft)?)),
            ConfigRequest::Apply {
                draft,
                confirm,
                force,
                dry_run,
            } => {
                let view = self.apply(draft, confirm, (force, dry_run), peer).await?;
                Response::Changed(Box::new(view))
            }
            ConfigRequest::Confirm { dry_run } => {
                Response::Changed(Box::new(self.confirm(dry_run, peer)?))
            }
            ConfigRequest::Undo {
                revision,
                force,
                dry_run,
            } => {
                let view = self.undo(revision, (force, dry_run), peer).await?;
                Response::Changed(Box::new(view))
            }
        })
    }

    fn show(&self, revision: Option<u64>) -> Result<ConfigView, ApiError> {
        let sources = match revision {
            None => self.running(),
            Some(number) => self.kept(number)?,
        };
        Ok(ConfigView {
            revision: revision.unwrap_or(self.revision),
            running: revision.is_none(),
            files: sources.files().cloned().collect(),
        })
    }

    /// The texts of what runs, changes with `--runtime` included.
    fn running(&self) -> Sources {
        compose(&self.filed.wanted, &self.world.overrides.runtime)
            .0
            .sources
    }

    /// The texts of a revision.
    fn kept(&self, number: u64) -> Result<Sources, ApiError> {
        let known = self.history.revisions();
        let error = match self.history.get(number) {
            Some(_) => match self.history.sources(number) {
                Ok(sources) => return Ok(sources),
                Err(why) => format!("revision {number} cannot be read any more: {why}"),
            },
            None => match (known.first(), known.last()) {
                (Some(first), Some(last)) => format!(
                    "there is no revision {number}; kept are {} to {}",
                    first.revision, last.revision
                ),
                _ => format!("there is no revision {number}"),
            },
        };
        Err(ApiError::new(ErrorCode::NotFound, error).hint("lbctl config history lists them"))
    }

    fn compare(&self, draft: Option<Draft>) -> Result<ConfigDiffView, ApiError> {
        let (with, loaded) = match draft {
            Some(draft) => (draft.name.clone(), self.drafted(draft)?),
            None => {
                let loaded = reload::load(&self.config_file).map_err(refusal)?;
                (self.config_file.display().to_string(), loaded)
            }
        };
        let theirs = loaded.sources.clone();
        let next = self.drawn_up(loaded, &Overlay::default());
        let diff = config::diff(&self.world.config, &next.wanted.config);
        Ok(ConfigDiffView {
            with,
            same: diff.is_empty(),
            revision: self.revision,
            changes: diff.changes.iter().map(ToString::to_string).collect(),
            plan: self.plan(&next),
            diff: self.running().diff(&theirs),
            warnings: next.warnings,
        })
    }

    /// A draft in the place of the main file, beside the files that are included.
    fn drafted(&self, draft: Draft) -> Result<Loaded, ApiError> {
        let running = &self.filed.wanted.sources;
        let main = SourceFile {
            path: draft.name.into(),
            text: draft.text,
        };
        let sources = Sources {
            main,
            included: running.included.clone(),
        };
        // Another list would have lbd read files that nobody with a right to them named.
        if config::patterns(&sources.main.text) != config::patterns(&running.main.text) {
            let message = "include cannot be changed over the control socket; nothing was changed";
            return Err(
                ApiError::new(ErrorCode::NotPermitted, message).hint(format!(
                    "whoever may write {} changes it there, then: lbctl reload",
                    self.config_file.display()
                )),
            );
        }
        let mut loaded = reload::judge(sources).map_err(refusal)?;
        // Its faults were told by its own name; from here on it is the main file.
        loaded.sources.main.path.clone_from(&running.main.path);
        Ok(loaded)
    }

    async fn apply(
        &mut self,
        draft: Draft,
        confirm: Option<Duration>,
        (force, dry_run): (bool, bool),
        peer: &Peer,
    ) -> Result<ChangeView, ApiError> {
        self.refuse_while_unconfirmed()?;
        let name = draft.name.clone();
        let loaded = self.drafted(draft)?;
        let runtime = self.world.overrides.runtime.clone();
        let next = self.next(loaded, &runtime, force).await.map_err(refusal)?;
        self.refuse_guarded(&next)?;
        self.refuse_unwritable(&next, dry_run)?;
        let mut view = self.announced(&next, dry_run);
        if dry_run {
            return Ok(self.closed(view));
        }
        let origin = Origin {
            how: "apply",
            peer: Some(peer),
            restores: None,
        };
        let before = self.stand();
        let overruled = next.runtime != runtime;
        match confirm.filter(|_| !next.diff.is_empty()) {
            Some(within) => {
                self.try_out(next, within, &origin).await;
                view.unconfirmed = self.unconfirmed_view();
                view.saved = SavedView {
                    state: SavedState::Unconfirmed,
                    ..SavedView::default()
                };
                let within = within.as_secs();
                let revision = self.revision;
                let noted = format!(
                    "config apply {name}: revision {revision}, to be confirmed within {within} s"
                );
                self.note_change(peer, noted);
            }
            None => {
                view.saved = self.put_and_save(next, &origin, &mut view.warnings).await;
                if overruled {
                    self.save_overrides();
                }
                self.note_change(
                    peer,
                    format!("config apply {name}: revision {}", self.revision),
                );
            }
        }
        for change in &view.changes {
            self.note_change(peer, change.clone());
        }
        view.plan = self.done_since(&before, false);
        Ok(self.closed(view))
    }

    fn confirm(&mut self, dry_run: bool, peer: &Peer) -> Result<ChangeView, ApiError> {
        if self.unconfirmed.is_none() {
            let message = format!(
                "nothing waits to be confirmed; revision {} stays",
                self.revision
            );
            return Err(ApiError::new(ErrorCode::Conflict, message)
                .hint("it may have been rolled back already: lbctl config history"));
        }
        let (on_disk, wanted) = (&self.filed.on_disk.sources, &self.filed.wanted.sources);
        let checked = match dry_run {
            true => store::unchanged(on_disk, wanted),
            false => store::check(on_disk, wanted),
        };
        checked.map_err(not_written)?;
        let mut view = ChangeView {
            dry_run,
            ..ChangeView::default()
        };
        if !dry_run {
            self.confirmed();
            let (saved, notes) = self.save();
            let result = match saved.state {
                SavedState::No => RevisionResult::NotSaved,
                _ => RevisionResult::Saved,
            };
            view.warnings = notes;
            view.saved = saved;
            let revision = self.revision;
            self.judge_revision(revision, result);
            view.changes = vec![format!("revision {revision} is confirmed")];
            self.note_change(peer, format!("config confirm: revision {revision}"));
        } else {
            view.changes = vec![format!("revision {} would be confirmed", self.revision)];
        }
        Ok(self.closed(view))
    }

    async fn undo(
        &mut self,
        wanted: Option<u64>,
        (force, dry_run): (bool, bool),
        peer: &Peer,
    ) -> Result<ChangeView, ApiError> {
        if let (Some(pending), None) = (&self.unconfirmed, wanted) {
            let (revision, back_to) = (pending.revision, pending.before.revision);
            let mut view = ChangeView {
                dry_run,
                ..ChangeView::default()
            };
            if dry_run {
                view.changes = vec![format!(
                    "revision {revision} would be rolled back to {back_to}"
                )];
                return Ok(self.closed(view));
            }
            let before = self.stand();
            view.changes = self.roll_back("it was undone by command").await;
            view.changes.insert(
                0,
                format!("revision {revision} is rolled back to {back_to}"),
            );
            view.plan = self.done_since(&before, false);
            self.note_change(
                peer,
                format!("config undo: revision {revision} rolled back to {back_to}"),
            );
            return Ok(self.closed(view));
        }
        self.refuse_while_unconfirmed()?;
        let target = match wanted {
            Some(number) => number,
            None => self.one_before()?,
        };
        let sources = self.kept(target)?;
        self.refuse_other_files(&sources, target)?;
        let loaded = reload::judge(sources).map_err(refusal)?;
        let runtime = self.world.overrides.runtime.clone();
        let next = self.next(loaded, &runtime, force).await.map_err(refusal)?;
        self.refuse_guarded(&next)?;
        self.refuse_unwritable(&next, dry_run)?;
        let mut view = self.announced(&next, dry_run);
        let from = self.revision;
        if dry_run {
            view.changes
                .insert(0, format!("revision {target} would come back"));
            return Ok(self.closed(view));
        }
        // Going back twice goes further back, not forth again.
        let restores = self.history.get(target).and_then(|r| r.restores);
        let origin = Origin {
            how: "undo",
            peer: Some(peer),
            restores: Some(restores.unwrap_or(target)),
        };
        let before = self.stand();
        let overruled = next.runtime != runtime;
        view.saved = self.put_and_save(next, &origin, &mut view.warnings).await;
        if overruled {
            self.save_overrides();
        }
        view.plan = self.done_since(&before, false);
        let done = format!(
            "revision {target} is back, as revision {}; to take that back: lbctl config undo {from}",
            self.revision
        );
        self.note_change(
            peer,
            format!(
                "config undo: revision {target} is back, as revision {}",
                self.revision
            ),
        );
        view.changes.insert(0, done);
        Ok(self.closed(view))
    }

    /// The configuration before the one in force, other than it.
    fn one_before(&self) -> Result<u64, ApiError> {
        let current = self.history.get(self.revision);
        let place = current.and_then(|r| r.restores).unwrap_or(self.revision);
        let wanted = &self.filed.wanted.sources;
        let before = |r: &&RevisionView| {
            r.revision < place
                && r.result != RevisionResult::RolledBack
                && self.history.sources(r.revision).is_ok_and(|s| s != *wanted)
        };
        let found = self.history.revisions().iter().rev().find(before);
        found.map(|r| r.revision).ok_or_else(|| {
            let message = format!("nothing before revision {place} is kept; nothing was changed");
            ApiError::new(ErrorCode::NotFound, message).hint(
                "lbctl config history lists what is; lbctl config undo REVISION takes any of it",
            )
        })
    }

    /// A revision that was written in other files than those of now cannot be put back into them.
    fn refuse_other_files(&self, sources: &Sources, revision: u64) -> Result<(), ApiError> {
        let paths = |sources: &Sources| -> Vec<_> {
            sources.files().map(|file| file.path.clone()).collect()
        };
        if paths(sources) == paths(&self.filed.wanted.sources) {
            return Ok(());
        }
        let message = format!(
            "revision {revision} stood in other files than those that are read now; nothing was changed"
        );
        Err(ApiError::new(ErrorCode::Conflict, message).hint(format!(
            "lbctl config show {revision} prints them; put them in place, then: lbctl reload"
        )))
    }

    /// What is going to change.
    fn announced(&self, next: &Next, dry_run: bool) -> ChangeView {
        let mut view = ChangeView {
            changes: next.changes(),
            diff: self.filed.wanted.sources.diff(&next.wanted.sources),
            warnings: self.new_warnings(next),
            dry_run,
            ..ChangeView::default()
        };
        if dry_run {
            view.plan = self.plan(next);
            view.saved = self.would_save(next, false);
        }
        view
    }

    /// With what is in force now.
    fn closed(&self, mut view: ChangeView) -> ChangeView {
        view.revision = self.revision;
        view.generation = self.generation;
        view
    }
}
