//! What people see, whole screens at a time.
#![allow(clippy::unwrap_used)]

use super::*;
use lbcore::api::{
    CandidateView, ChangeView, CheckDone, Checked, DoctorView, ExplainView, Fate, FindingView,
    FlowFound, FlowView, FlowsView, PacketKind, Plan, RealPlan, RealPlanChange, RealState,
    ReloadView, SavedState, SavedView, ServicePlan, ServicePlanChange, ServiceView, ServicesView,
    Severity, StatusView, Timestamp, Verdict, VipsView,
};
use lbcore::net::Protocol;
use std::time::{Duration, SystemTime};

fn fixture() -> StatusView {
    let text = include_str!("../../../lbcore/src/api/fixtures/status.json");
    serde_json::from_str(text).unwrap()
}

fn proxied() -> ServiceView {
    let text = include_str!("../../../lbcore/src/api/fixtures/proxied.json");
    serde_json::from_str(text).unwrap()
}

fn look() -> Look {
    // 2025-11-21T07:31:00Z, shortly after everything in the fixture.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_763_710_260);
    Look {
        wide: false,
        headers: true,
        color: false,
        width: None,
        now,
    }
}

fn drawn<T>(view: &T, look: Look, draw: fn(&T, &mut Page)) -> String {
    let mut page = Page::new(look);
    draw(view, &mut page);
    page.into_text()
}

#[test]
fn status_fits_one_screen() {
    insta::assert_snapshot!(drawn(&fixture(), look(), status::status));
}

#[test]
fn status_wide() {
    insta::assert_snapshot!(drawn(
        &fixture(),
        Look {
            wide: true,
            ..look()
        },
        status::status
    ));
}

#[test]
fn status_wraps_reasons_where_the_terminal_ends() {
    let mut view = fixture();
    view.services[0].reals[1].reason =
        "192.0.2.22 is not on-link via eth0: it is behind the gateway 192.0.2.1".into();
    let text = drawn(
        &view,
        Look {
            width: Some(80),
            ..look()
        },
        status::status,
    );
    insta::assert_snapshot!(text);
}

#[test]
fn a_narrow_terminal_breaks_lines_itself() {
    let wide = drawn(&fixture(), look(), status::status);
    let narrow = drawn(
        &fixture(),
        Look {
            width: Some(60),
            ..look()
        },
        status::status,
    );
    let table = |text: &str| text.split("\n\n").nth(1).unwrap().to_string();
    assert_eq!(table(&narrow), table(&wide));
    let none = drawn(
        &fixture(),
        Look {
            width: Some(0),
            ..look()
        },
        status::status,
    );
    assert_eq!(none, wide);
}

#[test]
fn status_of_a_bad_night() {
    let mut view = fixture();
    view.ready = false;
    view.ready_reason = "2 reals not judged yet: web/rs1, web/rs2".into();
    view.last_good_in_use = true;
    view.interfaces[0].state = "no carrier".into();
    view.flow_entries = 1_000_000;
    view.frames.ring_drops = 77;
    view.services.clear();
    view.vips.clear();
    view.drift.clear();
    insta::assert_snapshot!(drawn(&view, look(), status::status));
}

#[test]
fn status_in_colour_says_the_same_words() {
    let plain = drawn(&fixture(), look(), status::status);
    let colored = drawn(
        &fixture(),
        Look {
            color: true,
            ..look()
        },
        status::status,
    );
    assert_ne!(plain, colored);
    assert!(colored.contains("\x1b["), "{colored}");
    assert_eq!(squeezed(&without_escapes(&colored)), squeezed(&plain));
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap().to_string();
    first
        + &parts
            .map(|part| part.split_once('m').unwrap().1)
            .collect::<String>()
}

fn squeezed(text: &str) -> String {
    text.lines()
        .map(|line| line.trim_end().to_string() + "\n")
        .collect()
}

#[test]
fn t60c_names_from_elsewhere_do_not_move_the_cursor() {
    let mut view = fixture();
    view.services[0].reals[1].reason = "http 200: \x1b[2J\nall is well\u{202e}".into();
    view.warnings.push("a\rb".into());
    let text = drawn(&view, look(), status::status);
    assert!(
        text.contains(r"http 200: \u{1b}[2J\nall is well\u{202e}"),
        "{text}"
    );
    assert!(text.contains(r"warning: a\rb"), "{text}");
    assert!(
        text.chars()
            .all(|c| c == '\n' || lbcore::api::is_printable(c))
    );
}

#[test]
fn service_list_and_show() {
    let services = ServicesView {
        services: fixture().services,
    };
    let mut text = drawn(&services, look(), service::list);
    text.push_str("---\n");
    text.push_str(&drawn(
        &services,
        Look {
            wide: true,
            headers: false,
            ..look()
        },
        service::list,
    ));
    text.push_str("---\n");
    text.push_str(&drawn(&services.services[0], look(), service::show));
    insta::assert_snapshot!(text);
}

#[test]
fn real_list_and_show() {
    let services = fixture().services;
    let reals = services.iter().flat_map(|s| {
        s.reals.iter().map(|r| real::RealOf {
            service: s.name.clone(),
            real: r.clone(),
        })
    });
    let reals = real::RealList {
        reals: reals.collect(),
    };
    let mut text = drawn(&reals, look(), real::list);
    text.push_str("---\n");
    text.push_str(&drawn(
        &reals,
        Look {
            wide: true,
            ..look()
        },
        real::list,
    ));
    text.push_str("---\n");
    text.push_str(&drawn(&services[0].reals[0], look(), real::show));
    insta::assert_snapshot!(text);
}

/// Where all is proxied there are no frames to speak of.
#[test]
fn status_of_a_host_that_only_proxies() {
    let mut view = fixture();
    view.engines.clear();
    view.interfaces.clear();
    view.services = vec![proxied()];
    view.vips.clear();
    view.drift.clear();
    view.warnings.clear();
    let wide = Look {
        wide: true,
        ..look()
    };
    let mut text = drawn(&view, look(), status::status);
    text.push_str("---\n");
    text.push_str(&drawn(&view, wide, status::status));
    insta::assert_snapshot!(text);
}

#[test]
fn a_proxied_service_and_its_reals() {
    let service = proxied();
    let mut text = drawn(&service, look(), service::show);
    for real in &service.reals {
        text.push_str("---\n");
        text.push_str(&drawn(real, look(), real::show));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_doctor_says_what_why_and_how_to_mend_it() {
    let check = |check: &str, result, seen: &str| CheckDone {
        check: check.into(),
        result,
        seen: seen.into(),
    };
    let finding = FindingView {
        code: "return-path".into(),
        severity: Severity::Fault,
        about: "web/rs1".into(),
        seen: "10.0.0.1 answers this host, but not the client 198.51.100.7".into(),
        why: "lbd must get the answers".into(),
        fix: "on the real: ip route replace default via THIS-HOST".into(),
    };
    let note = FindingView {
        code: "ip-forward-off".into(),
        severity: Severity::Note,
        about: String::new(),
        seen: "this host does not forward IPv4".into(),
        why: "proxied connections need none".into(),
        fix: "if it shall: sysctl -w net.ipv4.ip_forward=1".into(),
    };
    let sick = DoctorView {
        clean: false,
        findings: vec![finding, note],
        checks: vec![
            check("rules", Checked::Good, "all there"),
            check("return path of web/rs1", Checked::Found, "no answer"),
            check("return path of web/rs2", Checked::Skipped, "udp"),
        ],
    };
    let well = DoctorView {
        clean: true,
        findings: vec![],
        checks: vec![check("rules", Checked::Good, "all there\x1b[2J")],
    };
    let mut text = drawn(&sick, look(), doctor::doctor);
    text.push_str("---\n");
    text.push_str(&drawn(&well, look(), doctor::doctor));
    insta::assert_snapshot!(text);
}

#[test]
fn vip_list() {
    let vips = VipsView {
        vips: fixture().vips,
        changes: vec![],
        dry_run: false,
    };
    let mut text = drawn(&vips, look(), vip::list);
    text.push_str("---\n");
    text.push_str(&drawn(
        &vips,
        Look {
            wide: true,
            ..look()
        },
        vip::list,
    ));
    insta::assert_snapshot!(text);
}

#[test]
fn flows_list() {
    let flow = |client: &str, idle_ms| FlowView {
        service: "web".into(),
        real: "rs1".into(),
        protocol: Protocol::Tcp,
        client: client.parse().unwrap(),
        vip: "192.0.2.10:443".parse().unwrap(),
        state: "established".into(),
        idle_ms,
        expires_ms: Some(900_000 - idle_ms),
        age_ms: Some(3_600_000),
        server: None,
        bytes_in: None,
        bytes_out: None,
    };
    let flows = vec![
        flow("198.51.100.7:50000", 1200),
        flow("[2001:db8::7]:1", 250_000),
    ];
    insta::assert_snapshot!(drawn(
        &FlowsView {
            flows,
            matched: 2345,
            truncated: true
        },
        look(),
        flows::list
    ));
}

#[test]
fn proxied_flows_have_columns_of_their_own() {
    let flow = |server: Option<&str>| FlowView {
        service: "shop".into(),
        real: "rs1".into(),
        protocol: Protocol::Tcp,
        client: "198.51.100.7:50000".parse().unwrap(),
        vip: "203.0.113.10:443".parse().unwrap(),
        state: "established".into(),
        idle_ms: 2000,
        expires_ms: None,
        age_ms: server.map(|_| 250_000),
        server: server.map(|server| server.parse().unwrap()),
        bytes_in: server.map(|_| 1500),
        bytes_out: server.map(|_| 9_876_543_210),
    };
    let view = FlowsView {
        flows: vec![flow(None), flow(Some("10.0.0.1:8443"))],
        matched: 1,
        truncated: false,
    };
    insta::assert_snapshot!(drawn(&view, look(), flows::list));
}

fn explained() -> ExplainView {
    let candidate = |name: &str, state, chosen, why_not: Option<&str>| CandidateView {
        name: name.into(),
        address: "192.0.2.21".parse().unwrap(),
        port: None,
        state,
        weight: 1,
        flows: 1222,
        chosen,
        why_not: why_not.map(str::to_string),
    };
    ExplainView {
        protocol: Protocol::Tcp,
        client: "198.51.100.7:50000".parse().unwrap(),
        vip: "192.0.2.10:443".parse().unwrap(),
        packet: Some(PacketKind::Syn),
        service: Some("web".into()),
        near: vec![],
        scheduler: Some("maglev".into()),
        flow: FlowFound::Miss,
        entry: None,
        hash: Some("0123456789abcdef".into()),
        ring_slot: Some(4711),
        ring_real: Some("rs1".into()),
        candidates: vec![
            candidate("rs1", RealState::Up, true, None),
            candidate(
                "rs2",
                RealState::Down,
                false,
                Some("down: connection refused"),
            ),
        ],
        real: Some("rs1".into()),
        mac: Some("02:00:00:00:00:21".into()),
        interface: Some("eth0".into()),
        server: None,
        source: None,
        verdict: Verdict::Forward,
        drop_reason: None,
        steps: vec!["service web answers there".into(), "the flow is new".into()],
    }
}

#[test]
fn explain_tells_the_verdict_first() {
    let mut text = drawn(&explained(), look(), explain::explain);
    text.push_str("---\n");
    let dropped = ExplainView {
        verdict: Verdict::Drop,
        drop_reason: Some("no_real".into()),
        candidates: vec![],
        ..explained()
    };
    text.push_str(&drawn(&dropped, look(), explain::explain));
    text.push_str("---\n");
    let dialled = ExplainView {
        verdict: Verdict::Proxy,
        server: Some("10.0.0.1:8443".parse().unwrap()),
        source: Some("198.51.100.7".parse().unwrap()),
        mac: None,
        interface: None,
        candidates: vec![CandidateView {
            port: Some(8443),
            ..explained().candidates.remove(0)
        }],
        ..explained()
    };
    text.push_str(&drawn(&dialled, look(), explain::explain));
    text.push_str("---\n");
    let refused = ExplainView {
        verdict: Verdict::Refuse,
        drop_reason: Some("full".into()),
        candidates: vec![],
        ..explained()
    };
    text.push_str(&drawn(&refused, look(), explain::explain));
    insta::assert_snapshot!(text);
}

#[test]
fn changes_are_told() {
    let change = |changes: &[&str]| ChangeView {
        service: Some("web".into()),
        changes: changes.iter().map(ToString::to_string).collect(),
        revision: 8,
        generation: 42,
        saved: SavedView {
            state: SavedState::Yes,
            files: vec!["/etc/lbd/lbd.toml".into()],
            reason: None,
        },
        plan: Plan {
            services: vec![ServicePlan {
                service: "web".into(),
                change: ServicePlanChange::Changed,
                reals: vec![RealPlan {
                    real: "rs3".into(),
                    address: "192.0.2.23".parse().unwrap(),
                    change: RealPlanChange::Removed,
                    flows: 1234,
                    fate: Fate::Linger,
                }],
                slots: 65537,
                slots_moved: 22000,
                flows: 5000,
                flows_affected: 1234,
            }],
        },
        ..ChangeView::default()
    };
    let mut text = drawn(
        &change(&["web/rs3: admin: enabled -> drain"]),
        look(),
        change::changed,
    );
    text.push_str(&drawn(&change(&[]), look(), change::changed));
    let so_already = ChangeView {
        saved: SavedView::default(),
        ..change(&[])
    };
    text.push_str(&drawn(&so_already, look(), change::changed));
    let full = ChangeView {
        saved: SavedView {
            state: SavedState::No,
            files: vec![],
            reason: Some("no space left on device".to_owned()),
        },
        plan: Plan::default(),
        ..change(&[])
    };
    text.push_str(&drawn(&full, look(), change::changed));
    let dry = ChangeView {
        dry_run: true,
        diff: "--- lbd.toml\n+++ lbd.toml\n-weight = 1\n+weight = 5\n".into(),
        ..change(&["web/rs3: weight: 1 -> 5"])
    };
    text.push_str(&drawn(&dry, look(), change::changed));
    for (state, reason) in [
        (SavedState::Runtime, None),
        (SavedState::No, Some("no space left on device".to_owned())),
    ] {
        let unsaved = ChangeView {
            saved: SavedView {
                state,
                files: vec![],
                reason,
            },
            ..change(&["web/rs3: weight: 1 -> 5"])
        };
        text.push_str(&drawn(&unsaved, look(), change::changed));
    }
    let reload = |changes: &[&str], dry_run| ReloadView {
        revision: 8,
        generation: 43,
        changes: changes.iter().map(ToString::to_string).collect(),
        warnings: vec![],
        plan: None,
        dry_run,
    };
    for dry_run in [false, true] {
        for changes in [&["web: real rs4 added"][..], &[]] {
            text.push_str(&drawn(&reload(changes, dry_run), look(), reload::reload));
        }
    }
    insta::assert_snapshot!(text);
}

#[test]
fn a_clock_that_was_set_back_breaks_nothing() {
    let mut view = fixture();
    view.started = Timestamp(look().now + Duration::from_secs(3600));
    assert!(drawn(&view, look(), status::status).contains("for 0s"));
}
