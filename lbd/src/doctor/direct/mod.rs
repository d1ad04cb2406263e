//! Reals of services in mode dr, and their VIPs: is each real a neighbour, is it silent about the
//! VIPs, and do frames of full size get there.
//!
//! [`ask`] asks by ARP and neighbour solicitation, [`echo`] pings, [`judge`] makes findings of it, and
//! [`network`] of all that is seen of a service's reals together.

mod ask;
mod echo;
mod judge;
mod network;

use super::Report;
use crate::live::event::Link;
use ask::Question;
use lbcore::net::MacAddr;
use lbcore::service::{Health, Way};
use lbcore::vip::VipState;
use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use tokio::task::JoinSet;

/// Machines pinged at once: one socket each, well within the reserve of descriptors.
const AT_ONCE: usize = 32;

/// Machines pinged in one visit, so that it ends within some seconds even if all are silent.
const MOST: usize = 256;

/// What direct routing needs, as far as lbd knows it.
#[derive(Clone, Debug, Default)]
pub struct DirectPlan {
    /// Real servers, each address once.
    pub machines: Vec<Machine>,
    /// VIPs, on each interface they are answered for.
    pub vips: Vec<HeldVip>,
    /// lbd's interfaces.
    pub interfaces: Vec<String>,
    /// What checks along the way of clients' packets say.
    pub paths: Vec<VipPath>,
}

/// A real in one service, whose checks have `via = "vip"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipPath {
    /// `web`.
    pub service: String,
    /// The real's own address.
    pub address: IpAddr,
    /// `web/rs1`.
    pub name: String,
    /// The way to it.
    pub way: Way,
    /// What its checks say, and why; `None`: nothing yet.
    pub health: Option<(Health, String)>,
}

impl DirectPlan {
    fn is_vip(&self, address: IpAddr) -> bool {
        self.vips.iter().any(|held| held.vip == address)
    }

    /// The real with this MAC that could answer for `vip`.
    fn owner(&self, mac: MacAddr, vip: IpAddr) -> Option<&Machine> {
        let mut machines = self.machines.iter();
        machines.find(|m| m.address.is_ipv4() == vip.is_ipv4() && m.mac() == Some(mac))
    }
}

/// A real server, in whatever services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// `web/rs1`, by the first service that has it.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// The way to it.
    pub way: Way,
    /// The operator took it out of all its services.
    pub disabled: bool,
}

impl Machine {
    fn mac(&self) -> Option<MacAddr> {
        match self.way {
            Way::Known { mac, .. } => Some(mac),
            Way::Silent { last, .. } => last.map(|(_, mac)| mac),
            Way::Unknown | Way::Unreachable(_) | Way::Routed => None,
        }
    }
}

/// A VIP on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldVip {
    /// The VIP.
    pub vip: IpAddr,
    /// Interface name.
    pub interface: String,
    /// Who answers.
    pub state: VipState,
    /// Who else said lately that it does.
    pub claimed_by: Option<MacAddr>,
}

/// Looks at all of it.
/// `silent`: reals that most clients get no answer from, and that in figures.
pub(super) async fn examine(
    plan: &DirectPlan,
    silent: &[(String, String)],
    links: &[Link],
) -> Report {
    let mut report = Report::default();
    if plan.machines.is_empty() {
        report.skipped("direct routing", "no service in mode dr");
        return report;
    }
    let heard = ask::all(questions(plan, links), links, |a| plan.is_vip(a)).await;
    let mut pings = pings(plan, links).await;
    let alive: HashSet<IpAddr> = plan
        .machines
        .iter()
        .enumerate()
        .filter(|(number, _)| pings.get(number).is_some_and(Ping::is_answered))
        .map(|(_, machine)| machine.address)
        .collect();
    for (number, machine) in plan.machines.iter().enumerate() {
        judge::neighbour(machine, &plan.interfaces, &heard, &mut report);
        judge::silence(machine, plan, &heard, &mut report);
        if let Some(ping) = pings.remove(&number) {
            judge::mtu(machine, ping, &mut report);
        }
    }
    for path in &plan.paths {
        judge::path(path, &mut report);
    }
    network::judge(&plan.paths, &alive, silent, &mut report);
    for held in &plan.vips {
        judge::vip(held, plan, links, &heard, &mut report);
        judge::subnet(held, links, &mut report);
    }
    report
}

/// Who has the VIPs, and who those reals that the kernel cannot find.
fn questions(plan: &DirectPlan, links: &[Link]) -> Vec<Question> {
    let on = |interface: &str, target: IpAddr| {
        let ready = |l: &&Link| l.name == interface && l.up && l.mac != MacAddr::zero();
        let link = links.iter().find(ready)?;
        Some(Question {
            ifindex: link.ifindex,
            target,
        })
    };
    let vips = plan.vips.iter();
    let vips = vips.filter_map(|held| on(&held.interface, held.vip));
    let lost = plan.machines.iter();
    let lost = lost.filter(|m| !m.disabled && matches!(m.way, Way::Silent { .. }));
    let lost = lost.flat_map(|m| plan.interfaces.iter().filter_map(|i| on(i, m.address)));
    vips.chain(lost).collect()
}

/// How packets of full size fared.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Ping {
    /// It was not pinged, and why.
    Not(String),
    /// It was, with packets of an interface's whole MTU and with small ones.
    Done {
        interface: String,
        mtu: u32,
        answered: Result<echo::Answered, String>,
    },
}

impl Ping {
    fn is_answered(&self) -> bool {
        let Ping::Done { answered, .. } = self else {
            return false;
        };
        answered.as_ref().is_ok_and(|a| a.small || a.large)
    }
}

/// By the machine's place in the plan.
async fn pings(plan: &DirectPlan, links: &[Link]) -> BTreeMap<usize, Ping> {
    let mut pings = BTreeMap::new();
    let mut running = JoinSet::new();
    let mut begun = 0;
    for (number, machine) in plan.machines.iter().enumerate() {
        let link = match path(machine, links) {
            Ok(_) if begun >= MOST => Err(format!("only {MOST} machines are pinged in one visit")),
            other => other,
        };
        let link = match link {
            Ok(link) => link,
            Err(why) => {
                pings.insert(number, Ping::Not(why));
                continue;
            }
        };
        begun += 1;
        if running.len() >= AT_ONCE {
            pings.extend(running.join_next().await.and_then(Result::ok));
        }
        let (interface, mtu, to) = (link.name.clone(), link.mtu, machine.address);
        running.spawn(async move {
            let answered = echo::ask(to, mtu).await.map_err(|e| e.to_string());
            let done = Ping::Done {
                interface,
                mtu,
                answered,
            };
            (number, done)
        });
    }
    while let Some(ended) = running.join_next().await {
        pings.extend(ended);
    }
    pings
}

/// The interface that packets to the machine leave by, or why it is not to be pinged.
fn path<'a>(machine: &Machine, links: &'a [Link]) -> Result<&'a Link, String> {
    match machine.way {
        _ if machine.disabled => Err("it is disabled".to_owned()),
        Way::Known { ifindex, .. } => {
            let link = links.iter().find(|link| link.ifindex == ifindex);
            link.ok_or_else(|| "its interface is gone".to_owned())
        }
        _ => Err("it is not reached at all".to_owned()),
    }
}

#[cfg(test)]
mod tests;
