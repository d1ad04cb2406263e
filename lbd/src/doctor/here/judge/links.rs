//! Interfaces, and what lies beneath them.

use crate::doctor::Report;
use crate::doctor::judge::finding;
use crate::live::FrameTotals;
use crate::live::event::Link;
use lbcore::api::{Code, Severity};

pub(in crate::doctor::here) fn interface(
    name: &str,
    link: Option<&Link>,
    waiting: Option<&str>,
    report: &mut Report,
) {
    let check = format!("interface {name}");
    let why = "no packet for a VIP arrives there";
    let (code, seen, fix) = match (link, waiting) {
        (None, _) => (
            Code::InterfaceMissing,
            "this host has no such interface".to_owned(),
            "ip link lists those there are; network.interface in the configuration says which one \
             lbd is to use (read at start: systemctl restart lbd)"
                .to_owned(),
        ),
        (Some(link), _) if !link.up => (
            Code::InterfaceDown,
            "it is down".to_owned(),
            format!("ip link set {name} up"),
        ),
        (Some(link), _) if !link.carrier => (
            Code::InterfaceDown,
            "it has no carrier".to_owned(),
            "see to the cable, the switch port, or the other end: the link is not there".to_owned(),
        ),
        (Some(_), Some(reason)) => (
            Code::NotReceiving,
            reason.to_owned(),
            "journalctl -u lbd -n 50 has more; lbd goes on trying".to_owned(),
        ),
        (Some(link), None) => {
            return report.good(&check, format!("up, MTU {}, {}", link.mtu, link.mac));
        }
    };
    report.found(&check, finding(code, Severity::Fault, name, seen, why, fix));
}

/// Of lbd's interfaces, where frames may come in by one and go out by another.
pub(in crate::doctor::here) fn mtus(mtus: &[(&str, u32)], report: &mut Report) {
    let check = "MTUs";
    let words: Vec<String> = mtus
        .iter()
        .map(|(name, mtu)| format!("{name} {mtu}"))
        .collect();
    let words = words.join(", ");
    let least = mtus.iter().map(|(_, mtu)| *mtu).min().unwrap_or(0);
    let larger: Vec<&str> = mtus
        .iter()
        .filter(|(_, mtu)| *mtu > least)
        .map(|(name, _)| *name)
        .collect();
    if larger.is_empty() {
        return report.good(check, words);
    }
    let fixes: Vec<String> = larger
        .iter()
        .map(|name| format!("ip link set {name} mtu {least}"))
        .collect();
    let found = finding(
        Code::MtuUnequal,
        Severity::Warning,
        &larger.join(", "),
        format!("lbd's interfaces have different MTUs: {words}"),
        "a full packet that comes in by the larger one does not fit the smaller one, and direct \
         routing cannot cut it: it is dropped (too_big)",
        format!(
            "the same on all, here and on what is connected: {}",
            fixes.join("; ")
        ),
    );
    report.found(check, found);
}

/// What lies beneath an interface and merges frames.
pub(in crate::doctor::here) fn lro(
    upper: &str,
    beneath: &Result<Vec<String>, String>,
    report: &mut Report,
) {
    let check = format!("LRO beneath {upper}");
    let on = match beneath {
        Ok(on) => on,
        Err(error) => return report.skipped(&check, error.as_str()),
    };
    if on.is_empty() {
        return report.good(&check, "off");
    }
    let fixes: Vec<String> = on
        .iter()
        .map(|name| format!("ethtool -K {name} lro off"))
        .collect();
    let found = finding(
        Code::LroBeneath,
        Severity::Warning,
        upper,
        format!("large receive offload is on: {}", on.join(", ")),
        "it merges packets in a way that cannot be undone when they are sent on: clients' uploads \
         stall. lbd switches it off on its own interface, not on what lies beneath",
        fixes.join("; "),
    );
    report.found(&check, found);
}

/// Good to know beside a loss: how many queues there are, and who reads them.
pub(in crate::doctor::here) fn queues(
    name: &str,
    queues: Option<usize>,
    workers: usize,
    report: &mut Report,
) {
    let check = format!("queues of {name}");
    match queues {
        Some(queues) if workers > 0 => {
            report.good(
                &check,
                format!("{queues} to receive by, workers: {workers}"),
            );
        }
        Some(queues) => report.good(&check, format!("{queues} to receive by")),
        None => report.skipped(&check, "its driver does not tell"),
    }
}

/// What is lost now is wrong; what was lost once is good to know.
pub(in crate::doctor::here) fn ring_drops(
    name: &str,
    before: FrameTotals,
    after: FrameTotals,
    ring_mib: usize,
    report: &mut Report,
) {
    let check = format!("receive ring of {name}");
    let now = after.ring_drops.saturating_sub(before.ring_drops);
    let (severity, seen) = match (now, after.ring_drops) {
        (0, 0) => return report.good(&check, "it has lost no frame"),
        (0, all) => (
            Severity::Note,
            format!("it has lost {all} frames since lbd started, none now"),
        ),
        (now, all) => (
            Severity::Warning,
            format!("{now} frames lost while the doctor looked, {all} since lbd started"),
        ),
    };
    let found = finding(
        Code::RingDrops,
        severity,
        name,
        seen,
        "frames come faster than lbd takes them: clients send them again, later",
        format!(
            "more workers where there are more cores and queues (workers, ethtool -L {name} combined \
             N), or ring_mib = {} in [network] against bursts; then: systemctl restart lbd",
            ring_mib * 2
        ),
    );
    report.found(&check, found);
}
