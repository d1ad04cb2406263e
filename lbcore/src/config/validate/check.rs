//! `[[service.check]]`

use super::super::faults::Fault;
use super::super::model::{Check, CheckKind, Via};
use super::super::raw::Section;
use super::super::words::CheckType;
use super::super::{value, words};
use super::claims::{Claims, Machine};
use super::via::{Around, via};
use super::{HOUR, http, kinds, kubernetes};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

/// A check that asks more often than this measures itself.
const MIN_INTERVAL: Duration = Duration::from_millis(10);

/// The shortest timeout that is not simply "no".
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

const INTERVAL: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(1);
const RISE: NonZeroU32 = NonZeroU32::new(2).expect("two is not zero");
const FALL: NonZeroU32 = NonZeroU32::new(3).expect("three is not zero");

/// Keys that only some checks have, and which.
pub(in super::super) const OWNERS: &[(&str, &[&str])] = &[
    ("path", &["http", "https", "kubernetes"]),
    ("host", &["http", "https"]),
    ("method", &["http", "https"]),
    ("expect", &["http", "https", "udp"]),
    ("body", &["http", "https"]),
    ("headers", &["http", "https"]),
    ("sni", &["https"]),
    ("verify", &["https"]),
    ("ca_file", &["https"]),
    ("query", &["dns"]),
    ("record", &["dns"]),
    ("send", &["udp"]),
    ("command", &["exec"]),
    ("service", &["grpc", "kubernetes"]),
    ("weight", &["kubernetes"]),
];

/// Reads one check of a service.
pub(super) fn check(s: &Section<'_>, around: &Around<'_>, claims: &mut Claims) -> Option<Check> {
    let kind = s
        .required("type", |v| words::CHECK_TYPE.read(v))
        .map(|kind| kind.into_inner());
    let port = s.get("port", value::port).map(|port| port.into_inner());
    let kind = kind.map(|kind| {
        strangers(s, kind);
        Some(match kind {
            CheckType::Tcp => CheckKind::Tcp,
            CheckType::Http => CheckKind::Http(http::http(s)),
            CheckType::Https => CheckKind::Https(http::http(s), kinds::tls(s)),
            CheckType::Udp => CheckKind::Udp(kinds::udp(s)),
            CheckType::Icmp => {
                no_port(s);
                CheckKind::Icmp
            }
            CheckType::Dns => CheckKind::Dns(kinds::dns(s)?),
            CheckType::Grpc => CheckKind::Grpc(kinds::grpc(s)),
            CheckType::Exec => {
                claims.program(s.key_span("type"), s.path_of("type"));
                CheckKind::Exec(kinds::exec(s)?)
            }
            CheckType::Kubernetes => CheckKind::Kubernetes(kubernetes::kubernetes(s, port)),
        })
    });
    let interval = value::duration(MIN_INTERVAL, HOUR);
    let every = s.get_or("interval", &interval, INTERVAL);
    let kind = kind.flatten();
    let via = via(s, kind.as_ref(), port, around);
    let check = Check {
        via,
        source: source(s, via, around, claims),
        port,
        interval: every,
        fast_interval: s.get_or("fast_interval", &interval, (every / 4).max(MIN_INTERVAL)),
        down_interval: s.get_or("down_interval", &interval, every),
        timeout: timeout(s, every),
        rise: count(s, "rise", RISE),
        fall: count(s, "fall", FALL),
        kind: kind?,
    };
    Some(check)
}

/// An echo goes to a machine.
fn no_port(s: &Section<'_>) {
    if s.has("port") {
        let fault =
            Fault::new("an icmp check asks a machine, which has no port").help("leave it out");
        s.faults
            .error(s.key_span("port"), &s.path_of("port"), fault);
    }
}

/// Keys of checks of another type.
fn strangers(s: &Section<'_>, kind: CheckType) {
    let this = words::CHECK_TYPE.word(kind);
    for (key, owners) in OWNERS {
        if s.has(key) && !owners.contains(&this) {
            let owners = owners.join(", ");
            let fault = Fault::new(format!(
                "`{key}` is a key of {owners} checks; this is a {this} check"
            ));
            s.faults.error(s.key_span(key), &s.path_of(key), fault);
        }
    }
}

fn timeout(s: &Section<'_>, interval: Duration) -> Duration {
    let timeout = s.get_or("timeout", value::duration(MIN_TIMEOUT, HOUR), TIMEOUT);
    if timeout > interval {
        let words = humantime::format_duration;
        let message = format!(
            "the timeout of {} is longer than the interval of {}",
            words(timeout),
            words(interval)
        );
        let fault = Fault::new(message).help("a real that is silent is asked less often than that");
        let key = if s.has("timeout") {
            "timeout"
        } else {
            "interval"
        };
        s.faults.warn(s.key_span(key), &s.path_of(key), fault);
    }
    timeout
}

fn source(s: &Section<'_>, via: Via, around: &Around<'_>, claims: &mut Claims) -> Option<IpAddr> {
    let source = s.get("source", value::host)?;
    claims.machine(Machine {
        address: source.clone(),
        path: s.path_of("source"),
        reason: "answers to a check from a VIP would never come back to it",
    });
    let from = *source.get_ref();
    let fault = |message: String, help: &str| {
        let fault = Fault::new(message).help(help);
        s.faults.error(source.span(), &s.path_of("source"), fault);
    };
    let mut vips = around.vips.iter().map(|vip| vip.get_ref());
    let other = |address: &IpAddr| address.is_ipv4() != from.is_ipv4();
    if via == Via::Vip {
        if !around.vips.is_empty() && vips.all(other) {
            let message = format!("{from} cannot reach the VIP: another family");
            fault(
                message,
                "leave `source` out, and each VIP is asked in its family",
            );
        }
    } else if let Some(real) = around.reals.iter().find(|real| other(&real.address)) {
        let message = format!("{from} cannot reach {}: another family", real.address);
        fault(
            message,
            "leave `source` out, and each real is asked in its family",
        );
    }
    Some(source.into_inner())
}

fn count(s: &Section<'_>, key: &str, default: NonZeroU32) -> NonZeroU32 {
    let read = value::integer("a count of results in a row", 1, 1000);
    s.get(key, read)
        .and_then(|count| NonZeroU32::new(count.into_inner()))
        .unwrap_or(default)
}
