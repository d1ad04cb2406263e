//! Facts in, findings out.

use super::host::{Forwarding, ReversePath};
use super::{DoctorPlan, Report};
use crate::intercept::Object;
use lbcore::api::{Code, FindingView, Severity};
use std::net::IpAddr;

/// From this share of the ports on, new connections soon find none.
const PORTS_LOW_PERCENT: u64 = 80;

/// What makes a real answer for the VIP.
pub(super) const PATH_FIX: &str = "on the real: see that the VIP is on its lo (ip address show dev \
                                   lo), that something listens there (ss -lntu), that no firewall \
                                   drops it (nft list ruleset)";

pub(super) fn finding(
    code: Code,
    severity: Severity,
    about: &str,
    seen: String,
    why: &str,
    fix: String,
) -> FindingView {
    FindingView {
        code: code.word().to_owned(),
        severity,
        about: about.to_owned(),
        seen,
        why: why.to_owned(),
        fix,
    }
}

/// Whether lbd may do what it does.
pub(super) fn capability(missing: Option<&str>, report: &mut Report) {
    let check = "capabilities";
    match missing {
        None => report.good(check, "CAP_NET_RAW and CAP_NET_ADMIN are held"),
        Some(name) => report.found(
            check,
            finding(
                Code::CapabilityMissing,
                Severity::Fault,
                "",
                format!("lbd does not hold {name}"),
                "without it lbd cannot use clients' addresses, nor keep its rules in the kernel",
                format!(
                    "add {name} to AmbientCapabilities and CapabilityBoundingSet of lbd.service, \
                     then: systemctl restart lbd"
                ),
            ),
        ),
    }
}

/// Whether clients of services in mode dr complete their handshakes.
pub(super) fn silent_to_clients(reals: &[(String, String)], report: &mut Report) {
    let check = "handshakes";
    if reals.is_empty() {
        return report.good(
            check,
            "no real in mode dr leaves most clients without an answer",
        );
    }
    for (name, seen) in reals {
        let finding = finding(
            Code::SynsUnanswered,
            Severity::Warning,
            name,
            seen.clone(),
            "clients send a SYN and no ACK follows: the real does not accept it, or its answer \
             reaches nobody. Its own checks may pass all the same",
            format!(
                "{PATH_FIX}, and that its route back to clients works with rp_filter. If all reals \
                 look so, it may be a flood of SYNs from forged addresses"
            ),
        );
        report.found(check, finding);
    }
}

/// Whether what brings packets to lbd's sockets is in the kernel, and whether others take it away.
pub(super) fn rules(missing: &Result<Vec<Object>, String>, plan: &DoctorPlan, report: &mut Report) {
    let (check, restored) = ("rules", plan.restored);
    let missing = match missing {
        Ok(missing) => missing,
        Err(error) => return report.skipped(check, format!("they cannot be read: {error}")),
    };
    for object in missing {
        report.found(
            check,
            finding(
                Code::RulesMissing,
                Severity::Fault,
                "",
                format!("the kernel lacks lbd's {object}"),
                "without it clients' packets, or reals' answers, do not reach lbd",
                format!(
                    "lbd puts it back within 5 s; if it does not, journalctl -u lbd says why; by \
                     hand: {}",
                    object.command(&plan.config)
                ),
            ),
        );
    }
    if missing.is_empty() && restored == 0 {
        report.good(check, "the nft table, rules and routes are there");
    }
    if restored > 0 {
        report.found(
            check,
            finding(
                Code::RulesRestored,
                Severity::Note,
                "",
                format!("lbd has put back {restored} of its rules since it started"),
                "another tool removes them, and until lbd notices clients wait",
                "find the tool: for systemd-networkd install lbd.networkd.conf, which lbd ships; \
                 firewalls need a reload that spares tables of others"
                    .to_owned(),
            ),
        );
    }
}

/// What the rooms themselves say is wrong.
pub(super) fn trouble(trouble: &[String], report: &mut Report) {
    let check = "listeners";
    if trouble.is_empty() {
        report.good(check, "every VIP:port is listened on");
    }
    for words in trouble {
        report.found(
            check,
            finding(
                Code::NotListening,
                Severity::Fault,
                "",
                words.clone(),
                "clients of that VIP:port are not served",
                "ss -lntup shows who has it; lbd tries again every second".to_owned(),
            ),
        );
    }
}

/// Strict filtering with several interfaces drops what comes by another one than the way back
/// leads to: packets of clients, and answers of reals, which are to clients' addresses but from the
/// reals' own.
pub(super) fn rp_filter(seen: &ReversePath, report: &mut Report) {
    let check = "rp_filter";
    let ReversePath {
        strict,
        interfaces,
        dropped,
    } = seen;
    if strict.is_empty() {
        return report.good(check, "no interface filters strictly");
    }
    if *interfaces < 2 {
        let words = "strict, but with one interface there is one way back";
        return report.good(check, words);
    }
    let names = strict.join(", ");
    let (severity, count) = match dropped {
        0 => (Severity::Note, "it has dropped nothing yet".to_owned()),
        n => (
            Severity::Warning,
            format!("it has dropped {n} packets since this host started"),
        ),
    };
    let settings: Vec<String> = strict
        .iter()
        .map(|name| format!("net.ipv4.conf.{name}.rp_filter=2"))
        .collect();
    report.found(
        check,
        finding(
            Code::RpFilterStrict,
            severity,
            &names,
            format!("the way back is checked strictly (rp_filter = 1); {count}"),
            "a client's packet, or a real's answer, is dropped without a trace when it comes by \
             another interface than the route to its sender leads to",
            format!("sysctl -w {}", settings.join(" ")),
        ),
    );
}

/// Reals that have this host as their gateway reach nothing else through it without forwarding;
/// what is proxied needs none.
pub(super) fn forwarding(plan: &DoctorPlan, seen: &Forwarding, report: &mut Report) {
    let borrowed = |v4: bool| {
        let mut reals = plan.reals.iter();
        reals.any(|r| r.borrowed && r.at.is_ipv4() == v4)
    };
    let families = [
        (true, seen.v4, "IPv4", "net.ipv4.ip_forward=1"),
        (false, seen.v6, "IPv6", "net.ipv6.conf.all.forwarding=1"),
    ];
    for (v4, on, family, setting) in families {
        let check = format!("forwarding {family}");
        if !borrowed(v4) {
            continue;
        }
        if on {
            report.good(&check, "on");
            continue;
        }
        report.found(
            &check,
            finding(
                Code::IpForwardOff,
                Severity::Note,
                "",
                format!("this host does not forward {family}"),
                "proxied connections need none; but reals whose default route leads here reach \
                 nothing else through this host (updates, DNS, other networks)",
                format!("if they shall: sysctl -w {setting}"),
            ),
        );
    }
}

/// Ports left between one source address and one real.
pub(super) fn ports(plan: &DoctorPlan, width: Option<u64>, report: &mut Report) {
    let check = "ports";
    let Some(width) = width else {
        return report.skipped(check, "net.ipv4.ip_local_port_range cannot be read");
    };
    let why = "each connection from one address to one real needs a port of its own; without one \
               the client is refused";
    let fix = "sysctl -w net.ipv4.ip_local_port_range='10240 65535'; with source = \"self\" more \
               reals, or ports of one real as several reals, share the load";
    let low = |about: &str, severity, seen: String| {
        finding(Code::PortsLow, severity, about, seen, why, fix.to_owned())
    };
    let busiest = plan.busiest.as_ref();
    let nearly = busiest.filter(|b| b.connections * 100 >= width * PORTS_LOW_PERCENT);
    if let Some(busiest) = nearly {
        let used = busiest.connections;
        let seen = format!("one address has {used} connections there, of {width} ports");
        report.found(check, low(&busiest.real, Severity::Warning, seen));
    } else if plan.no_ports > 0 {
        let seen = format!(
            "{} connections found no port since lbd started, of {width} there are",
            plan.no_ports
        );
        report.found(check, low("", Severity::Warning, seen));
    } else {
        let most = busiest.map_or(0, |b| b.connections);
        let seen = format!("{width} for each address and real; the most in use is {most}");
        report.good(check, seen);
    }
}

/// A real's answers to a borrowed address did not come, those to our own did.
pub(super) fn return_path(real: &str, at: IpAddr, client: IpAddr) -> FindingView {
    let ip = if at.is_ipv4() { "ip" } else { "ip -6" };
    finding(
        Code::ReturnPath,
        Severity::Fault,
        real,
        format!("{at} answers this host, but its answers to the client {client} do not come back"),
        "with source = \"client\" the real answers to the client's address, and lbd must get that \
         answer: the real's default route, or a policy route, must lead through this host",
        format!(
            "on the real: {ip} route replace default via THIS-HOST; or in the configuration: \
             source = \"self\" with send_proxy"
        ),
    )
}
