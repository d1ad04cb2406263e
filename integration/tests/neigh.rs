//! Real servers change their MAC addresses.

use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::frames::mac;
use integration::netns::Netns;
use integration::stage::{Stage, web};
use integration::topology::{Offloads, real};
use integration::wire::RawSocket;
use integration::{FairClock, figure, isolated_within, wait_until};
use std::time::Duration;

const NEW_MAC: &str = "02:00:00:00:02:01";

/// A gratuitous ARP request, as a host sends it that came up with a new card.
fn announce(netns: &Netns, new: &str, address: std::net::Ipv4Addr) {
    let mut frame = vec![0xff; 6];
    frame.extend(mac(new));
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac(new));
    frame.extend(address.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(60, 0);
    RawSocket::open(netns).send(&frame).expect("sent");
}

#[test]
fn t56_a_new_mac_is_followed() {
    isolated_within(Duration::from_secs(60), || {
        let conf = Conf::one(web(1).check(FAST_TCP_CHECK).with("min_healthy", "0"));
        for with_announcement in [true, false] {
            let stage = Stage::new(1, Offloads::Defaults, &conf);
            assert_eq!(stage.curl(5).len(), 5);
            let rs1 = &stage.switch.reals[0];
            rs1.ip(&format!("link set eth0 address {NEW_MAC}"));
            let changed = FairClock::start();
            if with_announcement {
                announce(rs1, NEW_MAC, real(1));
            }
            wait_until("its new MAC is known", Duration::from_secs(10), || {
                stage.lbd.real("web", "rs1")["mac"] == NEW_MAC
            });
            let took = changed.elapsed();
            let what = if with_announcement {
                "T56 announced"
            } else {
                "T56 not announced"
            };
            figure(what, format!("{took:.2?}"));
            // The checks above find a silent server after two failures: at most 0.2 + 3 × 0.2 s.
            let limit = if with_announcement { 1.0 } else { 0.8 + 1.0 };
            assert!(took.as_secs_f64() <= limit, "{what}: {took:?}");
            stage
                .lbd
                .wait_real("web", "rs1", "up", Duration::from_secs(5));
            assert_eq!(stage.curl(20).len(), 20);
        }
    });
}

#[test]
fn t57_a_pinned_mac_is_never_replaced() {
    isolated_within(Duration::from_secs(60), || {
        let service =
            integration::conf::ServiceConf::tcp("web", integration::stage::PORT).pinned_reals([1]);
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(service));
        let pinned = stage.lbd.real("web", "rs1")["mac"].clone();
        for _ in 0..100 {
            announce(&stage.switch.cl, "02:00:00:00:00:66", real(1));
        }
        assert_eq!(stage.curl(50).len(), 50);
        assert_eq!(stage.lbd.real("web", "rs1")["mac"], pinned);
    });
}
