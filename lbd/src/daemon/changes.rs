//! Changes by command: from what was asked, over the file's texts, into force and into the file.

use super::answers::refusal;
use super::reconciler::{Next, Origin, Reconciler};
use super::reload::Loaded;
use super::store::{self, NotWritten};
use crate::control::Peer;
use crate::sys::clock;
use lbcore::api::{
    ApiError, ChangeView, ErrorCode, How, RealRef, Response, RevisionResult, SavedState, SavedView,
};
use lbcore::config::{self, Edit, Keys, NodeWeight};
use lbcore::service::ServiceState;
use std::net::SocketAddr;

/// What an answer is about beside the changes themselves.
#[derive(Debug, Default)]
pub(super) struct About {
    /// The service that was meant.
    pub service: Option<String>,
    /// The real of it that was meant, by name.
    pub real: Option<RealRef>,
}

impl About {
    /// A service as a whole.
    pub fn service(name: &str) -> Self {
        About {
            service: Some(name.to_owned()),
            real: None,
        }
    }

    /// A real that is to come.
    pub fn new_real(service: &str, keys: &Keys) -> Self {
        let name = keys.get("name").or_else(|| keys.get("address"));
        About {
            service: Some(service.to_owned()),
            real: name.and_then(|name| name.as_str()).map(RealRef::from),
        }
    }
}

impl Reconciler {
    /// Makes all of `edits`, or none of them.
    ///
    /// # Errors
    /// What is wrong, and what to do. Nothing was changed.
    pub(super) async fn change(
        &mut self,
        about: About,
        edits: Vec<Edit>,
        how: How,
        peer: &Peer,
    ) -> Result<Response, ApiError> {
        self.refuse_while_unconfirmed()?;
        let removes =
            |edit: &Edit| matches!(edit, Edit::RemoveService { .. } | Edit::RemoveReal { .. });
        if how.now && !edits.iter().all(removes) {
            let message = "now is for what is removed; nothing was changed";
            return Err(ApiError::new(ErrorCode::BadRequest, message));
        }
        let mut next = self.edited(&edits, how).await?;
        self.refuse_guarded(&next)?;
        if how.now {
            next.at_once = edits
                .iter()
                .flat_map(|edit| self.removed_by(edit))
                .collect();
        }
        if !how.runtime {
            // Also for a trial: it tells what would happen.
            self.refuse_unwritable(&next, how.dry_run)
                .map_err(|error| also(error, "or change only what runs: --runtime"))?;
        }
        let mut view = ChangeView {
            service: about.service.clone(),
            changes: next.changes(),
            diff: self.filed.wanted.sources.diff(&next.wanted.sources),
            warnings: self.new_warnings(&next),
            dry_run: how.dry_run,
            ..ChangeView::default()
        };
        if how.dry_run {
            view.plan = self.plan(&next);
            view.saved = self.would_save(&next, how.runtime);
        } else {
            for (service, place, name) in self.enabled_by(&edits) {
                if self.world.pardon(&service, place, clock::now()) {
                    view.changes
                        .push(format!("{service}/{name}: no longer held down"));
                    self.dirty = true;
                }
            }
            for change in &view.changes {
                self.note_change(peer, change.clone());
            }
            let before = self.stand();
            view.saved = self.carry_out(next, how, peer, &mut view.warnings).await;
            view.plan = self.done_since(&before, how.now);
        }
        view.warnings.extend(self.told_of(&edits, how));
        view.revision = self.revision;
        view.generation = self.generation;
        if let (Some(service), Some(real)) = (about.service, about.real) {
            let found = self.find(&service.as_str().into());
            let real = found.and_then(|found| super::answers::pick(found, &real));
            view.real = real.ok().map(Box::new);
        }
        Ok(Response::Changed(Box::new(view)))
    }

    /// What is to be in force after `edits`.
    async fn edited(&self, edits: &[Edit], how: How) -> Result<Next, ApiError> {
        let before = &self.filed.wanted;
        let runtime = &self.world.overrides.runtime;
        let (loaded, runtime) = match how.runtime {
            true => {
                let composed = runtime.and(&before.sources, edits)?;
                (before.loaded(), composed.overlay)
            }
            false => {
                let edited = config::edit(&before.sources, edits)?;
                // What was for the moment until now is for good.
                let runtime = runtime.without(edits);
                (Loaded::of(edited.sources, edited.checked), runtime)
            }
        };
        self.next(loaded, &runtime, how.force)
            .await
            .map_err(refusal)
    }

    /// In force, then in the file.
    async fn carry_out(
        &mut self,
        next: Next,
        how: How,
        peer: &Peer,
        warnings: &mut Vec<String>,
    ) -> SavedView {
        let overlaid = next.runtime != self.world.overrides.runtime;
        let origin = Origin {
            how: "command",
            peer: Some(peer),
            restores: None,
        };
        let saved = match how.runtime {
            true => {
                let state = match next.diff.is_empty() {
                    true => SavedState::Unchanged,
                    false => SavedState::Runtime,
                };
                self.put_in_force(next).await;
                SavedView {
                    state,
                    ..SavedView::default()
                }
            }
            false => self.put_and_save(next, &origin, warnings).await,
        };
        if overlaid {
            self.save_overrides();
        }
        if self.dirty {
            self.refresh().await;
        }
        saved
    }

    /// Puts a configuration in force for good: with its files, and as a revision.
    pub(super) async fn put_and_save(
        &mut self,
        next: Next,
        origin: &Origin<'_>,
        warnings: &mut Vec<String>,
    ) -> SavedView {
        let written = config::diff(&self.filed.wanted.config, &next.wanted.config);
        self.put_in_force(next).await;
        let (saved, notes) = self.save();
        warnings.extend(notes);
        if written.is_empty() {
            self.amend_revision(self.revision, |_| ());
        } else {
            let result = match saved.state {
                SavedState::No => RevisionResult::NotSaved,
                _ => RevisionResult::Saved,
            };
            let changes = written.changes.iter().map(ToString::to_string).collect();
            self.keep_revision(origin, changes, result);
        }
        saved
    }

    /// What nobody changes over the control socket.
    pub(super) fn refuse_guarded(&self, next: &Next) -> Result<(), ApiError> {
        let mut guarded = config::guarded(&self.filed.wanted.config, &next.wanted.config);
        // What is only to run, too.
        guarded.extend(config::guarded(&self.world.config, &next.config));
        guarded.sort();
        guarded.dedup();
        if guarded.is_empty() {
            return Ok(());
        }
        let message = format!(
            "{} cannot be changed over the control socket; nothing was changed",
            guarded.join(", ")
        );
        Err(
            ApiError::new(ErrorCode::NotPermitted, message).hint(format!(
                "whoever may write {} changes it there, then: lbctl reload",
                self.config_file.display()
            )),
        )
    }

    /// Whether the files may be written; `only_looking` leaves no trace at all.
    pub(super) fn refuse_unwritable(
        &self,
        next: &Next,
        only_looking: bool,
    ) -> Result<(), ApiError> {
        if !self.world.config.lbd.write_back {
            let message = "lbd is not to write its file (write_back = false); nothing was changed";
            return Err(ApiError::new(ErrorCode::Conflict, message)
                .hint("change the file, then: lbctl reload"));
        }
        let (old, new) = (&self.filed.on_disk.sources, &next.wanted.sources);
        let checked = match only_looking {
            true => store::unchanged(old, new),
            false => store::check(old, new),
        };
        checked.map_err(not_written)
    }

    /// Where a trial would be saved.
    pub(super) fn would_save(&self, next: &Next, runtime: bool) -> SavedView {
        let now = self.filed.on_disk.sources.files();
        let files = now.zip(next.wanted.sources.files());
        let files = files.filter(|(is, would)| is.text != would.text);
        let files: Vec<String> = files.map(|(is, _)| is.path.display().to_string()).collect();
        let state = match (runtime, files.is_empty()) {
            (true, _) if next.diff.is_empty() => SavedState::Unchanged,
            (true, _) => SavedState::Runtime,
            (false, true) => SavedState::Unchanged,
            (false, false) => SavedState::Yes,
        };
        SavedView {
            state,
            files,
            reason: None,
        }
    }

    /// Warnings that were not there before, wherever their lines are now.
    pub(super) fn new_warnings(&self, next: &Next) -> Vec<String> {
        let known: Vec<&str> = self.standing_warnings.iter().map(|w| sense(w)).collect();
        let new = next.warnings.iter();
        new.filter(|w| !known.contains(&sense(w)))
            .cloned()
            .collect()
    }

    /// The reals that an edit takes away.
    fn removed_by(&self, edit: &Edit) -> Vec<(String, SocketAddr)> {
        match edit {
            Edit::RemoveReal { service, real } => vec![(service.clone(), *real)],
            Edit::RemoveService { service } => {
                let mut services = self.world.config.services.iter();
                let found = services.find(|s| s.name == *service);
                let places = found.into_iter().flat_map(|s| s.places());
                places.map(|place| (service.clone(), place)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The reals that an operator wants to take part.
    fn enabled_by(&self, edits: &[Edit]) -> Vec<(String, SocketAddr, String)> {
        let enabled = |edit: &Edit| match edit {
            Edit::SetReal {
                service,
                real,
                keys,
            } if keys.get("admin").is_some_and(|admin| admin == "enabled") => {
                let mut services = self.world.config.services.iter();
                let found = services.find(|s| s.name == *service)?;
                let found = found.reals.iter().find(|r| r.place() == *real)?;
                Some((service.clone(), *real, found.name.clone()))
            }
            _ => None,
        };
        edits.iter().filter_map(enabled).collect()
    }

    /// What an operator should know after `edits`.
    fn told_of(&self, edits: &[Edit], how: How) -> Vec<String> {
        let mut told = Vec::new();
        let table = self.live.table();
        for edit in edits {
            let (Edit::SetService { service, keys }
            | Edit::SetReal { service, keys, .. }
            | Edit::AddReal { service, keys }) = edit
            else {
                continue;
            };
            let mut configured = self.world.config.services.iter();
            let follows = configured
                .find(|s| s.name == *service)
                .is_some_and(|s| s.node_weight() == NodeWeight::Endpoints);
            if sets_weight(keys) && follows && !how.runtime {
                told.push(format!(
                    "{service}: the count of endpoints that a node tells goes before this weight; \
                     with --runtime the weight goes before that"
                ));
            }
        }
        for edit in edits {
            let (Edit::SetService { service, .. }
            | Edit::SetReal { service, .. }
            | Edit::RemoveReal { service, .. }) = edit
            else {
                continue;
            };
            let mut services = table.services.iter();
            let Some(now) = services.find(|s| *s.name == **service) else {
                continue;
            };
            if !how.dry_run && matches!(now.state, ServiceState::Down | ServiceState::Panic) {
                told.push(format!(
                    "service {service} is {}: {}",
                    now.state,
                    super::views::state_reason(now)
                ));
            }
        }
        told.dedup();
        told
    }
}

fn sets_weight(keys: &Keys) -> bool {
    keys.get("weight")
        .is_some_and(|weight| !weight.is_null() && *weight != 0)
}

/// With one more way out.
fn also(error: ApiError, way: &str) -> ApiError {
    let hint = error.hint.as_ref().map(|hint| format!("{hint}; {way}"));
    error.hint(hint.unwrap_or_else(|| way.to_owned()))
}

/// A warning without the place it stands at.
fn sense(warning: &str) -> &str {
    warning.split_once(": ").map_or(warning, |(_, rest)| rest)
}

/// A file that cannot be written, before anything was changed.
pub(super) fn not_written(error: NotWritten) -> ApiError {
    let hint = match &error {
        NotWritten::HandEdited(_) => {
            "lbctl config diff shows what was changed, lbctl reload puts it in force; then try again"
        }
        NotWritten::ReadOnly { .. } => {
            "let lbd write there (docs: user lbd, its file and its directory), or change the file \
             and: lbctl reload"
        }
        NotWritten::Failed { .. } => "see the log of lbd and of the kernel",
    };
    ApiError::new(ErrorCode::Conflict, format!("{error}; nothing was changed")).hint(hint)
}
