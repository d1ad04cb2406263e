//! Others on this host that want a VIP.

use crate::doctor::Report;
use crate::doctor::judge::finding;
use crate::live::event::Link;
use lbcore::api::{Code, Severity};
use lbcore::config::{Announce, Config, HostFault};
use std::net::IpAddr;

pub(in crate::doctor::here) fn clashes(
    faults: &Result<Vec<HostFault>, String>,
    report: &mut Report,
) {
    let check = "listeners of others";
    let faults = match faults {
        Ok(faults) => faults,
        Err(error) => return report.skipped(check, format!("they cannot be read: {error}")),
    };
    if faults.is_empty() {
        return report.good(check, "nothing on this host stands against a VIP");
    }
    for fault in faults {
        let forced = fault.can_be_forced();
        let severity = if forced {
            Severity::Warning
        } else {
            Severity::Fault
        };
        let vip = fault.vip;
        let found = finding(
            Code::VipClash,
            severity,
            &vip.to_string(),
            fault.to_string(),
            "a VIP belongs to its clients alone: whoever needs this host there reaches a real \
             server instead",
            format!(
                "give the service another VIP, or let the other program listen elsewhere: \
                 ss -lntup src {vip}; lbd --check --host says the same of a file"
            ),
        );
        report.found(check, found);
    }
}

/// VIPs that are addresses of this host, where lbd is to announce them whether they are or not.
pub(in crate::doctor::here) fn vips_on_host(config: &Config, links: &[Link], report: &mut Report) {
    let always = config
        .services
        .iter()
        .filter(|s| s.announce == Announce::Always);
    let mut vips: Vec<IpAddr> = always.flat_map(|s| s.vips.iter().copied()).collect();
    vips.sort_unstable();
    vips.dedup();
    for vip in vips {
        let has = |link: &&Link| link.addresses.iter().any(|(address, _)| *address == vip);
        let Some(link) = links.iter().find(has) else {
            continue;
        };
        let name = &link.name;
        let found = finding(
            Code::VipOnHost,
            Severity::Note,
            &vip.to_string(),
            format!("{name} of this host has the address"),
            "if keepalived or the like moves it between hosts, lbd goes on answering for it here \
             when it has moved; if somebody put it there by hand, it is not needed",
            format!(
                "announce = \"when-owned\" in its services; or: ip address del {vip} dev {name}"
            ),
        );
        report.found("VIPs on this host", found);
    }
}

/// Packets that lbd forwards by itself never get as far as IPVS; those for its sockets do.
pub(in crate::doctor::here) fn ipvs(found: &[IpAddr], proxied: &[IpAddr], report: &mut Report) {
    let check = "IPVS";
    if found.is_empty() {
        return report.good(check, "it has none of the VIPs");
    }
    for vip in found {
        let (severity, why) = match proxied.contains(vip) {
            true => (
                Severity::Fault,
                "IPVS takes what is meant for lbd's sockets, and sends it to its own servers",
            ),
            false => (
                Severity::Note,
                "in mode dr lbd is first, so IPVS gets nothing; when lbd stops, it does",
            ),
        };
        let found = finding(
            Code::IpvsHasVip,
            severity,
            &vip.to_string(),
            "the kernel's IPVS has a virtual service there".to_owned(),
            why,
            "ipvsadm -S -n lists it; remove it there, or where keepalived's virtual_server makes it"
                .to_owned(),
        );
        report.found(check, found);
    }
}

pub(in crate::doctor::here) fn kube_proxy(found: &[(IpAddr, &'static str)], report: &mut Report) {
    for (vip, seen) in found {
        let found = finding(
            Code::KubeProxyHasVip,
            Severity::Fault,
            &vip.to_string(),
            format!("kube-proxy on this host serves it: {seen}"),
            "its rules come before lbd's sockets, and send clients to pods by themselves",
            "run lbd on a host that is no node, or take the VIP from the Service's externalIPs and \
             loadBalancer status; services in mode dr are not affected"
                .to_owned(),
        );
        report.found("kube-proxy", found);
    }
}
