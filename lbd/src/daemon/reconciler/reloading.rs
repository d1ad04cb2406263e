//! Another configuration: from the file into force, or refused with the reason.

use super::{Reconciler, Reloaded, Trigger};
use crate::control::Access;
use crate::daemon::persist::{Changed, RealOverride};
use crate::daemon::reload::{self, Loaded, Refused};
use lbcore::api::Happening;
use lbcore::config::{self, Config};
use std::sync::Arc;
use std::time::SystemTime;
use tracing::{error, info, warn};

impl Reconciler {
    pub(super) async fn reload_unattended(&mut self, trigger: Trigger) {
        // Said by `reload` itself; nobody else is there to hear it.
        let _ = self.reload(trigger, false).await;
    }

    /// Reads the file again and puts it in force, or says why not; then the old one stays.
    pub(in crate::daemon) async fn reload(
        &mut self,
        trigger: Trigger,
        dry_run: bool,
    ) -> Result<Reloaded, Refused> {
        let notify = !dry_run;
        if notify {
            self.notifier.reloading();
        }
        let result = self.try_reload(&trigger, dry_run).await;
        if notify {
            self.count_reload(&trigger, &result);
            self.notifier.ready_again(self.announced_ready);
        }
        result
    }

    fn count_reload(&mut self, trigger: &Trigger, result: &Result<Reloaded, Refused>) {
        let by = match trigger {
            Trigger::Unattended(what) => what,
            Trigger::Typed { .. } => "command",
        };
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

    async fn try_reload(&mut self, trigger: &Trigger, dry_run: bool) -> Result<Reloaded, Refused> {
        let mut loaded = reload::load_orders(&self.config_file)?;
        let kept = reload::keep_until_restart(&self.world.config, &mut loaded.config);
        let diff = config::diff(&self.world.config, &loaded.config);
        let force = matches!(trigger, Trigger::Typed { force: true });
        if matches!(trigger, Trigger::Unattended(_)) {
            reload::check_emptying(&diff)?;
        }
        self.check_host(&loaded.config, force).await?;
        self.world.check_room(&loaded.config)?;
        let reloaded = Reloaded {
            changes: diff.changes.iter().map(ToString::to_string).collect(),
            warnings: loaded.warnings.iter().cloned().chain(kept).collect(),
        };
        if dry_run {
            return Ok(reloaded);
        }
        self.last_good_in_use = false;
        let (access, odd) = access_of(&loaded.config);
        self.standing_warnings = reloaded.warnings.iter().cloned().chain(odd).collect();
        self.out.access.send_replace(Arc::new(access));
        if !diff.is_empty() {
            self.put_in_force(loaded).await;
        }
        Ok(reloaded)
    }

    async fn check_host(&self, config: &Config, force: bool) -> Result<(), Refused> {
        match crate::link::facts().await {
            Ok(facts) => reload::check_host(config, &facts, force),
            Err(error) => {
                warn!(%error, "what this host itself uses cannot be read; VIPs are not compared with it");
                Ok(())
            }
        }
    }

    async fn put_in_force(&mut self, loaded: Loaded) {
        let old = std::mem::replace(&mut self.world.config, loaded.config);
        self.revision += 1;
        self.world.follow_renames(&old);
        self.forget_overruled();
        self.world.linger(&old, &self.live.loads);
        self.out.metrics.send_if_modified(|metrics| {
            let wanted = self.world.config.lbd.metrics;
            std::mem::replace(metrics, wanted) != wanted
        });
        self.refresh().await;
        if let Err(error) = self.places.save_last_good(&loaded.text) {
            warn!(%error, "the last good configuration could not be kept");
        }
    }

    /// Changes by command hold until the file changes the same key.
    pub(in crate::daemon) fn forget_overruled(&mut self) {
        let world = &mut self.world;
        let before = world.overrides.clone();
        for (service, reals) in &mut world.overrides.reals {
            let config = world.config.services.iter().find(|s| s.name == *service);
            reals.retain(|place, changed| {
                let real = config.and_then(|s| s.reals.iter().find(|r| r.place() == *place));
                let Some(real) = real else { return false };
                overrule(changed, real);
                !changed.is_empty()
            });
        }
        world.overrides.reals.retain(|_, reals| !reals.is_empty());
        if world.overrides != before {
            self.save_overrides();
        }
    }

    pub(in crate::daemon) fn save_overrides(&self) {
        if let Err(error) = self.places.save_overrides(&self.world.overrides) {
            error!(%error, "the change is in force, but could not be kept: a restart undoes it");
        }
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

fn overrule(changed: &mut RealOverride, real: &config::Real) {
    fn keep<T: PartialEq + Copy>(change: Option<Changed<T>>, file: T) -> Option<Changed<T>> {
        change.filter(|c| c.file == file && c.running != file)
    }
    changed.admin = keep(changed.admin, real.admin);
    changed.weight = keep(changed.weight, real.weight);
}

/// Who may use the control socket, and what is odd about it.
pub(in crate::daemon) fn access_of(config: &Config) -> (Access, Vec<String>) {
    Access::new(&config.lbd.admin_group, config.lbd.read_group.as_deref())
}
