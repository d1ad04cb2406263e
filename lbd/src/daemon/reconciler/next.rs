//! The way of every configuration into force, wherever it comes from: checked whole, compared with
//! what runs and with this host, then put in force in one step.

use super::Reconciler;
use crate::control::Access;
use crate::daemon::filed::Written;
use crate::daemon::reload::{self, Loaded, Refused};
use crate::daemon::world::World;
use crate::sys::clock;
use lbcore::api::Plan;
use lbcore::config::{self, Checked, Composed, Config, Diff, Edited, Overlay, Real, Service};
use lbcore::load::Loads;
use lbcore::service::{ServiceTable, Stand, compile};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use tracing::{error, info, warn};

/// What may be in force next.
#[derive(Debug)]
pub(in crate::daemon) struct Next {
    /// What the files are to say.
    pub wanted: Written,
    /// Changes with `--runtime` that still hold.
    pub runtime: Overlay,
    /// Both together: what is to run.
    pub config: Config,
    /// How that differs from what runs now.
    pub diff: Diff,
    /// What may surprise.
    pub warnings: Vec<String>,
    /// Removed reals whose flows are not to linger.
    pub at_once: HashSet<(String, SocketAddr)>,
}

impl Next {
    /// The changes in words.
    pub fn changes(&self) -> Vec<String> {
        self.diff.changes.iter().map(ToString::to_string).collect()
    }
}

impl Reconciler {
    /// Looks at a configuration that may be put in force. `runtime` are the changes with
    /// `--runtime`: the files overrule those whose keys they changed.
    ///
    /// # Errors
    /// This host stands against it, or no ids are left.
    pub(in crate::daemon) async fn next(
        &self,
        loaded: Loaded,
        runtime: &Overlay,
        force: bool,
    ) -> Result<Next, Refused> {
        let next = self.drawn_up(loaded, runtime);
        self.check_next(&next, force).await?;
        Ok(next)
    }

    /// Whether this host and the ids that are left allow it.
    ///
    /// # Errors
    /// They do not.
    pub(super) async fn check_next(&self, next: &Next, force: bool) -> Result<(), Refused> {
        self.check_host(&next.config, force).await?;
        self.world.check_room(&next.config)?;
        Ok(())
    }

    /// The same without a look at the host.
    pub(in crate::daemon) fn drawn_up(&self, loaded: Loaded, runtime: &Overlay) -> Next {
        let wanted = Written::of(&loaded);
        let mut runtime = runtime.clone();
        for service in &wanted.config.services {
            let before = self
                .filed
                .wanted
                .config
                .same_service(service, &wanted.config);
            if let Some(before) = before.filter(|before| before.name != service.name) {
                runtime.follow_rename(&before.name, &service.name);
            }
        }
        let (running, runtime) = compose(&wanted, &runtime);
        let mut config = running.checked.config;
        let kept = reload::keep_until_restart(&self.world.config, &mut config);
        Next {
            diff: config::diff(&self.world.config, &config),
            warnings: loaded.warnings.into_iter().chain(kept).collect(),
            wanted,
            runtime,
            config,
            at_once: HashSet::new(),
        }
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

    /// What it would do to traffic: tried out on a copy of all that is known.
    pub(in crate::daemon) fn plan(&self, next: &Next) -> Plan {
        let (generation, loads) = (self.generation + 1, &self.live.loads);
        let mut tried = self.world.clone();
        enter(&mut tried, next, loads);
        let mut rings = self.rings.clone();
        let compiled = tried.with_inputs(loads, clock::now(), |inputs| {
            compile(inputs, &mut rings, generation)
        });
        match compiled {
            Ok(compiled) => {
                let now = !next.at_once.is_empty();
                self.plan_of(&self.stand(), (&tried.config, &compiled.table), now)
            }
            // Room was checked before; if there is none all the same, nothing will happen.
            Err(_) => Plan::default(),
        }
    }

    /// What is in force now, to compare it later.
    pub(in crate::daemon) fn stand(&self) -> (Config, Arc<ServiceTable>) {
        (self.world.config.clone(), self.live.table())
    }

    fn plan_of(
        &self,
        (config, table): &(Config, Arc<ServiceTable>),
        (new_config, new_table): (&Config, &ServiceTable),
        now: bool,
    ) -> Plan {
        let old = Stand { config, table };
        let new = Stand {
            config: new_config,
            table: new_table,
        };
        let flows = |id| u64::from(self.live.loads.flows(id));
        Plan::new(old, new, flows, now)
    }

    /// What became of traffic since that was in force; with `now` the flows of what was removed do
    /// not linger.
    pub(in crate::daemon) fn done_since(
        &self,
        before: &(Config, Arc<ServiceTable>),
        now: bool,
    ) -> Plan {
        self.plan_of(before, (&self.world.config, &self.live.table()), now)
    }

    /// Puts it in force. What runs is the same afterwards if `next` differs in its words only.
    /// Nothing is written to the configuration's files.
    pub(in crate::daemon) async fn put_in_force(&mut self, next: Next) {
        let pinned = self.world.pinned.clone();
        self.count_fast_path();
        enter(&mut self.world, &next, &self.live.loads);
        self.filed.wanted = next.wanted;
        // A last good configuration goes on being one, whatever is changed about it.
        if !self.last_good_in_use {
            let (access, odd) = access_of(&self.world.config);
            self.standing_warnings = next.warnings.into_iter().chain(odd).collect();
            self.out.access.send_replace(Arc::new(access));
        }
        self.out.metrics.send_if_modified(|metrics| {
            let wanted = self.world.config.lbd.metrics;
            std::mem::replace(metrics, wanted) != wanted
        });
        let weighed_otherwise = self.world.pinned != pinned;
        if !next.diff.is_empty() || !next.at_once.is_empty() || weighed_otherwise {
            self.refresh().await;
        }
        self.note_drift();
    }

    /// Works out anew what runs and is not in the file.
    pub(super) fn note_drift(&mut self) {
        self.drift = self.filed.drift(&self.world.config);
    }

    /// Keeps the operator's wishes that the file does not have. While a configuration waits to be
    /// confirmed, those of the one before: whoever starts next begins with that.
    pub(in crate::daemon) fn save_overrides(&self) {
        let mut overrides = self.world.overrides.clone();
        if let Some(unconfirmed) = &self.unconfirmed {
            overrides.runtime.clone_from(&unconfirmed.before.runtime);
        }
        if let Err(error) = self.places.save_overrides(&overrides) {
            error!(%error, "the change is in force, but could not be kept: a restart undoes it");
        }
    }
}

/// Makes `world` one in which `next` is in force.
fn enter(world: &mut World, next: &Next, loads: &Loads) {
    let old = std::mem::replace(&mut world.config, next.config.clone());
    world.overrides.runtime.clone_from(&next.runtime);
    world.pinned = pinned(&next.wanted.config, &next.config);
    world.at_once.extend(next.at_once.iter().cloned());
    world.follow_renames(&old);
    world.linger(&old, loads);
}

/// What files and changes with `--runtime` say together, with the changes that still hold.
pub(in crate::daemon) fn compose(wanted: &Written, runtime: &Overlay) -> (Edited, Overlay) {
    if !runtime.is_empty() {
        match config::compose(&wanted.sources, runtime) {
            Ok(Composed {
                running,
                overlay,
                overruled,
            }) => {
                for change in overruled {
                    info!(%change, "changed with --runtime, and the file says something else by now");
                }
                return (running, overlay);
            }
            Err(error) => {
                warn!(%error, "changes with --runtime no longer fit the file; they are forgotten")
            }
        }
    }
    let running = Edited {
        sources: wanted.sources.clone(),
        checked: Checked {
            config: wanted.config.clone(),
            warnings: Vec::new(),
        },
    };
    (running, Overlay::default())
}

/// Reals that have another weight than their file says: somebody set it with `--runtime`.
pub(in crate::daemon) fn pinned(file: &Config, running: &Config) -> HashSet<(String, SocketAddr)> {
    let weights: HashMap<(&str, SocketAddr), u16> = reals(file)
        .map(|(service, real)| ((service.name.as_str(), real.place()), real.weight))
        .collect();
    let differs = |(service, real): (&Service, &Real)| {
        let place = (service.name.as_str(), real.place());
        let other = weights
            .get(&place)
            .is_none_or(|weight| *weight != real.weight);
        other.then(|| (service.name.clone(), real.place()))
    };
    reals(running).filter_map(differs).collect()
}

fn reals(config: &Config) -> impl Iterator<Item = (&Service, &Real)> {
    let services = config.services.iter();
    services.flat_map(|service| service.reals.iter().map(move |real| (service, real)))
}

/// Who may use the control socket, and what is odd about it.
pub(in crate::daemon) fn access_of(config: &Config) -> (Access, Vec<String>) {
    Access::new(&config.lbd.admin_group, config.lbd.read_group.as_deref())
}
