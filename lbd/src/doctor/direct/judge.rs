//! Facts in, findings out.

use super::super::judge::{PATH_FIX, finding};
use super::ask::{Heard, Question};
use super::echo::Answered;
use super::{DirectPlan, HeldVip, Machine, Ping, VipPath};
use crate::doctor::Report;
use crate::live::event::Link;
use lbcore::api::{Code, Severity, Timestamp};
use lbcore::net::{MacAddr, Prefix};
use lbcore::service::{Health, Way};
use lbcore::vip::{CLAIM_MEMORY, VipState};
use std::fmt::Write;
use std::net::IpAddr;

/// What asks for a MAC, in the family of `address`.
fn question_of(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ARP",
        IpAddr::V6(_) => "neighbour solicitation",
    }
}

/// Whether its MAC is known.
pub(super) fn neighbour(
    machine: &Machine,
    interfaces: &[String],
    heard: &Heard,
    report: &mut Report,
) {
    let check = format!("neighbour {}", machine.name);
    match &machine.way {
        Way::Known { mac, .. } => {
            report.good(&check, format!("{} is at {mac}", machine.address));
        }
        _ if machine.disabled => report.skipped(&check, "it is disabled"),
        Way::Unknown | Way::Routed => {
            report.skipped(&check, "lbd has only just begun to ask for it");
        }
        Way::Silent { reason, .. } => {
            let asked = asked(machine, reason, heard);
            let why = "direct routing sends frames to the real's MAC, and nobody tells it: the \
                       real gets nothing";
            let ip = if machine.address.is_ipv4() {
                "ip"
            } else {
                "ip -6"
            };
            let fix = format!(
                "see that the real is on, that it has {0} ({ip} addr), and that no VLAN, switch \
                 port or firewall stands between: {ip} neigh show {0} here says what the kernel \
                 has; a real that never answers can have its `mac` in the configuration",
                machine.address
            );
            let name = &machine.name;
            let severity = Severity::Fault;
            let found = finding(Code::NeighbourUnresolved, severity, name, asked, why, fix);
            report.found(&check, found);
        }
        Way::Unreachable(reason) => {
            let why = "direct routing changes MAC addresses only, so it reaches nothing beyond a \
                       router, and no machine but those on a network of lbd's interfaces";
            let fix = format!(
                "put the real on a network of {} (network.interfaces), or let the service have \
                 mode = \"tproxy\", which reaches servers through routers",
                interfaces.join(", ")
            );
            let (name, severity) = (&machine.name, Severity::Fault);
            let found = finding(Code::NotOnNetwork, severity, name, reason.clone(), why, fix);
            report.found(&check, found);
        }
    }
}

/// What was asked and when, and what came.
fn asked(machine: &Machine, reason: &str, heard: &Heard) -> String {
    let kind = question_of(machine.address);
    let at = Timestamp(heard.at);
    match heard.who_has(machine.address) {
        None => format!("{reason}; it was not asked again now: {}", heard.why_not()),
        Some(macs) if macs.is_empty() => {
            format!("{reason}; asked again by {kind} at {at}: silence")
        }
        Some(macs) => format!(
            "{reason}; asked again by {kind} at {at}, {} answered, and the kernel does not take \
             it: ask the doctor once more",
            list(&macs)
        ),
    }
}

/// Whether it leaves VIPs alone.
pub(super) fn silence(machine: &Machine, plan: &DirectPlan, heard: &Heard, report: &mut Report) {
    let kind = question_of(machine.address);
    let check = format!("{kind} for VIPs by {}", machine.name);
    let Some(mac) = machine.mac() else {
        return report.skipped(&check, "its MAC is not known");
    };
    let mut vips: Vec<&HeldVip> = plan.vips.iter().collect();
    vips.retain(|held| held.vip.is_ipv4() == machine.address.is_ipv4());
    let of = |wanted: &dyn Fn(&HeldVip) -> bool| {
        let found = vips.iter().filter(|held| wanted(held));
        let mut found: Vec<IpAddr> = found.map(|held| held.vip).collect();
        found.dedup();
        found
    };
    let asked = of(&|held| heard.who_has(held.vip).is_some());
    let answered = of(&|held| heard.who_has(held.vip).is_some_and(|m| m.contains(&mac)));
    let claimed = of(&|held| held.claimed_by == Some(mac));
    let why = "clients and routers that hear it send the VIP's packets straight to this real: lbd \
               never sees them, and when the real goes they are lost";
    let mut fix = fix_of_answers(machine.address);
    // Asked again every 30 s only.
    for vip in of(&|held| held.state == VipState::Conflict) {
        let _ = write!(fix, "; then here: lbctl vip take {vip}");
    }
    let name = &machine.name;
    if !answered.is_empty() {
        let seen = format!("{mac} answers {kind} for the VIP {}", list(&answered));
        let severity = Severity::Fault;
        let found = finding(Code::AnswersForVip, severity, name, seen, why, fix);
        return report.found(&check, found);
    }
    if !claimed.is_empty() {
        let seen = format!(
            "{mac} said within the last {} s to have the VIP {}; it does not answer for it now",
            CLAIM_MEMORY.as_secs(),
            list(&claimed)
        );
        let found = finding(Code::ClaimedVip, Severity::Note, name, seen, why, fix);
        return report.found(&check, found);
    }
    match asked.len() {
        0 => report.skipped(&check, heard.why_not()),
        n => report.good(&check, format!("silent, as it must be; asked for {n}")),
    }
}

fn fix_of_answers(family: IpAddr) -> String {
    match family {
        IpAddr::V4(_) => "on the real: sysctl -w net.ipv4.conf.all.arp_ignore=1 \
                          net.ipv4.conf.all.arp_announce=2; and the VIP on lo or a dummy \
                          interface, never on the network's own; where kube-proxy runs in ipvs \
                          mode: strictARP: true in its configuration"
            .to_owned(),
        IpAddr::V6(_) => "on the real: the VIP on lo or a dummy interface, never on the \
                          network's own (ip -6 addr show to VIP says where it is), and \
                          net.ipv6.conf.*.proxy_ndp=0"
            .to_owned(),
    }
}

/// Whether its checks along the way of clients' packets pass.
pub(super) fn path(path: &VipPath, report: &mut Report) {
    let check = format!("VIP path of {}", path.name);
    if !matches!(path.way, Way::Known { .. }) {
        return report.skipped(&check, "it is not reached at all");
    }
    match &path.health {
        Some((Health::Up | Health::Draining | Health::Declined, _)) => {
            report.good(&check, "its checks to the VIP are answered");
        }
        Some((Health::Down, reason)) => {
            let why = "it was asked as clients' packets ask, at the VIP by its own MAC: what fails \
                       there fails for them";
            let (name, seen, fix) = (&path.name, reason.clone(), PATH_FIX.to_owned());
            let found = finding(Code::VipPath, Severity::Warning, name, seen, why, fix);
            report.found(&check, found);
        }
        Some((Health::Checking | Health::Unchecked, _)) | None => {
            report.skipped(&check, "its checks have not decided yet");
        }
    }
}

/// Whether frames of full size get there.
pub(super) fn mtu(machine: &Machine, ping: Ping, report: &mut Report) {
    let check = format!("MTU to {}", machine.name);
    let (interface, mtu, answered) = match ping {
        Ping::Not(why) => return report.skipped(&check, why),
        Ping::Done {
            interface,
            mtu,
            answered,
        } => (interface, mtu, answered),
    };
    match answered {
        Err(error) => report.skipped(&check, format!("it cannot be pinged: {error}")),
        Ok(Answered { large: true, .. }) => {
            report.good(
                &check,
                format!("packets of {mtu} bytes, all {interface} takes"),
            );
        }
        Ok(Answered { small: false, .. }) => report.skipped(
            &check,
            format!("{} does not answer pings of any size", machine.address),
        ),
        Ok(Answered { small: true, .. }) => {
            let seen = format!(
                "{} answers small pings, but none of {mtu} bytes, the MTU of {interface}",
                machine.address
            );
            let why = "what clients send in full packets does not reach the real: uploads and long \
                       requests hang, while connections open as if all were well";
            let fix = format!(
                "give the real, and every switch port between, the MTU {mtu}: on the real: ip link \
                 set dev INTERFACE mtu {mtu}"
            );
            let name = &machine.name;
            let found = finding(Code::MtuDiffers, Severity::Warning, name, seen, why, fix);
            report.found(&check, found);
        }
    }
}

/// Whether a machine that is no real has the VIP as well.
pub(super) fn vip(
    held: &HeldVip,
    plan: &DirectPlan,
    links: &[Link],
    heard: &Heard,
    report: &mut Report,
) {
    let HeldVip { vip, interface, .. } = held;
    let check = format!("VIP {vip} on {interface}");
    let by_a_real = |mac: MacAddr| plan.owner(mac, *vip).is_some();
    if held.state == VipState::Conflict && !held.claimed_by.is_some_and(by_a_real) {
        let who = match held.claimed_by {
            Some(mac) => format!("{mac} has it"),
            None => "another machine has it".to_owned(),
        };
        let found = finding(
            Code::VipConflict,
            Severity::Fault,
            &vip.to_string(),
            format!("{who} on {interface}, so lbd does not take it"),
            "clients reach that machine, and not lbd",
            format!(
                "if it is a peer that serves, all is well; else find it (the switch knows the port \
                 of its MAC) and take {vip} from it, then: lbctl vip take {vip}"
            ),
        );
        return report.found(&check, found);
    }
    if !matches!(held.state, VipState::Announced | VipState::Owned) {
        let words = format!(
            "lbd does not have it ({}): lbctl vip list says why",
            held.state
        );
        return report.skipped(&check, words);
    }
    let link = links.iter().find(|link| link.name == *interface);
    let answers = link.and_then(|link| {
        let ifindex = link.ifindex;
        heard.answers.get(&Question {
            ifindex,
            target: *vip,
        })
    });
    let Some(answers) = answers else {
        return report.skipped(&check, heard.why_not());
    };
    let ours = |mac: &MacAddr| links.iter().any(|link| link.mac == *mac);
    let mut strangers = answers.clone();
    strangers.retain(|mac| !ours(mac) && plan.owner(*mac, *vip).is_none());
    if strangers.is_empty() {
        return report.good(&check, "no stranger answers for it");
    }
    let kind = question_of(*vip);
    let seen = format!(
        "{} answers {kind} for it, too, on {interface}",
        list(&strangers)
    );
    let about = vip.to_string();
    let found = finding(
        Code::VipElsewhere,
        Severity::Fault,
        &about,
        seen,
        "two machines have this address: each client's packets go to the one it heard last",
        format!(
            "find that machine (the switch knows the port of its MAC), and take {vip} from it, or \
             give the service another VIP"
        ),
    );
    report.found(&check, found);
}

/// Whether somebody on lbd's networks can ask for the VIP at all.
pub(super) fn subnet(held: &HeldVip, links: &[Link], report: &mut Report) {
    let HeldVip { vip, interface, .. } = held;
    let Some(link) = links.iter().find(|link| link.name == *interface) else {
        return;
    };
    let mut networks = link
        .addresses
        .iter()
        .filter(|(address, _)| address != vip && address.is_ipv4() == vip.is_ipv4())
        .filter_map(|(address, length)| Prefix::new(*address, *length));
    if networks.any(|network| network.contains(*vip)) {
        return;
    }
    let found = finding(
        Code::VipOffSubnet,
        Severity::Note,
        &vip.to_string(),
        format!("it is in no network of {interface}"),
        "nobody asks for it there by itself: routers need a route to it",
        format!("on the routers: a route to {vip} by way of this host's address on {interface}"),
    );
    report.found(&format!("network of {vip}"), found);
}

fn list<T: std::fmt::Display>(all: impl IntoIterator<Item = T>) -> String {
    let all: Vec<String> = all.into_iter().map(|one| one.to_string()).collect();
    all.join(", ")
}
