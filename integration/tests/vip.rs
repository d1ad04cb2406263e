//! Who answers for the VIP.

use integration::client::request_within;
use integration::conf::Conf;
use integration::daemon::Daemon;
use integration::frames::mac;
use integration::netns::Netns;
use integration::stage::{Stage, vip, web};
use integration::topology::{
    CLIENT, CLIENT_MAC, LB_MAC, Offloads, VIP, VIP6, Wire, real_mac, real6,
};
use integration::wire::RawSocket;
use integration::{isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::net::Ipv4Addr;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(3);

/// One ARP packet; `operation` is 1 for a request, 2 for a reply.
fn arp(
    operation: u8,
    sender_mac: &str,
    sender: Ipv4Addr,
    target: Ipv4Addr,
    dst_mac: &str,
) -> Vec<u8> {
    let mut frame = mac(dst_mac).to_vec();
    frame.extend(mac(sender_mac));
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, operation]);
    frame.extend(mac(sender_mac));
    frame.extend(sender.octets());
    frame.extend([0; 6]);
    frame.extend(target.octets());
    frame.resize(60, 0);
    frame
}

const BROADCAST: &str = "ff:ff:ff:ff:ff:ff";

/// Whether `frame` is ARP that says "the VIP is at lbd's MAC".
fn claims_vip(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 6])
        && frame.get(22..28) == Some(&mac(LB_MAC))
        && frame.get(28..32) == Some(&VIP.octets())
}

/// Whether lbd answers when asked who has the VIP.
fn is_answered(socket: &RawSocket, limit: Duration) -> bool {
    socket
        .send(&arp(1, CLIENT_MAC, CLIENT, VIP, BROADCAST))
        .expect("sent");
    socket
        .receive_where(limit, |frame| {
            claims_vip(frame) && frame.get(20..22) == Some(&[0, 2])
        })
        .is_some()
}

fn conf(announce: &str) -> Conf {
    let service = integration::conf::ServiceConf::tcp("web", 80).pinned_reals([1]);
    Conf::one(service.with("announce", &format!("\"{announce}\"")))
}

fn state(lbd: &Daemon) -> String {
    let vips = lbd.ctl(&["vip", "list", "-o", "json"]).json();
    vips["vips"][0]["state"]
        .as_str()
        .expect("a state")
        .to_owned()
}

#[test]
fn a_vip_is_announced_and_answered_for() {
    isolated(|| {
        let wire = Wire::new();
        let socket = RawSocket::open(&wire.generator);
        let mut lbd = Daemon::start(&wire.lb, &conf("always"));
        let announced = socket.receive_where(Duration::from_secs(10), claims_vip);
        assert!(announced.is_some(), "a gratuitous ARP");
        wait_until("it is announced", SOON, || state(&lbd) == "announced");
        assert!(is_answered(&socket, SOON));
        assert_eq!(lbd.metrics().value("lbd_vip_announced", &[]), 1.0);

        lbd.ctl(&["vip", "release", &VIP.to_string()]).ok();
        wait_until("it is released", SOON, || {
            !is_answered(&socket, Duration::from_millis(50))
        });
        lbd.ctl(&["vip", "take", &VIP.to_string()]).ok();
        wait_until("it is taken", Duration::from_secs(10), || {
            is_answered(&socket, Duration::from_millis(50))
        });
        lbd.stop(Signal::SIGTERM);
        // Late answers to the questions before.
        socket.drain(Duration::from_millis(50));
        assert!(
            !is_answered(&socket, Duration::from_millis(200)),
            "nobody is there any more"
        );
    });
}

#[test]
fn announce_never_means_silence() {
    isolated(|| {
        let wire = Wire::new();
        let socket = RawSocket::open(&wire.generator);
        let lbd = Daemon::start(&wire.lb, &conf("never"));
        assert!(!is_answered(&socket, Duration::from_millis(500)));
        assert_eq!(state(&lbd), "silent");
    });
}

#[test]
fn when_owned_follows_the_hosts_address() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let lbd = Daemon::start(&wire.lb, &conf("when-owned"));
        assert_eq!(state(&lbd), "silent");
        wire.lb.ip(&format!("addr add {VIP}/32 dev eth0"));
        wait_until("the host owns it", SOON, || state(&lbd) == "owned");
        wire.lb.ip(&format!("addr del {VIP}/32 dev eth0"));
        wait_until("the host lost it", SOON, || state(&lbd) == "silent");
    });
}

#[test]
fn another_machine_with_the_vip_is_a_conflict() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        // The generator has the VIP already, and answers for it.
        wire.generator.ip(&format!("addr add {VIP}/32 dev eth0"));
        let lbd = Daemon::start(&wire.lb, &conf("always"));
        wait_until("the conflict is seen", Duration::from_secs(10), || {
            state(&lbd) == "conflict"
        });
        let vips = lbd.ctl(&["vip", "list", "-o", "json"]).json();
        assert_eq!(vips["vips"][0]["claimed_by"], CLIENT_MAC, "{vips:#}");
        assert!(lbd.metrics().value("lbd_vip_conflicts_total", &[]) >= 1.0);
    });
}

#[test]
fn a_claim_while_we_serve_is_counted_and_answered() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let socket = RawSocket::open(&wire.generator);
        let lbd = Daemon::start(&wire.lb, &conf("always"));
        wait_until("it is announced", Duration::from_secs(10), || {
            state(&lbd) == "announced"
        });
        socket.drain(Duration::from_millis(50));
        socket
            .send(&arp(1, &real_mac(9), VIP, VIP, BROADCAST))
            .expect("sent");
        let defended = socket.receive_where(Duration::from_secs(5), claims_vip);
        assert!(defended.is_some(), "lbd defends the VIP");
        wait_until("it is counted", SOON, || {
            lbd.metrics().value("lbd_vip_conflicts_total", &[]) >= 1.0
        });
    });
}

/// The neighbour a host knows for an address.
fn neighbour(netns: &Netns, address: &str) -> String {
    netns.ip(&format!("neigh show {address} dev eth0"))
}

#[test]
fn clients_learn_lbds_mac_in_both_families() {
    isolated_within(Duration::from_secs(60), || {
        let web6 = integration::conf::ServiceConf::tcp("web6", 80)
            .with("vip", &format!("\"{VIP6}\""))
            .real(integration::conf::RealConf::new("rs1", real6(1)));
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)).service(web6));
        for target in [vip(), integration::stage::vip6()] {
            let answer = request_within(&stage.switch.cl, target, SOON);
            assert_eq!(answer.expect("an answer").server, "rs1");
            let known = neighbour(&stage.switch.cl, &target.ip().to_string());
            assert!(known.contains(LB_MAC), "{known}");
        }
    });
}
