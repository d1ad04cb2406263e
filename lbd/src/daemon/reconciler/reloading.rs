//! Another configuration: from the file into force, or refused with the reason.

use super::revisions::Origin;
use super::{Reconciler, Reloaded, Trigger};
use crate::control::Peer;
use crate::daemon::filed::Written;
use crate::daemon::reload::{self, Refused};
use crate::daemon::watch_file::FILE_CHANGED;
use lbcore::api::{Happening, RevisionResult};
use lbcore::config;
use std::time::SystemTime;
use tracing::{error, info};

impl Reconciler {
    pub(super) async fn reload_unattended(&mut self, trigger: Trigger) {
        if matches!(trigger, Trigger::Unattended(FILE_CHANGED)) {
            if let Some(unconfirmed) = &self.unconfirmed {
                let revision = unconfirmed.revision;
                info!(
                    revision,
                    "the file has changed; it is read when that revision is confirmed or rolled back"
                );
                self.file_waits = true;
                return;
            }
            let last_was_good = self.tallies.last_reload.as_ref().is_none_or(|last| last.1);
            if last_was_good && self.is_known() {
                return;
            }
        }
        // Said by `reload` itself; nobody else is there to hear it.
        let _ = self.reload(trigger, false, None).await;
    }

    /// Reads the file that has changed while nothing could be loaded, now that it can. A watcher
    /// tells of every change only once.
    pub(super) async fn read_late(&mut self) {
        if self.unconfirmed.is_none() && std::mem::take(&mut self.file_waits) {
            self.reload_unattended(Trigger::Unattended(FILE_CHANGED))
                .await;
        }
    }

    /// Reads the file again and puts it in force, or says why not; then the old one stays.
    pub(in crate::daemon) async fn reload(
        &mut self,
        trigger: Trigger,
        dry_run: bool,
        peer: Option<&Peer>,
    ) -> Result<Reloaded, Refused> {
        let notify = !dry_run;
        if notify {
            self.notifier.reloading();
        }
        let result = self.try_reload(&trigger, dry_run, peer).await;
        if notify {
            self.count_reload(&trigger, &result);
            self.notifier.ready_again(self.announced_ready);
        }
        result
    }

    fn count_reload(&mut self, trigger: &Trigger, result: &Result<Reloaded, Refused>) {
        let by = trigger.by();
        let now = SystemTime::now();
        self.journal.note(Happening::Reload {
            by: by.to_string(),
            ok: result.is_ok(),
            revision: self.revision,
            reason: match result {
                Ok(reloaded) => in_short(&reloaded.changes),
                Err(refused) => refused.summary.clone(),
            },
        });
        match result {
            Ok(reloaded) => {
                self.tallies.reloads_ok += 1;
                self.tallies.last_success = Some(now);
                let changes = reloaded.changes.len();
                let message = format!("{changes} changes");
                self.tallies.last_reload = Some((now, true, message));
                info!(
                    by,
                    revision = self.revision,
                    changes,
                    "configuration reloaded"
                );
                reloaded
                    .changes
                    .iter()
                    .for_each(|change| info!(change, "reload"));
            }
            Err(refused) => {
                self.tallies.reloads_refused += 1;
                self.tallies.last_reload = Some((now, false, refused.summary.clone()));
                error!(
                    by,
                    reason = refused.summary,
                    "reload refused; nothing was changed"
                );
                refused
                    .faults
                    .iter()
                    .for_each(|fault| error!(fault, "reload"));
            }
        }
    }

    async fn try_reload(
        &mut self,
        trigger: &Trigger,
        dry_run: bool,
        peer: Option<&Peer>,
    ) -> Result<Reloaded, Refused> {
        self.refuse_while_unconfirmed()?;
        let loaded = reload::load_orders(&self.config_file)?;
        let force = matches!(trigger, Trigger::Typed { force: true });
        let read = Written::of(&loaded);
        let runtime = self.world.overrides.runtime.clone();
        let next = self.drawn_up(loaded, &runtime);
        if matches!(trigger, Trigger::Unattended(_)) {
            reload::check_emptying(&next.diff)?;
        }
        self.check_next(&next, force).await?;
        let reloaded = Reloaded {
            changes: next.changes(),
            warnings: next.warnings.clone(),
            plan: dry_run.then(|| self.plan(&next)),
        };
        if dry_run {
            return Ok(reloaded);
        }
        self.last_good_in_use = false;
        let written = config::diff(&self.filed.wanted.config, &read.config);
        let overruled = next.runtime != runtime;
        self.filed.on_disk = read;
        self.filed.unsaved = None;
        self.put_in_force(next).await;
        if overruled {
            self.save_overrides();
        }
        if written.is_empty() {
            // Its texts may have gained a comment.
            self.amend_revision(self.revision, |_| ());
        } else {
            let origin = Origin {
                how: trigger.how(),
                peer,
                restores: None,
            };
            let changes = written.changes.iter().map(ToString::to_string).collect();
            self.keep_revision(&origin, changes, RevisionResult::Saved);
        }
        Ok(reloaded)
    }

    /// Whether the files say, word for word, what lbd last read or wrote: then a watcher has seen
    /// lbd's own writing, or somebody who took a change back.
    fn is_known(&self) -> bool {
        let read = reload::read_sources(&self.config_file);
        read.is_ok_and(|sources| sources == self.filed.on_disk.sources)
    }
}

/// What a reload changed, in one line: the log has all of it.
fn in_short(changes: &[String]) -> String {
    const TOLD: usize = 5;
    let more = changes.len().saturating_sub(TOLD);
    let told = changes.iter().take(TOLD).cloned();
    let rest = (more > 0).then(|| format!("and {more} more"));
    match changes {
        [] => "nothing is different".to_owned(),
        _ => told.chain(rest).collect::<Vec<_>>().join("; "),
    }
}
