//! A packet and its verdict as a line.

use super::{Seen, words};
use crate::api::{FlowFound, PacketView, Verdict as Word};
use crate::config::Mode;
use crate::director::{Decision, DropReason, Met, Verdict};
use crate::net::packet::{Fault, Reason, Subject, Transport};
use crate::net::{Addr, FlowKey};
use crate::service::{Service, ServiceTable};
use std::net::SocketAddr;

/// The line of one frame: what was `seen`, what was decided, and what became of it by `verdict`,
/// which is another than the decision's where another worker was first with this flow.
pub fn line(
    seen: &Seen,
    decision: &Decision,
    verdict: Verdict,
    table: &ServiceTable,
) -> PacketView {
    let service = decision.service.map(|at| &table.services[at]);
    let (flow, met) = match service {
        Some(service) => words::met(decision, service, table),
        None => (FlowFound::NotTracked, String::new()),
    };
    let mut view = PacketView {
        interface: interface(seen.ifindex, table),
        protocol: seen.protocol(),
        client: None,
        vip: None,
        icmp_error: false,
        flags: None,
        length: seen.length,
        packets: 1,
        service: service.map(|s| s.name.to_string()),
        flow,
        flow_state: entry_state(decision.met),
        verdict: Word::Pass,
        drop_reason: None,
        reason: met,
        real: None,
        mac: None,
        out: None,
    };
    name_ends(seen, &mut view);
    match verdict {
        Verdict::Forward(chosen) => {
            view.verdict = Word::Forward;
            view.real = table.member(chosen.real).map(|(_, m)| m.name.clone());
            view.mac = Some(chosen.path.dst.to_string());
            view.out = interface(chosen.path.ifindex, table);
        }
        Verdict::Drop(reason) => {
            view.verdict = Word::Drop;
            view.drop_reason = Some(reason.word().to_owned());
            view.reason = dropped(reason, seen, &view.reason);
            if let Met::Hit(entry) = decision.met {
                view.real = table.member(entry.real).map(|(_, m)| m.name.clone());
            }
        }
        Verdict::Pass => view.reason = passed(seen, table),
    }
    view
}

fn interface(ifindex: u32, table: &ServiceTable) -> Option<String> {
    table.interface(ifindex).map(|i| i.name.clone())
}

fn entry_state(met: Met) -> Option<String> {
    match met {
        Met::Hit(entry) | Met::Anew(entry) | Met::Rehashed(entry) => {
            Some(entry.state.word().to_owned())
        }
        Met::New | Met::ByRing | Met::NotLooked => None,
    }
}

fn name_ends(seen: &Seen, view: &mut PacketView) {
    let packet = match &seen.parsed {
        Ok(packet) => packet,
        Err(fault) => {
            view.client = fault.source.map(|a| a.to_string());
            view.vip = fault.destination.map(|a| a.to_string());
            return;
        }
    };
    view.packets = packet.segments;
    let key = match packet.subject {
        Subject::Flow { key, transport } => {
            if let Transport::Tcp(flags) = transport {
                view.flags = Some(format!("{flags:?}").replace('|', ","));
            }
            key
        }
        Subject::IcmpError { key } => {
            view.icmp_error = true;
            key
        }
        Subject::Other => return,
    };
    let end = |addr: &Addr, port| SocketAddr::new(addr.ip(), port).to_string();
    view.client = Some(end(&key.client, key.client_port));
    view.vip = Some(end(&key.service.vip, key.service.port));
}

/// A drop in words: `before` is how it met the flow table.
fn dropped(reason: DropReason, seen: &Seen, before: &str) -> String {
    let why = match (reason, &seen.parsed) {
        (
            DropReason::Malformed,
            Err(Fault {
                reason: Reason::Malformed(what),
                ..
            }),
        ) => what,
        (DropReason::Fragment, _) => {
            "a fragment: its ports are missing, or the rest would go astray"
        }
        (DropReason::IpOptions, _) => "IP options, or too many extension headers",
        (DropReason::Martian, _) => "a source address that no client can have",
        (DropReason::Maintenance, _) => words::IN_MAINTENANCE,
        (DropReason::NoReal, _) => "no real may serve",
        (DropReason::NoNeighbor, _) => "the chosen real's MAC address is not known",
        (DropReason::DeadReal, _) => "its real is dead, and on_dead says drop",
        (DropReason::Loop, _) => "the chosen real is this host, or sent the frame itself",
        (DropReason::Truncated, _) => "only part of the frame is there",
        (DropReason::Malformed | DropReason::TooBig | DropReason::SendFailed, _) => reason.word(),
    };
    match before {
        "" => why.to_owned(),
        before => format!("{before}; {why}"),
    }
}

/// Why a frame is the host's business.
fn passed(seen: &Seen, table: &ServiceTable) -> String {
    let packet = match &seen.parsed {
        Ok(packet) => packet,
        Err(_) => return "not for a VIP of direct routing, or not for our MAC".to_owned(),
    };
    if table.interface(seen.ifindex).map(|i| i.mac) != Some(packet.dst_mac) {
        return format!("for the MAC {}, which is not ours", packet.dst_mac);
    }
    match packet.subject {
        Subject::Flow { key, .. } | Subject::IcmpError { key } => no_service(&key, table),
        Subject::Other => "neither tcp nor udp".to_owned(),
    }
}

fn no_service(key: &FlowKey, table: &ServiceTable) -> String {
    let proxied = |service: &Service| service.mode == Mode::Tproxy;
    match table.service(&key.service) {
        Some((_, service)) if proxied(service) => {
            format!(
                "{} is proxied: the host's stack brings it there",
                service.name
            )
        }
        _ => format!("no service has {}", key.service),
    }
}
