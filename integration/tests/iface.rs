//! Interfaces come and go, and are of more kinds than one.

use integration::client::{Identity, curl, request_within};
use integration::conf::Conf;
use integration::netns::Netns;
use integration::stage::{Stage, vip, web};
use integration::topology::{CLIENT, LB, LB_MAC, Offloads, VIP};
use integration::{FairClock, figure, isolated_within, wait::wait_for};
use std::time::{Duration, Instant};

/// Tries until an answer comes, and says how long that took.
fn served_again(client: &Netns) -> Duration {
    let ask = || request_within(client, vip(), Duration::from_millis(100)).ok();
    let clock = FairClock::start();
    let (answer, _): (Identity, _) = wait_for("traffic is back", Duration::from_secs(10), ask);
    let took = clock.elapsed();
    assert_eq!(answer.peer.ip(), CLIENT);
    took
}

#[test]
fn t58_traffic_is_back_after_the_interface_went_down_and_up() {
    isolated_within(Duration::from_secs(90), || {
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        let pid = stage.lbd.pid();
        // The client's own timers for an address it lost sight of are not what is measured.
        stage
            .switch
            .cl
            .ip(&format!("neigh replace {VIP} lladdr {LB_MAC} dev eth0"));
        assert_eq!(stage.curl(10).len(), 10);
        let mut longest = Duration::ZERO;
        for round in 0..50 {
            // By turns the interface itself and the cable.
            let (netns, port) = match round % 2 {
                0 => (&stage.switch.lb, "eth0"),
                _ => (&stage.switch.sw, "lb"),
            };
            netns.ip(&format!("link set {port} down"));
            let gone = request_within(&stage.switch.cl, vip(), Duration::from_millis(50));
            assert!(gone.is_err(), "{port} is down");
            netns.ip(&format!("link set {port} up"));
            longest = longest.max(served_again(&stage.switch.cl));
        }
        figure(
            "T58 back after down and up, longest of 50",
            format!("{longest:.2?}"),
        );
        assert!(longest <= Duration::from_secs(1), "{longest:?}");
        assert_eq!(stage.lbd.pid(), pid);
        assert_eq!(stage.curl(50).len(), 50);
    });
}

#[test]
fn t58_an_interface_made_anew_is_opened_anew() {
    isolated_within(Duration::from_secs(60), || {
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        for _ in 0..2 {
            stage.switch.sw.ip("link del lb");
            assert!(request_within(&stage.switch.cl, vip(), Duration::from_millis(50)).is_err());
            stage.switch.plug_lb();
            let since = Instant::now();
            let took = served_again(&stage.switch.cl);
            figure("T58 back after delete and recreate", format!("{took:.2?}"));
            assert!(
                took <= Duration::from_secs(2),
                "{took:?} ({:?})",
                since.elapsed()
            );
        }
        assert_eq!(stage.curl(50).len(), 50);
    });
}

#[test]
fn lbd_waits_for_an_interface_that_is_not_there_yet() {
    isolated_within(Duration::from_secs(60), || {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &Conf::one(web(2)));
        stage.switch.sw.ip("link del lb");
        stage.lbd.spawn();
        integration::wait_until("lbd answers", Duration::from_secs(5), || {
            stage.lbd.try_status().is_some()
        });
        let status = stage.lbd.status();
        assert!(
            status["warnings"].to_string().contains("eth0"),
            "{:#}",
            status["warnings"]
        );
        stage.switch.plug_lb();
        assert!(served_again(&stage.switch.cl) <= Duration::from_secs(5));
        stage.lbd.wait_ready();
    });
}

/// lbd on another kind of interface than a plain one.
fn smoke(interface: &str, set_up: impl FnOnce(&Netns)) {
    let conf = Conf::one(web(2)).network("interface", &format!("\"{interface}\""));
    let mut stage = Stage::before_lbd(2, Offloads::Defaults, &conf);
    let lb = &stage.switch.lb;
    lb.ip("addr flush dev eth0");
    set_up(lb);
    lb.ip(&format!("addr add {LB}/24 dev {interface}"));
    lb.ip(&format!("link set {interface} up"));
    stage.lbd.spawn();
    stage.lbd.wait_ready();
    stage.lbd.wait_announced();
    let answers = curl(&stage.switch.cl, vip(), 50);
    assert_eq!(answers.len(), 50);
    assert!(answers.iter().all(|answer| answer.peer.ip() == CLIENT));
}

#[test]
fn a_macvlan_serves() {
    isolated_within(Duration::from_secs(60), || {
        smoke("mv0", |lb| {
            lb.ip("link add link eth0 name mv0 type macvlan mode bridge");
        });
    });
}

#[test]
fn a_bridge_serves() {
    isolated_within(Duration::from_secs(60), || {
        smoke("br0", |lb| {
            lb.ip(&format!(
                "link add br0 address {LB_MAC} type bridge forward_delay 0"
            ));
            lb.ip("link set eth0 master br0");
        });
    });
}
