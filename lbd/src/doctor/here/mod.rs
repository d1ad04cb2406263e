//! This host, whatever the modes of its services: kernel, interfaces, nft, room, files, and others that
//! want the same VIPs.
//!
//! [`facts`] and [`rivals`] read, [`judge`] makes findings of it. Without an lbd that runs, what only
//! such a one knows is left out.

mod facts;
mod judge;
mod rivals;

use super::Report;
use crate::guard::{self, GuardPlan};
use crate::kernel::{self, Needs};
use crate::link;
use crate::live::event::Link;
use crate::live::{Live, WorkerState};
use lbcore::api::EngineView;
use lbcore::config::{Config, Mode};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Frames lost within this time are being lost now.
const WATCHED: Duration = Duration::from_millis(300);

/// What is to be looked at.
#[derive(Clone, Debug)]
pub struct HostPlan {
    /// The configuration in force, or the file's.
    pub config: Config,
    /// What lbd knows of itself; `None`: it does not run.
    pub running: Option<Running>,
}

/// What a running lbd knows of itself.
#[derive(Clone, Debug)]
pub struct Running {
    /// When it started.
    pub started: SystemTime,
    /// Number of the configuration in force.
    pub revision: u64,
    /// When a file was last put in force.
    pub loaded: Option<SystemTime>,
    /// The file.
    pub file: PathBuf,
    /// How the file compares with what runs.
    pub compared: FileState,
    /// It was bad at the start: the last good configuration runs.
    pub last_good_in_use: bool,
    /// What runs differently, by command.
    pub drift: Vec<String>,
    /// What the host's stack is to be silent about.
    pub guard: GuardPlan,
    /// Which engine runs where, and why.
    pub engines: Vec<EngineView>,
    /// Workers, flows, counters.
    pub live: Arc<Live>,
}

/// The file beside the configuration in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileState {
    /// It says what runs.
    Same,
    /// It is good and says otherwise: how, a line each.
    Differs(Vec<String>),
    /// It would be refused: why.
    Bad(String),
}

/// Looks at all of it; where lbd runs, for a moment, in which frames may be lost.
pub(super) async fn examine(plan: &HostPlan, links: &[Link]) -> Report {
    let mut report = Report::default();
    let HostPlan { config, running } = plan;
    judge::kernel(
        &kernel::release(),
        &kernel::lacks(Needs::of(config)),
        &mut report,
    );
    let vips = |mode: Option<Mode>| {
        let services = config.services.iter();
        let services = services.filter(move |s| mode.is_none_or(|mode| s.mode == mode));
        let mut vips: Vec<IpAddr> = services.flat_map(|s| s.vips.iter().copied()).collect();
        vips.sort_unstable();
        vips.dedup();
        vips
    };
    interfaces(plan, links, &mut report).await;
    match running {
        Some(running) => judge::guard(&guard::missing(&running.guard).await, &mut report),
        None => judge::nft(&crate::nft::listing(&["list", "tables"]).await, &mut report),
    }
    clashes(plan, &mut report).await;
    judge::vips_on_host(config, links, &mut report);
    let proxied = vips(Some(Mode::Tproxy));
    judge::ipvs(&rivals::ipvs(&vips(None)), &proxied, &mut report);
    judge::kube_proxy(&rivals::kube_proxy(&proxied, links).await, &mut report);
    judge::conntrack(facts::conntrack(), &mut report);
    judge::run_dir(
        &config.lbd.run_dir,
        facts::room(&config.lbd.run_dir),
        &mut report,
    );
    judge::state_dir(
        &config.lbd.state_dir,
        facts::room(&config.lbd.state_dir),
        &mut report,
    );
    if let Some(running) = running {
        for engine in &running.engines {
            judge::engine(engine, config, &mut report);
        }
        judge::configuration(running, &mut report);
        judge::flow_table(
            running.live.flows.len(),
            running.live.flows.capacity(),
            &mut report,
        );
        judge::descriptors(facts::descriptors(), &mut report);
        ring_drops(config, &running.live, &mut report).await;
    }
    report
}

async fn interfaces(plan: &HostPlan, links: &[Link], report: &mut Report) {
    let HostPlan { config, running } = plan;
    for name in &config.network.interfaces {
        let link = links.iter().find(|link| link.name == *name);
        let workers = running.iter().flat_map(|r| r.live.workers());
        let of_this: Vec<_> = workers.filter(|w| w.interface == *name).collect();
        let states = of_this.iter().map(|worker| worker.state());
        let waiting = states.into_iter().find_map(|state| match state {
            WorkerState::Waiting(why) => Some(why),
            WorkerState::Running | WorkerState::Ended(_) => None,
        });
        judge::interface(name, link, waiting.as_deref(), report);
        if link.is_none() {
            continue;
        }
        let beneath = match link::beneath(name).await {
            Ok(names) => Ok(facts::with_lro(&names)),
            Err(error) => Err(error.to_string()),
        };
        judge::lro(name, &beneath, report);
        judge::queues(name, facts::queues(name), of_this.len(), report);
    }
    let mtus: Vec<(&str, u32)> = links
        .iter()
        .filter(|link| config.network.interfaces.contains(&link.name))
        .map(|link| (link.name.as_str(), link.mtu))
        .collect();
    let direct = config.services.iter().any(|s| s.mode == Mode::Dr);
    if direct && mtus.len() > 1 {
        judge::mtus(&mtus, report);
    }
}

/// What other programs listen on; a running lbd's own sockets are known only to itself.
async fn clashes(plan: &HostPlan, report: &mut Report) {
    let HostPlan { config, running } = plan;
    if running.is_none() && facts::answers(&config.lbd.run_dir.join("lbd.sock")) {
        return report.skipped(
            "listeners of others",
            "an lbd runs: ask it, without --offline",
        );
    }
    let facts = link::facts().await;
    let faults = facts.map(|facts| lbcore::config::check_host(config, &facts, false));
    judge::clashes(&faults.map_err(|e| e.to_string()), report);
}

async fn ring_drops(config: &Config, live: &Live, report: &mut Report) {
    let names = &config.network.interfaces;
    let read = || -> Vec<_> {
        (0..names.len())
            .map(|slot| live.frame_totals(slot))
            .collect()
    };
    let before = read();
    tokio::time::sleep(WATCHED).await;
    for ((name, before), after) in names.iter().zip(before).zip(read()) {
        judge::ring_drops(name, before, after, config.network.ring_mib, report);
    }
}

#[cfg(test)]
mod tests;
