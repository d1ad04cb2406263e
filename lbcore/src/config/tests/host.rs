//! What one host says of VIPs.

use super::{HEAD, WEB};
use crate::config::*;
use crate::net::Protocol;
use rstest::rstest;
use std::net::IpAddr;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A host with an address of its own and one more, a router and sshd.
fn host() -> HostFacts {
    HostFacts {
        interfaces: vec![
            HostInterface {
                name: "lo".into(),
                addresses: vec![(ip("127.0.0.1"), 8)],
            },
            HostInterface {
                name: "eth0".into(),
                addresses: vec![
                    (ip("192.0.2.5"), 24),
                    (ip("2001:db8::5"), 64),
                    (ip("192.0.2.6"), 32),
                ],
            },
        ],
        default_gateways: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        listening: vec![
            Listener {
                ip: ip("::"),
                port: 22,
                protocol: Protocol::Tcp,
            },
            Listener {
                ip: ip("0.0.0.0"),
                port: 22,
                protocol: Protocol::Tcp,
            },
            Listener {
                ip: ip("198.51.100.7"),
                port: 443,
                protocol: Protocol::Tcp,
            },
        ],
    }
}

fn faults(vip: &str, port: u16, facts: &HostFacts, force: bool) -> Vec<HostReason> {
    let text = WEB
        .replace("192.0.2.10", vip)
        .replace("port = 80", &format!("port = {port}"));
    let config = parse(&format!("{HEAD}{text}")).unwrap();
    check_host(&config, facts, force)
        .into_iter()
        .map(|fault| fault.reason)
        .collect()
}

#[rstest]
#[case("192.0.2.1", HostReason::DefaultGateway)]
#[case("2001:db8::1", HostReason::DefaultGateway)]
#[case("192.0.2.255", HostReason::Broadcast("eth0".into()))]
#[case("192.0.2.0", HostReason::Network("eth0".into()))]
#[case("2001:db8::", HostReason::Network("eth0".into()))]
fn no_force_makes_these_right(#[case] vip: &str, #[case] reason: HostReason) {
    for force in [false, true] {
        assert_eq!(
            faults(vip, 80, &host(), force),
            std::slice::from_ref(&reason)
        );
    }
}

/// sshd on all addresses is in the way only where the host has the VIP; one bound to the VIP is in
/// the way anyhow; and of several sockets of a port, one is named.
#[rstest]
#[case("192.0.2.6", 22, 1)]
#[case("192.0.2.6", 80, 0)]
#[case("192.0.2.10", 22, 0)]
#[case("198.51.100.7", 443, 1)]
#[case("198.51.100.7", 80, 0)]
fn own_listeners_can_be_forced(#[case] vip: &str, #[case] port: u16, #[case] count: usize) {
    let found = faults(vip, port, &host(), false);
    assert_eq!(found.len(), count, "{found:?}");
    assert!(
        found
            .iter()
            .all(|reason| matches!(reason, HostReason::Listening(_)))
    );
    assert_eq!(faults(vip, port, &host(), true), []);
}

#[test]
fn the_only_address_can_be_forced() {
    let mut lonely = host();
    lonely.listening.clear();
    lonely.interfaces[1].addresses = vec![(ip("192.0.2.5"), 24), (ip("fe80::5"), 64)];
    assert_eq!(
        faults("192.0.2.5", 80, &lonely, false),
        [HostReason::OnlyAddress]
    );
    assert_eq!(faults("192.0.2.5", 80, &lonely, true), []);
    assert_eq!(
        faults("192.0.2.10", 80, &lonely, false),
        [],
        "an address it does not have"
    );
    assert_eq!(faults("192.0.2.5", 80, &host(), false), [], "it has others");
}

#[test]
fn single_addresses_and_pairs_have_no_edges() {
    let mut facts = host();
    facts.default_gateways.clear();
    facts.interfaces[1].addresses = vec![
        (ip("192.0.2.5"), 31),
        (ip("192.0.2.6"), 32),
        (ip("2001:db8::5"), 127),
    ];
    for vip in ["192.0.2.4", "192.0.2.6", "2001:db8::4"] {
        assert_eq!(faults(vip, 80, &facts, false), [], "{vip}");
    }
    facts.interfaces[1].addresses = vec![(ip("192.0.2.5"), 0), (ip("2001:db8::5"), 0)];
    assert_eq!(
        faults("203.0.113.1", 80, &facts, false),
        [],
        "the widest network there is"
    );
}

#[test]
fn faults_say_what_to_do() {
    let text = WEB
        .replace("192.0.2.10", "192.0.2.6")
        .replace("port = 80", "port = 22");
    let config = parse(&format!("{HEAD}{text}")).unwrap();
    let found = check_host(&config, &host(), false);
    assert_eq!(
        found[0].to_string(),
        "service web: the VIP 192.0.2.6 is one at which this host itself listens: port 22/tcp on \
         all its addresses; clients there would reach the reals instead (--force to do it all the same)"
    );
}
