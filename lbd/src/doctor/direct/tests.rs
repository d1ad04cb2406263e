//! The rules that judge, then questions and pings in namespaces: a balancer, and a real.

use super::super::view;
use super::*;
use crate::sys::netns::Netns;
use ask::Heard;
use echo::Answered;
use lbcore::api::{Checked, DoctorView, Severity};
use std::collections::BTreeSet;
use std::time::SystemTime;

const VIP: &str = "192.0.2.10";
const VIP6: &str = "2001:db8::10";

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn mac(last: u8) -> MacAddr {
    MacAddr::new(2, 0, 0, 0, 0, last)
}

fn machine(address: &str, way: Way) -> Machine {
    Machine {
        name: "web/rs1".to_owned(),
        address: ip(address),
        way,
        disabled: false,
    }
}

fn known(last: u8) -> Way {
    Way::Known {
        ifindex: 2,
        mac: mac(last),
    }
}

fn silent() -> Way {
    Way::Silent {
        last: None,
        reason: "it does not answer ARP on eth0".to_owned(),
    }
}

fn link() -> Link {
    Link {
        ifindex: 2,
        name: "eth0".to_owned(),
        mac: mac(1),
        mtu: 1500,
        up: true,
        carrier: true,
        addresses: vec![(ip("192.0.2.2"), 24), (ip("2001:db8::2"), 64)],
    }
}

fn held(vip: &str, state: VipState, claimed_by: Option<MacAddr>) -> HeldVip {
    HeldVip {
        vip: ip(vip),
        interface: "eth0".to_owned(),
        state,
        claimed_by,
    }
}

/// What was heard: each target, and who said to have it.
fn heard(answers: &[(&str, &[u8])]) -> Heard {
    let answers = answers.iter().map(|(target, macs)| {
        let question = Question {
            ifindex: 2,
            target: ip(target),
        };
        (question, macs.iter().map(|last| mac(*last)).collect())
    });
    Heard {
        answers: answers.collect(),
        trouble: None,
        at: SystemTime::UNIX_EPOCH,
    }
}

/// How a check went, and the code and severity of what it found.
fn judged(judge: impl FnOnce(&mut Report)) -> (Checked, Option<(String, Severity)>, String) {
    let mut report = Report::default();
    judge(&mut report);
    assert_eq!(report.checks.len(), 1, "{report:?}");
    for finding in &report.findings {
        for words in [&finding.seen, &finding.why, &finding.fix, &finding.about] {
            assert!(!words.is_empty() && !words.contains('\n'), "{finding:?}");
        }
    }
    let finding = report.findings.first();
    let check = &report.checks[0];
    assert_eq!(check.result == Checked::Found, finding.is_some());
    let code = finding.map(|f| (f.code.clone(), f.severity));
    (check.result, code, check.seen.clone())
}

fn found(code: &str, severity: Severity) -> Option<(String, Severity)> {
    Some((code.to_owned(), severity))
}

#[test]
fn a_real_without_a_mac_is_a_fault_unless_nobody_wants_it() {
    let unreachable = Way::Unreachable("it is behind the gateway 192.0.2.1".to_owned());
    for (way, disabled, wanted) in [
        (known(9), false, (Checked::Good, None)),
        (Way::Unknown, false, (Checked::Skipped, None)),
        (silent(), true, (Checked::Skipped, None)),
        (unreachable.clone(), true, (Checked::Skipped, None)),
        (
            silent(),
            false,
            (
                Checked::Found,
                found("neighbour-unresolved", Severity::Fault),
            ),
        ),
        (
            unreachable,
            false,
            (Checked::Found, found("not-on-network", Severity::Fault)),
        ),
    ] {
        let real = Machine {
            disabled,
            ..machine("192.0.2.21", way)
        };
        let heard = heard(&[("192.0.2.21", &[])]);
        let (result, code, _) =
            judged(|r| judge::neighbour(&real, &["eth0".to_owned()], &heard, r));
        assert_eq!((result, code), wanted, "{real:?}");
    }
}

#[test]
fn what_was_asked_and_when_is_said() {
    let real = machine("192.0.2.21", silent());
    let seen = |heard: &Heard| judged(|r| judge::neighbour(&real, &[], heard, r)).2;
    let silence = seen(&heard(&[("192.0.2.21", &[])]));
    assert!(
        silence.ends_with("asked again by ARP at 1970-01-01T00:00:00.000Z: silence"),
        "{silence}"
    );
    let late = seen(&heard(&[("192.0.2.21", &[9])]));
    assert!(late.contains("02:00:00:00:00:09 answered"), "{late}");
    let trouble = Heard {
        trouble: Some("eth0: no".to_owned()),
        ..heard(&[])
    };
    assert!(seen(&trouble).ends_with("not asked again now: eth0: no"));
}

#[test]
fn a_real_that_speaks_for_a_vip_is_found() {
    let plan = |claimed_by| DirectPlan {
        machines: vec![machine("192.0.2.21", known(9))],
        vips: vec![
            held(VIP, VipState::Announced, claimed_by),
            held(VIP6, VipState::Announced, None),
        ],
        interfaces: vec!["eth0".to_owned()],
        ..DirectPlan::default()
    };
    for (answers, claimed_by, wanted) in [
        (heard(&[(VIP, &[])]), None, (Checked::Good, None)),
        (heard(&[(VIP, &[8])]), None, (Checked::Good, None)),
        // A VIP of the other family is another matter.
        (heard(&[(VIP6, &[9])]), None, (Checked::Skipped, None)),
        (heard(&[]), None, (Checked::Skipped, None)),
        (
            heard(&[(VIP, &[8, 9])]),
            Some(mac(9)),
            (Checked::Found, found("answers-for-vip", Severity::Fault)),
        ),
        (
            heard(&[(VIP, &[])]),
            Some(mac(9)),
            (Checked::Found, found("claimed-vip", Severity::Note)),
        ),
    ] {
        let plan = plan(claimed_by);
        let (result, code, _) = judged(|r| judge::silence(&plan.machines[0], &plan, &answers, r));
        assert_eq!((result, code), wanted, "{answers:?}");
    }
}

#[test]
fn a_stranger_with_our_vip_is_found() {
    let plan = DirectPlan {
        machines: vec![machine("192.0.2.21", known(9))],
        ..DirectPlan::default()
    };
    for (state, answers, wanted) in [
        (
            VipState::Announced,
            heard(&[(VIP, &[])]),
            (Checked::Good, None),
        ),
        // A real is told of elsewhere; our own interfaces answer each other.
        (
            VipState::Announced,
            heard(&[(VIP, &[1, 9])]),
            (Checked::Good, None),
        ),
        (VipState::Announced, heard(&[]), (Checked::Skipped, None)),
        (
            VipState::Silent,
            heard(&[(VIP, &[8])]),
            (Checked::Skipped, None),
        ),
        (
            VipState::Owned,
            heard(&[(VIP, &[8])]),
            (Checked::Found, found("vip-elsewhere", Severity::Fault)),
        ),
        (
            VipState::Conflict,
            heard(&[(VIP, &[8])]),
            (Checked::Found, found("vip-conflict", Severity::Fault)),
        ),
    ] {
        let vip = held(VIP, state, None);
        let (result, code, _) = judged(|r| judge::vip(&vip, &plan, &[link()], &answers, r));
        assert_eq!((result, code), wanted, "{state} {answers:?}");
    }
}

#[test]
fn only_small_pings_answered_is_a_warning_none_says_nothing() {
    let done = |small, large| Ping::Done {
        interface: "eth0".to_owned(),
        mtu: 1500,
        answered: Ok(Answered { small, large }),
    };
    let failed = Ping::Done {
        interface: "eth0".to_owned(),
        mtu: 1500,
        answered: Err("no".to_owned()),
    };
    for (ping, wanted) in [
        (done(true, true), (Checked::Good, None)),
        (done(false, true), (Checked::Good, None)),
        (done(false, false), (Checked::Skipped, None)),
        (failed, (Checked::Skipped, None)),
        (
            Ping::Not("it is disabled".to_owned()),
            (Checked::Skipped, None),
        ),
        (
            done(true, false),
            (Checked::Found, found("mtu-differs", Severity::Warning)),
        ),
    ] {
        let real = machine("192.0.2.21", known(9));
        let (result, code, _) = judged(|r| judge::mtu(&real, ping, r));
        assert_eq!((result, code), wanted);
    }
}

#[test]
fn a_check_to_the_vip_that_fails_is_a_warning_where_the_real_is_reached() {
    let path = |way, health: Option<Health>| VipPath {
        service: "web".to_owned(),
        address: ip("192.0.2.21"),
        name: "web/rs1".to_owned(),
        way,
        health: health.map(|h| (h, "refused".to_owned())),
    };
    let wanted = found("vip-path", Severity::Warning);
    for (path, wanted) in [
        (path(known(9), Some(Health::Up)), (Checked::Good, None)),
        (
            path(known(9), Some(Health::Declined)),
            (Checked::Good, None),
        ),
        (path(known(9), None), (Checked::Skipped, None)),
        (path(silent(), Some(Health::Down)), (Checked::Skipped, None)),
        (path(known(9), Some(Health::Down)), (Checked::Found, wanted)),
    ] {
        let (result, code, _) = judged(|r| judge::path(&path, r));
        assert_eq!((result, code), wanted, "{path:?}");
    }
}

#[test]
fn a_network_that_drops_is_told_from_reals_that_are_out() {
    const SILENT: &str = "no answer within 1s";
    let path = |n: u8, way, health: Option<(Health, &str)>| VipPath {
        service: "web".to_owned(),
        address: ip(&format!("192.0.2.2{n}")),
        name: format!("web/rs{n}"),
        way,
        health: health.map(|(h, reason)| (h, reason.to_owned())),
    };
    let both = |one: Option<(Health, &str)>, other: Option<(Health, &str)>| {
        vec![path(1, known(1), one), path(2, known(2), other)]
    };
    let dead = || Some((Health::Down, SILENT));
    let up = || Some((Health::Up, "in 1 ms"));
    let forbids = |severity| (Checked::Found, found("network-forbids", severity));
    let silent = |names: &[&str]| -> Vec<(String, String)> {
        names
            .iter()
            .map(|n| (n.to_string(), "0 of 30".to_owned()))
            .collect()
    };
    let none = || silent(&[]);
    for (paths, alive, silent, wanted) in [
        (both(dead(), dead()), 2, none(), forbids(Severity::Fault)),
        // Who answers no pings either may just be off.
        (both(dead(), dead()), 1, none(), (Checked::Good, None)),
        (both(dead(), up()), 2, none(), (Checked::Good, None)),
        (
            both(dead(), Some((Health::Down, "connection refused"))),
            2,
            none(),
            (Checked::Good, None),
        ),
        (
            vec![path(1, known(1), dead()), path(2, Way::Unknown, dead())],
            2,
            none(),
            (Checked::Skipped, None),
        ),
        (
            both(up(), up()),
            2,
            silent(&["web/rs1", "web/rs2"]),
            forbids(Severity::Warning),
        ),
        (
            both(up(), up()),
            2,
            silent(&["web/rs1"]),
            (Checked::Good, None),
        ),
    ] {
        let alive = (1..=alive).map(|n| ip(&format!("192.0.2.2{n}"))).collect();
        let (result, code, _) = judged(|r| network::judge(&paths, &alive, &silent, r));
        assert_eq!((result, code), wanted, "{paths:?} {silent:?}");
    }
}

#[test]
fn a_vip_that_nobody_asks_for_is_told() {
    for (vip, told) in [("192.0.2.77", false), ("203.0.113.10", true)] {
        let mut report = Report::default();
        let vip = held(vip, VipState::Announced, None);
        judge::subnet(&vip, &[link()], &mut report);
        let codes: Vec<&str> = report.findings.iter().map(|f| f.code.as_str()).collect();
        assert_eq!(codes, if told { vec!["vip-off-subnet"] } else { vec![] });
        assert!(view(report).clean, "a note");
    }
}

#[test]
fn questions_are_for_vips_and_for_the_lost() {
    let down = Link {
        up: false,
        name: "eth1".to_owned(),
        ..link()
    };
    let other = HeldVip {
        interface: "eth1".to_owned(),
        ..held(VIP6, VipState::Silent, None)
    };
    let disabled = Machine {
        disabled: true,
        ..machine("192.0.2.23", silent())
    };
    let plan = DirectPlan {
        machines: vec![
            machine("192.0.2.21", known(9)),
            machine("192.0.2.22", silent()),
            disabled,
        ],
        vips: vec![held(VIP, VipState::Announced, None), other],
        interfaces: vec!["eth0".to_owned(), "eth1".to_owned()],
        ..DirectPlan::default()
    };
    let asked: Vec<IpAddr> = questions(&plan, &[link(), down])
        .iter()
        .map(|q| q.target)
        .collect();
    assert_eq!(asked, [ip(VIP), ip("192.0.2.22")]);
}

/// A balancer and a real with both VIPs on `lo`, on one network.
struct Cable {
    balancer: Netns,
    real: Netns,
}

fn cable() -> Option<Cable> {
    let (balancer, real) = (Netns::new()?, Netns::new()?);
    real.ip("link add eth0 address 02:00:00:00:00:09 type veth peer name lbdv0");
    real.ip(&format!("link set lbdv0 netns {}", balancer.path()));
    for (netns, device, host) in [(&real, "eth0", 21), (&balancer, "lbdv0", 2)] {
        netns.ip(&format!("link set {device} up"));
        netns.ip(&format!("addr add 192.0.2.{host}/24 dev {device}"));
        netns.ip(&format!("addr add 2001:db8::{host}/64 dev {device} nodad"));
    }
    real.ip(&format!("addr add {VIP}/32 dev lo"));
    real.ip(&format!("addr add {VIP6}/128 dev lo nodad"));
    Some(Cable { balancer, real })
}

impl Cable {
    fn arp_ignore(&self, value: &'static str) {
        self.real.run(move || {
            std::fs::write("/proc/sys/net/ipv4/conf/all/arp_ignore", value)
                .expect("this thread's namespace");
        });
    }

    /// Both families' real, seen from the balancer.
    fn examined(&self) -> DoctorView {
        self.balancer.block_on(|| async {
            let links = crate::link::snapshot().await.expect("interfaces");
            let link = links.iter().find(|l| l.name == "lbdv0").expect("a cable");
            let at = |address| {
                let way = Way::Known {
                    ifindex: link.ifindex,
                    mac: mac(9),
                };
                machine(address, way)
            };
            let held = |vip| HeldVip {
                interface: "lbdv0".to_owned(),
                ..held(vip, VipState::Announced, None)
            };
            let plan = DirectPlan {
                machines: vec![at("192.0.2.21"), at("2001:db8::21")],
                vips: vec![held(VIP), held(VIP6)],
                interfaces: vec!["lbdv0".to_owned()],
                ..DirectPlan::default()
            };
            view(examine(&plan, &[], &links).await)
        })
    }
}

fn codes(view: &DoctorView) -> BTreeSet<&str> {
    view.findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn a_good_real_is_good_in_both_families() {
    let Some(cable) = cable() else { return };
    cable.arp_ignore("1");
    let view = cable.examined();
    let good = |check: &lbcore::api::CheckDone| check.result == Checked::Good;
    assert!(view.checks.iter().all(good), "{view:?}");
    assert_eq!(view.checks.len(), 2 * 3 + 2, "{view:?}");
}

#[test]
fn a_real_that_answers_is_heard() {
    let Some(cable) = cable() else { return };
    let view = cable.examined();
    assert_eq!(codes(&view), ["answers-for-vip"].into(), "{view:?}");
    assert_eq!(view.findings.len(), 1, "lo is silent in IPv6: {view:?}");
    assert!(view.findings[0].fix.contains("arp_ignore=1"), "{view:?}");
    cable.arp_ignore("1");
    cable
        .real
        .ip(&format!("addr add {VIP6}/128 dev eth0 nodad"));
    let view = cable.examined();
    assert_eq!(codes(&view), ["answers-for-vip"].into(), "{view:?}");
    assert!(
        view.findings[0].seen.contains("neighbour solicitation"),
        "{view:?}"
    );
}

#[test]
fn a_smaller_mtu_is_seen_in_both_families() {
    let Some(cable) = cable() else { return };
    cable.arp_ignore("1");
    cable.real.ip("link set eth0 mtu 1400");
    let view = cable.examined();
    assert_eq!(codes(&view), ["mtu-differs"].into(), "{view:?}");
    assert_eq!(view.findings.len(), 2, "{view:?}");
    assert!(!view.clean);
    cable.real.ip("link set eth0 mtu 1500");
    assert!(cable.examined().clean);
}
