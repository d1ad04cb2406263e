//! `lbctl doctor` and services in mode dr: each thing it finds is brought about for real, and its
//! fix applied.

use integration::conf::{Conf, FAST_TCP_CHECK, RealConf};
use integration::doctor::{check, doctor, fix, has, wrong};
use integration::stage::{Stage, all_four, web};
use integration::topology::{Offloads, VIP, VIP6, real, real_mac};
use integration::{isolated, isolated_within, wait_until};
use serde_json::Value;
use std::time::Duration;

const NOTHING: [[&str; 3]; 0] = [];

/// One service with real servers 1 and 2.
fn stage() -> Stage {
    Stage::new(2, Offloads::Defaults, &Conf::one(web(2)))
}

/// The command of a fix, from `begin` to the next semicolon.
fn command<'a>(fix: &'a str, begin: &str) -> &'a str {
    let at = fix
        .find(begin)
        .unwrap_or_else(|| panic!("no {begin}: {fix}"));
    fix[at..].split(';').next().expect("a command")
}

#[test]
fn a_healthy_network_is_clean_in_both_families() {
    isolated(|| {
        let stage = Stage::new(2, Offloads::Defaults, &all_four(2));
        wait_until("all are known", Duration::from_secs(10), || {
            let (_, view) = doctor(&stage.lbd, &[]);
            check(&view, "neighbour web6/rs2").0 == "good"
        });
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!((code, wrong(&view)), (0, NOTHING.to_vec()), "{view}");
        let mac = real_mac(1);
        let words = format!("{} is at {mac}", real(1));
        assert_eq!(check(&view, "neighbour web/rs1"), ("good", words.as_str()));
        for name in [
            "ARP for VIPs by web/rs1",
            "neighbour solicitation for VIPs by web6/rs2",
            "MTU to web/rs2",
            "MTU to web6/rs1",
            &format!("VIP {VIP} on eth0"),
            &format!("VIP {VIP6} on eth0"),
        ] {
            assert_eq!(check(&view, name).0, "good", "{name}: {view}");
        }
        // `dns` has the same machines: each is looked at once.
        let checks = view["checks"].as_array().expect("checks").iter();
        let neighbours = checks.filter(|c| {
            c["check"].as_str().is_some_and(|n| {
                n.starts_with("neighbour ") && n.contains('/') && !n.contains("VIPs")
            })
        });
        assert_eq!(neighbours.count(), 4, "{view}");
        let table = stage.lbd.ctl(&["doctor"]).ok().stdout();
        assert!(table.contains("nothing is wrong"), "{table}");
    });
}

#[test]
fn a_real_that_answers_arp_for_the_vip_is_found_and_its_fix_mends_it() {
    isolated(|| {
        let stage = stage();
        let rs1 = &stage.switch.reals[0];
        for scope in ["all", "eth0"] {
            rs1.sysctl(&format!("ipv4.conf.{scope}.arp_ignore"), "0");
        }
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!(code, 1);
        let found = ["answers-for-vip", "fault", "web/rs1"];
        assert_eq!(wrong(&view), [found], "{view}");
        let words = fix(&view, "answers-for-vip");
        assert!(words.contains("strictARP: true"), "{words}");
        rs1.sh(command(words, "sysctl -w"));
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!((code, wrong(&view)), (0, NOTHING.to_vec()), "{view}");
        assert!(has(&view, "claimed-vip"), "it is remembered: {view}");
    });
}

/// kube-proxy in ipvs mode puts every VIP on `kube-ipvs0`; without strictARP each node answers. (A
/// bridge without ports answers as its dummy interface does.)
#[test]
fn a_node_in_ipvs_mode_without_strict_arp_is_found() {
    isolated(|| {
        let stage = stage();
        let rs2 = &stage.switch.reals[1];
        rs2.ip("link add kube-ipvs0 type bridge");
        rs2.ip(&format!("addr del {VIP}/32 dev lo"));
        rs2.ip(&format!("addr add {VIP}/32 dev kube-ipvs0"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "with strictARP: {view}");
        for scope in ["all", "eth0"] {
            rs2.sysctl(&format!("ipv4.conf.{scope}.arp_ignore"), "0");
        }
        let (_, view) = doctor(&stage.lbd, &[]);
        let found = ["answers-for-vip", "fault", "web/rs2"];
        assert_eq!(wrong(&view), [found], "{view}");
        rs2.sh(command(fix(&view, "answers-for-vip"), "sysctl -w"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}

#[test]
fn a_real_that_answers_neighbour_solicitation_for_the_vip_is_found() {
    isolated(|| {
        let stage = Stage::new(1, Offloads::Defaults, &all_four(1));
        let rs1 = &stage.switch.reals[0];
        rs1.ip(&format!("addr add {VIP6}/128 dev eth0 nodad"));
        let (_, view) = doctor(&stage.lbd, &[]);
        let found = ["answers-for-vip", "fault", "web6/rs1"];
        assert_eq!(wrong(&view), [found], "{view}");
        rs1.ip(&format!("addr del {VIP6}/128 dev eth0"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}

#[test]
fn another_machine_with_the_vip_is_found() {
    isolated(|| {
        let stage = stage();
        let cl = &stage.switch.cl;
        cl.ip(&format!("addr add {VIP}/32 dev eth0"));
        let (_, view) = doctor(&stage.lbd, &[]);
        let vip = VIP.to_string();
        assert_eq!(wrong(&view), [["vip-elsewhere", "fault", &vip]], "{view}");
        cl.ip(&format!("addr del {VIP}/32 dev eth0"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}

#[test]
fn a_smaller_mtu_at_the_real_is_found_silence_to_pings_is_not() {
    isolated(|| {
        let stage = stage();
        let (rs1, rs2) = (&stage.switch.reals[0], &stage.switch.reals[1]);
        rs1.sysctl("ipv4.icmp_echo_ignore_all", "1");
        rs2.ip("link set eth0 mtu 1400");
        let (_, view) = doctor(&stage.lbd, &[]);
        let found = ["mtu-differs", "warning", "web/rs2"];
        assert_eq!(wrong(&view), [found], "{view}");
        let (result, why) = check(&view, "MTU to web/rs1");
        assert_eq!(result, "skipped", "{view}");
        assert!(why.contains("does not answer pings"), "{why}");
        let words = fix(&view, "mtu-differs").replace("INTERFACE", "eth0");
        rs2.sh(command(&words, "ip link set"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
        assert_eq!(check(&view, "MTU to web/rs2").0, "good", "{view}");
    });
}

#[test]
fn a_real_nobody_answers_for_and_one_behind_a_gateway_are_found() {
    isolated_within(Duration::from_secs(60), || {
        let far = RealConf::new("far", std::net::Ipv4Addr::new(198, 51, 100, 21));
        let conf = Conf::one(web(2).real(far).with("min_healthy", "0"));
        let mut stage = Stage::before_lbd(1, Offloads::Defaults, &conf);
        let lb = &stage.switch.lb;
        lb.ip("route add 198.51.100.0/24 via 192.0.2.100");
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        let rs2 = ["neighbour-unresolved", "fault", "web/rs2"];
        let far = ["not-on-network", "fault", "web/far"];
        wait_until("both are found", Duration::from_secs(15), || {
            let (_, view) = doctor(&stage.lbd, &[]);
            wrong(&view) == [rs2, far]
        });
        let (_, view) = doctor(&stage.lbd, &[]);
        let seen = |name: &str| check(&view, name).1;
        assert!(
            seen("neighbour web/rs2").contains("asked again by ARP at 2"),
            "{view}"
        );
        assert!(
            seen("neighbour web/far").contains("behind the gateway 192.0.2.100"),
            "{view}"
        );
        assert!(
            fix(&view, "not-on-network").contains("mode = \"tproxy\""),
            "{view}"
        );

        stage.switch.add_real(2);
        stage.lbd.ctl(&["real", "disable", "web", "far"]).ok();
        let mut last = Value::Null;
        wait_until("all is well", Duration::from_secs(15), || {
            (_, last) = doctor(&stage.lbd, &[]);
            wrong(&last) == NOTHING
        });
        assert_eq!(
            check(&last, "neighbour web/far"),
            ("skipped", "it is disabled")
        );
    });
}

#[test]
fn a_vip_that_was_in_use_is_taken_as_the_fix_says() {
    isolated(|| {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &Conf::one(web(2)));
        let rs1 = &stage.switch.reals[0];
        for scope in ["all", "eth0"] {
            rs1.sysctl(&format!("ipv4.conf.{scope}.arp_ignore"), "0");
        }
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let mut view = Value::Null;
        wait_until("it is in use", Duration::from_secs(10), || {
            (_, view) = doctor(&stage.lbd, &[]);
            check(&view, &format!("VIP {VIP} on eth0"))
                .1
                .contains("conflict")
        });
        let found = ["answers-for-vip", "fault", "web/rs1"];
        assert_eq!(wrong(&view), [found], "{view}");
        let words = fix(&view, "answers-for-vip");
        rs1.sh(command(words, "sysctl -w"));
        let take = command(words, "lbctl vip take").trim_start_matches("lbctl ");
        let take: Vec<&str> = take.split(' ').collect();
        stage.lbd.ctl(&take).ok();
        wait_until("it is announced", Duration::from_secs(10), || {
            stage.lbd.status()["vips"][0]["state"] == "announced"
        });
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}

#[test]
fn a_real_without_the_vip_is_found_by_its_check() {
    isolated(|| {
        let conf = Conf::one(web(2).check(FAST_TCP_CHECK));
        let stage = Stage::new(2, Offloads::Defaults, &conf);
        let wait = |state| {
            let (lbd, limit) = (&stage.lbd, Duration::from_secs(10));
            lbd.wait_real("web", "rs2", state, limit);
        };
        wait("up");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
        assert_eq!(check(&view, "VIP path of web/rs2").0, "good", "{view}");
        let rs2 = &stage.switch.reals[1];
        rs2.ip(&format!("addr del {VIP}/32 dev lo"));
        wait("down");
        let (_, view) = doctor(&stage.lbd, &[]);
        let found = ["vip-path", "warning", "web/rs2"];
        assert_eq!(wrong(&view), [found], "{view}");
        assert!(
            check(&view, "VIP path of web/rs2")
                .1
                .contains("not for the VIP"),
            "{view}"
        );
        rs2.ip(&format!("addr add {VIP}/32 dev lo"));
        wait("up");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}
