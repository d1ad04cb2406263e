//! States with their tones, and the small phrases several screens share.

use super::page::{Field, Tone};
use super::{Look, human};
use lbcore::api::{RealState, RealView, ServiceState, ServiceView, VipState};
use lbcore::config::{Admin, Announce};
use lbcore::vip::Hold;
use std::net::{IpAddr, SocketAddr};

pub fn service_state(state: ServiceState) -> Field {
    let tone = match state {
        ServiceState::Up => Tone::Good,
        ServiceState::Degraded => Tone::Uneasy,
        ServiceState::Panic | ServiceState::Down => Tone::Bad,
    };
    Field::toned(state.word(), tone)
}

pub fn real_state(state: RealState) -> Field {
    let tone = match state {
        RealState::Up => Tone::Good,
        RealState::Checking | RealState::Draining | RealState::Unchecked => Tone::Uneasy,
        RealState::Down => Tone::Bad,
        RealState::Disabled => Tone::Quiet,
    };
    Field::toned(state.word(), tone)
}

pub fn vip_state(state: VipState) -> Field {
    let tone = match state {
        VipState::Announced | VipState::Owned => Tone::Good,
        VipState::Probing => Tone::Uneasy,
        VipState::Conflict => Tone::Bad,
        VipState::Silent => Tone::Quiet,
    };
    Field::toned(state.word(), tone)
}

/// `192.0.2.10:443/tcp (+3)`, or all of them where there is room.
pub fn endpoints(service: &ServiceView, look: &Look) -> String {
    let named = |endpoint| format!("{endpoint}/{}", service.protocol);
    match service.endpoints.as_slice() {
        [] => "-".into(),
        [only] => named(only),
        all if look.wide => all.iter().map(named).collect::<Vec<_>>().join(" "),
        [first, more @ ..] => format!("{} (+{})", named(first), more.len()),
    }
}

/// `rs1`, `rs1 (backup)`, `rs1 (removed)`.
pub fn real_name(real: &RealView) -> String {
    match (real.removed, real.backup) {
        (true, _) => format!("{} (removed)", real.name),
        (_, true) => format!("{} (backup)", real.name),
        _ => real.name.clone(),
    }
}

/// `192.0.2.21`, or `192.0.2.21:8443` of a real that is dialled at a port of its own.
pub fn place(address: IpAddr, own_port: Option<u16>) -> String {
    match own_port {
        Some(port) => SocketAddr::new(address, port).to_string(),
        None => address.to_string(),
    }
}

/// Where a real is, as tables show it.
pub fn real_place(real: &RealView) -> String {
    place(real.address, real.dial.and_then(|dial| dial.port))
}

/// `12,345 packets, 9.20 GiB`, or what of it is known.
pub fn from_clients(packets: Option<u64>, bytes: u64) -> String {
    let bytes = human::bytes(bytes);
    packets.map_or(bytes.clone(), |packets| {
        format!("{} packets, {bytes}", human::count(packets))
    })
}

/// A bound; 0 is none.
pub fn bound(max: u32) -> String {
    match max {
        0 => "no bound".into(),
        max => format!("at most {}", human::count(max.into())),
    }
}

/// `2`; `2 (now 1)` while a real that takes flows is not given its whole weight.
pub fn weight(real: &RealView) -> String {
    let takes_flows = matches!(real.state, RealState::Up | RealState::Unchecked);
    weight_of(real.weight, real.effective_weight, takes_flows)
}

/// The same, of a real in few words.
pub fn weight_of(weight: u32, now: u32, takes_flows: bool) -> String {
    match now {
        now if takes_flows && now != weight => format!("{weight} (now {now})"),
        _ => weight.to_string(),
    }
}

/// How long a real is in its state.
pub fn since(real: &RealView, look: &Look) -> String {
    human::ago(real.since.0, look.now)
}

/// A value that may be unknown.
pub fn or_dash(value: Option<&str>) -> String {
    value.unwrap_or("-").to_string()
}

/// The operator's wish, as the configuration spells it.
pub fn admin(admin: Admin) -> &'static str {
    match admin {
        Admin::Enabled => "enabled",
        Admin::Drain => "drain",
        Admin::Disabled => "disabled",
    }
}

/// `1 service`, `2 services`.
pub fn several(n: usize, one: &str) -> String {
    format!("{n} {one}{}", if n == 1 { "" } else { "s" })
}

/// What was said of a VIP by command.
pub fn hold(hold: Hold) -> &'static str {
    match hold {
        Hold::Default => "-",
        Hold::Take => "taken",
        Hold::Release => "released",
    }
}

/// The policy, as the configuration spells it.
pub fn announce(announce: Announce) -> &'static str {
    announce.word()
}
