//! The rules that judge, then dials in namespaces: a balancer between clients' network and reals.

use super::host::{Forwarding, ReversePath};
use super::*;
use crate::intercept::Object;
use crate::sys::netns::Netns;
use lbcore::api::Severity;
use lbcore::net::ServiceKey;
use std::net::TcpListener;

fn patient(name: &str, at: &str) -> Patient {
    Patient {
        name: name.to_owned(),
        protocol: Protocol::Tcp,
        at: at.parse().expect("an address"),
        borrowed: true,
        disabled: false,
    }
}

/// The only finding: its code and severity; and what all checks said.
fn told(report: &Report) -> (Option<(&str, Severity)>, String) {
    assert!(report.findings.len() <= 1, "{report:?}");
    for finding in &report.findings {
        for words in [&finding.seen, &finding.why, &finding.fix] {
            assert!(!words.is_empty() && !words.contains('\n'), "{finding:?}");
        }
    }
    let finding = report.findings.first();
    let words: Vec<String> = report
        .checks
        .iter()
        .map(|c| format!("{}: {}: {}", c.check, c.result.word(), c.seen))
        .collect();
    let finding = finding.map(|f| (f.code.as_str(), f.severity));
    (finding, words.join("\n"))
}

fn judged(judge: impl FnOnce(&mut Report)) -> Report {
    let mut report = Report::default();
    judge(&mut report);
    report
}

#[test]
fn a_strict_filter_matters_where_there_are_two_ways() {
    let seen = |strict: &[&str], interfaces, dropped| ReversePath {
        strict: strict.iter().map(ToString::to_string).collect(),
        interfaces,
        dropped,
    };
    for (facts, wanted) in [
        (seen(&[], 2, 9), None),
        (seen(&["eth0"], 1, 9), None),
        (seen(&["eth0"], 2, 0), Some(Severity::Note)),
        (seen(&["eth0", "eth1"], 2, 9), Some(Severity::Warning)),
    ] {
        let report = judged(|r| judge::rp_filter(&facts, r));
        let (found, _) = told(&report);
        let wanted = wanted.map(|severity| ("rp-filter-strict", severity));
        assert_eq!(found, wanted, "{facts:?}");
    }
    let report = judged(|r| judge::rp_filter(&seen(&["eth0", "eth1"], 2, 9), r));
    assert_eq!(
        report.findings[0].fix,
        "sysctl -w net.ipv4.conf.eth0.rp_filter=2 net.ipv4.conf.eth1.rp_filter=2"
    );
}

#[test]
fn forwarding_is_a_note_for_the_family_that_needs_it() {
    let plan = DoctorPlan {
        reals: vec![patient("web/rs1", "10.0.0.1:80")],
        ..DoctorPlan::default()
    };
    for (v4, v6, note) in [(false, false, true), (true, false, false)] {
        let report = judged(|r| judge::forwarding(&plan, &Forwarding { v4, v6 }, r));
        let wanted = note.then_some(("ip-forward-off", Severity::Note));
        assert_eq!(told(&report).0, wanted);
        assert!(view(report).clean, "a note is no fault");
    }
}

#[test]
fn ports_are_low_before_they_are_gone_and_after() {
    let plan = |connections, no_ports| DoctorPlan {
        busiest: Some(Busiest {
            real: "web/rs1".to_owned(),
            connections,
        }),
        no_ports,
        ..DoctorPlan::default()
    };
    for (connections, no_ports, about) in [
        (79, 0, None),
        (80, 0, Some("web/rs1")),
        (3, 5, Some("")),
        (3, 0, None),
    ] {
        let plan = plan(connections, no_ports);
        let report = judged(|r| judge::ports(&plan, Some(100), r));
        let found = report.findings.first();
        assert_eq!(found.map(|f| f.about.as_str()), about, "{connections}");
        assert!(found.is_none_or(|f| f.code == "ports-low"));
    }
    let unread = judged(|r| judge::ports(&plan(1, 0), None, r));
    assert!(told(&unread).1.starts_with("ports: skipped"), "{unread:?}");
}

fn restored(restored: u64) -> DoctorPlan {
    DoctorPlan {
        restored,
        config: "/etc/lbd/lbd.toml".into(),
        ..DoctorPlan::default()
    }
}

#[test]
fn the_command_that_makes_the_table_names_the_file_in_force() {
    let missing = Ok(vec![Object::Table]);
    let report = judged(|r| judge::rules(&missing, &restored(0), r));
    let fix = &report.findings[0].fix;
    let command = "lbd --config /etc/lbd/lbd.toml --print-rules | nft -f -";
    assert!(fix.ends_with(command), "{fix}");
}

#[test]
fn missing_things_and_trouble_are_faults() {
    let report = judged(|r| judge::capability(Some("CAP_NET_RAW"), r));
    assert_eq!(
        told(&report).0,
        Some(("capability-missing", Severity::Fault))
    );
    let words = ["192.0.2.10:80/tcp: address in use".to_owned()];
    let report = judged(|r| judge::trouble(&words, r));
    assert_eq!(told(&report).0, Some(("not-listening", Severity::Fault)));
    let report = judged(|r| judge::rules(&Ok(vec![]), &restored(3), r));
    assert_eq!(told(&report).0, Some(("rules-restored", Severity::Note)));
    let unreadable = Err("no nft".to_owned());
    let report = judged(|r| judge::rules(&unreadable, &restored(0), r));
    let (found, words) = told(&report);
    assert_eq!(found, None);
    assert_eq!(words, "rules: skipped: they cannot be read: no nft");
}

#[test]
fn every_code_is_on_the_page_and_made_somewhere() {
    let page = include_str!("../../../docs/doctor.md");
    let (_, table) = page.split_once("## Findings").expect("a table");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let on_page: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let in_code: Vec<&str> = Code::ALL.iter().map(|code| code.word()).collect();
    assert_eq!(on_page, in_code);
    let makers = [
        include_str!("mod.rs"),
        include_str!("judge.rs"),
        include_str!("here/judge/mod.rs"),
        include_str!("here/judge/links.rs"),
        include_str!("here/judge/vips.rs"),
        include_str!("here/judge/files.rs"),
        include_str!("here/judge/speed.rs"),
        include_str!("direct/judge.rs"),
        include_str!("direct/network.rs"),
        include_str!("../../../lbctl/src/offline.rs"),
    ];
    for code in Code::ALL {
        let name = format!("Code::{code:?}");
        let made = makers.iter().any(|text| {
            let mut found = text.match_indices(&name);
            found.any(|(at, _)| !text[at + name.len()..].starts_with(|c: char| c.is_alphanumeric()))
        });
        assert!(made, "{name}");
    }
}

#[test]
fn the_worst_comes_first() {
    let mut report = judged(|r| judge::rules(&Ok(vec![]), &restored(3), r));
    judge::capability(Some("CAP_NET_RAW"), &mut report);
    let view = view(report);
    assert!(!view.clean);
    assert_eq!(view.findings[0].code, "capability-missing");
}

/// A balancer and a real on one network; the real's way to everybody else is the balancer.
struct Legs {
    balancer: Netns,
    real: Netns,
}

const REAL: &str = "10.9.0.21:80";
const CLIENT: &str = "198.51.100.7";

fn legs() -> Option<Legs> {
    let (balancer, real) = (Netns::new()?, Netns::new()?);
    real.ip("link add lbdd1 type veth peer name lbdd0");
    real.ip(&format!("link set lbdd0 netns {}", balancer.path()));
    for (netns, device, host) in [(&real, "lbdd1", 21), (&balancer, "lbdd0", 1)] {
        netns.ip(&format!("link set {device} up"));
        netns.ip(&format!("addr add 10.9.0.{host}/24 dev {device}"));
        netns.ip(&format!(
            "addr add 2001:db8:9::{host}/64 dev {device} nodad"
        ));
    }
    real.ip("route add default via 10.9.0.1");
    real.ip("-6 route add default via 2001:db8:9::1");
    Some(Legs { balancer, real })
}

fn plan(real: &str, client: &str) -> DoctorPlan {
    let at: SocketAddr = real.parse().expect("an address");
    let vip: IpAddr = if at.is_ipv4() {
        [203, 0, 113, 10].into()
    } else {
        [0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x10].into()
    };
    let key = ServiceKey {
        vip: vip.into(),
        port: 80,
        protocol: Protocol::Tcp,
    };
    DoctorPlan {
        reals: vec![patient("web/rs1", real)],
        vips: vec![vip],
        intercept: InterceptPlan::new(vec![key], vec![(Protocol::Tcp, at)]),
        client: Some(client.parse().expect("an address")),
        ..DoctorPlan::default()
    }
}

impl Legs {
    fn serve(&self, at: &'static str) -> TcpListener {
        self.real.run(move || TcpListener::bind(at).expect("bound"))
    }

    fn examined(&self, mut plan: DoctorPlan) -> DoctorView {
        self.balancer.block_on(move || async move {
            plan.links = Arc::new(crate::link::snapshot().await.expect("interfaces"));
            examine(plan).await
        })
    }

    fn intercept(&self, plan: &DoctorPlan) {
        let plan = plan.intercept.clone();
        self.balancer
            .block_on(move || async move { intercept::apply(&plan).await.expect("in force") });
    }
}

/// What was said of the return path.
fn path(view: &DoctorView) -> (Checked, &str) {
    let check = view
        .checks
        .iter()
        .find(|c| c.check.starts_with("return path"));
    let check = check.expect("it was looked at");
    (check.result, &check.seen)
}

fn codes(view: &DoctorView) -> Vec<&str> {
    view.findings.iter().map(|f| f.code.as_str()).collect()
}

#[test]
fn answers_that_come_back_are_good_also_refusals() {
    let Some(legs) = legs() else { return };
    for (real, client) in [(REAL, CLIENT), ("[2001:db8:9::21]:80", "2001:db8:1::7")] {
        let plan = plan(real, client);
        legs.intercept(&plan);
        // Nobody listens: a reset comes, and that is an answer.
        let refused = legs.examined(plan.clone());
        assert_eq!(path(&refused).0, Checked::Good, "{refused:?}");
        let listener = legs.serve(real);
        let accepted = legs.examined(plan);
        assert_eq!(path(&accepted).0, Checked::Good, "{accepted:?}");
        assert!(accepted.clean, "{accepted:?}");
        assert_eq!(codes(&accepted), ["ip-forward-off"]);
        drop(listener);
    }
}

#[test]
fn answers_that_go_astray_are_a_fault() {
    let Some(legs) = legs() else { return };
    let _listener = legs.serve(REAL);
    legs.real
        .ip("route replace default via 10.9.0.99 dev lbdd1");
    let plan = plan(REAL, CLIENT);
    legs.intercept(&plan);
    let view = legs.examined(plan);
    assert!(!view.clean);
    let finding = &view.findings[0];
    assert_eq!(
        (
            finding.code.as_str(),
            finding.severity,
            finding.about.as_str()
        ),
        ("return-path", Severity::Fault, "web/rs1")
    );
    assert!(finding.seen.contains(CLIENT), "{finding:?}");
    assert!(finding.fix.contains("source = \"self\""), "{finding:?}");
}

#[test]
fn a_real_that_answers_nobody_says_nothing_of_the_way_back() {
    let Some(legs) = legs() else { return };
    // No such machine: the kernel gives up asking for its MAC after three seconds.
    let plan = plan("10.9.0.77:80", CLIENT);
    legs.intercept(&plan);
    let view = legs.examined(plan);
    assert_eq!(path(&view).0, Checked::Skipped, "{view:?}");
    assert!(path(&view).1.contains("does not answer this host either"));
}

#[test]
fn without_rules_it_is_said_and_nothing_dialled() {
    let Some(legs) = legs() else { return };
    let _listener = legs.serve(REAL);
    let view = legs.examined(plan(REAL, CLIENT));
    assert!(codes(&view).contains(&"rules-missing"), "{view:?}");
    assert_eq!(path(&view).0, Checked::Skipped, "{view:?}");

    let plan = plan(REAL, CLIENT);
    legs.intercept(&plan);
    legs.balancer.ip("rule del priority 76");
    let view = legs.examined(plan);
    let faults: Vec<_> = view
        .findings
        .iter()
        .filter(|f| f.code == "rules-missing")
        .collect();
    assert_eq!(faults.len(), 1, "{view:?}");
    assert!(
        faults[0].fix.contains("ip rule add priority 76"),
        "{view:?}"
    );
}

#[test]
fn addresses_that_prove_nothing_are_not_borrowed() {
    let Some(legs) = legs() else { return };
    let _listener = legs.serve(REAL);
    legs.intercept(&plan(REAL, CLIENT));
    for (client, why) in [
        ("10.9.0.50", "on the real's own network"),
        ("10.9.0.1", "this host's own address"),
        ("10.9.0.21", "a real's address"),
        ("203.0.113.10", "this host's own address"),
        ("127.0.0.1", "nobody's address"),
        ("224.0.0.1", "nobody's address"),
        ("2001:db8:1::7", "another family"),
    ] {
        let view = legs.examined(plan(REAL, client));
        let (result, words) = path(&view);
        assert_eq!(result, Checked::Skipped, "{client}");
        assert!(words.contains(why), "{client}: {words}");
    }
    // Of those that were seen, the first that will do is taken.
    let seen = |clients: &[&str]| {
        let mut plan = plan(REAL, CLIENT);
        plan.client = None;
        let clients = clients.iter().map(|c| c.parse().expect("an address"));
        plan.seen = clients.collect();
        legs.examined(plan)
    };
    let view = seen(&["10.9.0.50", "198.51.100.9"]);
    assert_eq!(
        path(&view),
        (Checked::Good, "answers to 198.51.100.9 come back")
    );
    let view = seen(&[]);
    assert_eq!(path(&view).0, Checked::Skipped);
    assert!(path(&view).1.contains("--client ADDRESS"));
}

#[test]
fn strict_filters_are_read_from_the_kernel() {
    let Some(legs) = legs() else { return };
    legs.balancer.ip("link add lbdd8 type veth peer name lbdd9");
    legs.balancer.ip("link set lbdd8 up");
    legs.balancer.ip("addr add 10.8.0.1/24 dev lbdd8");
    legs.balancer.run(|| {
        for (name, value) in [("all", "0"), ("lbdd0", "1"), ("lbdd8", "2")] {
            let path = format!("/proc/sys/net/ipv4/conf/{name}/rp_filter");
            std::fs::write(path, value).expect("this thread's namespace");
        }
    });
    let facts = legs.balancer.block_on(|| async {
        let links = crate::link::snapshot().await.expect("interfaces");
        host::rp_filter(&links)
    });
    assert_eq!(facts.strict, ["lbdd0"]);
    assert_eq!(facts.interfaces, 2);
}
