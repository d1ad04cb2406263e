//! Command lines against a stand-in for lbd: what is asked, printed, and the exit code.
#![allow(clippy::unwrap_used)]

mod common;

use common::{FakeLbd, lbctl, status};
use lbcore::api::{
    ApiError, ChangeView, CheckNowResult, CheckNowView, ClearedView, DoctorView, Envelope,
    ErrorCode, FlowFilter, FlowsView, How, InMaintenance, KeyView, LogView, MaintenanceView,
    NodesView, RealState, RealsView, ReloadView, Request, Response, ServicesView, VipVerb,
    VipsView,
};
use lbcore::config::{Admin, Keys};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

fn maintenance(on: bool, flows: u64) -> MaintenanceView {
    MaintenanceView {
        maintenance: on,
        begun: on.then_some(InMaintenance {
            since: None,
            by_uid: Some(1000),
        }),
        flows,
        vips: vec!["192.0.2.10".parse().unwrap()],
        changes: vec![],
        warnings: vec![],
        generation: 42,
        dry_run: false,
    }
}

fn log(filter: Option<&str>) -> LogView {
    LogView {
        filter: filter.unwrap_or("info").into(),
        configured: "info".into(),
        until: None,
        changes: vec![],
        dry_run: false,
    }
}

/// Knows the fixture, and does what it is told.
fn obedient() -> FakeLbd {
    FakeLbd::new(|request| {
        let mut status = status();
        Ok(match request {
            Request::Status => Response::Status(Box::new(status)),
            Request::Services => Response::Services(ServicesView {
                services: status.services,
            }),
            Request::Service { .. } => Response::Service(Box::new(status.services.remove(0))),
            Request::Reals { .. } => Response::Reals(RealsView {
                service: "web".into(),
                reals: status.services.remove(0).reals,
            }),
            Request::Real { .. } => {
                Response::Real(Box::new(status.services.remove(0).reals.remove(0)))
            }
            Request::AddService { how, .. }
            | Request::SetService { how, .. }
            | Request::RemoveService { how, .. }
            | Request::AddReal { how, .. }
            | Request::SetReal { how, .. }
            | Request::RemoveReal { how, .. }
            | Request::SetNode { how, .. } => Response::Changed(Box::new(ChangeView {
                changes: vec!["as you wish".into()],
                generation: 42,
                warnings: vec!["only one real is left".into()],
                dry_run: how.dry_run,
                ..ChangeView::default()
            })),
            Request::Vips => Response::Vips(VipsView {
                vips: status.vips,
                changes: vec![],
                dry_run: false,
            }),
            Request::Vip { dry_run, .. } => Response::Vip(VipsView {
                vips: status.vips,
                changes: vec!["vip 192.0.2.10: taken -> released".into()],
                dry_run: *dry_run,
            }),
            Request::ClearFlows { dry_run, .. } => Response::Cleared(ClearedView {
                forgotten: 12,
                connections: 3,
                sessions: 0,
                dry_run: *dry_run,
            }),
            Request::Nodes => Response::Nodes(NodesView::of(&status.services)),
            Request::Node { address } => {
                let nodes = NodesView::of(&status.services).nodes.into_iter();
                let mut meant = nodes.filter(|node| node.address == *address);
                let none = || ApiError::new(ErrorCode::NotFound, "no such address");
                Response::Node(meant.next().ok_or_else(none)?)
            }
            Request::CheckNow { .. } => {
                return Err(ApiError::new(ErrorCode::Unavailable, "others check"));
            }
            Request::Maintenance => Response::Maintenance(Box::new(maintenance(false, 0))),
            Request::SetMaintenance { on, dry_run } => {
                Response::Maintenance(Box::new(MaintenanceView {
                    changes: vec!["maintenance: off -> on".into()],
                    warnings: vec!["the kernel answers".into()],
                    dry_run: *dry_run,
                    ..maintenance(*on && !dry_run, 7)
                }))
            }
            Request::Log => Response::Log(log(None)),
            Request::SetLog { filter, .. } => Response::Log(log(filter.as_deref())),
            Request::Key => Response::Key(KeyView {
                fingerprint: status.key_fingerprint,
                file: "/var/lib/lbd/hash.key".into(),
            }),
            Request::Flows { .. } => Response::Flows(FlowsView {
                flows: vec![],
                matched: 5,
                truncated: true,
            }),
            Request::Events { .. } => {
                return Err(ApiError::new(ErrorCode::Unavailable, "8 follow already"));
            }
            Request::Explain { .. } => {
                return Err(ApiError::new(ErrorCode::Conflict, "not today"));
            }
            Request::Trace { .. } => {
                return Err(ApiError::new(
                    ErrorCode::Unavailable,
                    "4 traces run already",
                ));
            }
            Request::Doctor { .. } => Response::Doctor(Box::default()),
            Request::Reload { dry_run, .. } => Response::Reload(ReloadView {
                revision: 8,
                generation: 43,
                changes: vec!["web: real rs4 added".into()],
                warnings: vec![],
                plan: None,
                dry_run: *dry_run,
            }),
            Request::Config(_) => {
                return Err(ApiError::new(ErrorCode::Conflict, "not today"));
            }
        })
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn status_is_readable_and_stable() {
    let lbd = obedient();
    let table = lbd.lbctl("status").assert().success();
    let table = text(&table.get_output().stdout);
    assert!(
        table.starts_with("lbd 0.1.0 is ready: every real was judged\n"),
        "{table}"
    );
    assert!(!table.contains('\x1b'), "no colours into a pipe: {table}");

    let json = lbd.lbctl("-o json status").assert().success();
    let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
    let fixture = include_str!("../../lbcore/src/api/fixtures/status.json");
    assert_eq!(json, serde_json::from_str::<Value>(fixture).unwrap());
}

/// Two events as lbd sends them, the second of a kind that is yet to be invented.
const EVENTS: &str = concat!(
    r#"{"api_version":"v1","seq":1,"at":"2025-11-21T07:31:05.250Z","event":"real","service":"web","#,
    r#""real":"rs1","from":"up","to":"down","reason":"odd \u202e reason"}"#,
    "\n",
    r#"{"api_version":"v1","seq":2,"at":"2025-11-21T07:31:06.250Z","event":"eclipse","of":"moon"}"#,
    "\n"
);

#[test]
fn events_are_lines_for_people_and_for_programs() {
    let lbd = FakeLbd::raw(|_| {
        let length = EVENTS.len();
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{EVENTS}")
    });
    let people = lbd.lbctl("events").assert().success();
    assert_eq!(
        text(&people.get_output().stdout),
        "2025-11-21T07:31:05.250Z  real web/rs1 up -> down: odd \\u{202e} reason\n\
         2025-11-21T07:31:06.250Z  something this version has no words for\n"
    );
    let programs = lbd.lbctl("events -o json").assert().success();
    assert_eq!(text(&programs.get_output().stdout), EVENTS);
    // Who follows is told that there will be no more.
    for line in ["events -f", "events -w"] {
        let output = lbd.lbctl(line).assert().code(5);
        let said = text(&output.get_output().stderr);
        assert!(said.contains("ended the stream of events"), "{said}");
    }
    let follow = |follow| Request::Events { follow };
    assert_eq!(
        lbd.heard(),
        [false, false, true, true].map(follow).as_slice()
    );
    obedient().lbctl("events -f").assert().code(1);
}

/// A trace as lbd sends it: how it begins, a dropped packet, and what it left out.
const TRACE: &str = concat!(
    r#"{"api_version":"v1","at":"2025-11-21T07:31:05.250Z","event":"begin","count":5,"#,
    r#""for_ms":90000,"sample":1,"rate":1}"#,
    "\n",
    r#"{"api_version":"v1","at":"2025-11-21T07:31:05.251Z","event":"packet","interface":"eth0","#,
    r#""protocol":"tcp","client":"198.51.100.7:40000","vip":"192.0.2.10:443","icmp_error":false,"#,
    r#""flags":"SYN","length":74,"packets":1,"service":"web","flow":"miss","flow_state":null,"#,
    r#""verdict":"drop","drop_reason":"no_real","reason":"odd \u202e reason","real":null,"#,
    r#""mac":null,"out":null}"#,
    "\n",
    r#"{"api_version":"v1","at":"2025-11-21T07:31:06.250Z","event":"end","why":"time","matched":9,"#,
    r#""shown":1,"sampled_out":0,"over_rate":8,"queue_full":0,"late":0}"#,
    "\n"
);

#[test]
fn a_trace_says_how_it_begins_and_what_it_left_out() {
    let answer = |body: String| {
        FakeLbd::raw(move |_| {
            let length = body.len();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
        })
    };
    let lbd = answer(TRACE.to_owned());
    let people = lbd.lbctl("trace --count 5").assert().success();
    assert_eq!(
        text(&people.get_output().stdout),
        "07:31:05.251 tcp 198.51.100.7:40000 > 192.0.2.10:443 SYN 74 B web miss: drop no_real \
         (odd \\u{202e} reason)\n"
    );
    assert_eq!(
        text(&people.get_output().stderr),
        "tracing until 5 lines or 1m 30s; Ctrl-C ends it\n\
         1 of 9 shown: time is up; not shown: 8 over --rate\n"
    );
    let programs = lbd.lbctl("trace -o json").assert().success();
    assert_eq!(text(&programs.get_output().stdout), TRACE);
    // A stream without its last line was cut off.
    let cut = TRACE
        .lines()
        .take(2)
        .map(|line| format!("{line}\n"))
        .collect();
    let output = answer(cut).lbctl("trace").assert().code(5);
    let said = text(&output.get_output().stderr);
    assert!(said.contains("ended the stream"), "{said}");
    obedient().lbctl("trace").assert().code(1);
}

#[test]
fn the_doctor_exits_by_what_it_found() {
    for (clean, code) in [(true, 0), (false, 1)] {
        let lbd = FakeLbd::new(move |_| {
            Ok(Response::Doctor(Box::new(DoctorView {
                clean,
                ..DoctorView::default()
            })))
        });
        let json = lbd.lbctl("doctor -o json").assert().code(code);
        let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
        assert_eq!(json["api_version"], "v1");
        assert_eq!(json["clean"], clean);
        lbd.lbctl("doctor --client 2001:db8::7").assert().code(code);
        let client = |text: &str| Some(text.parse().unwrap());
        assert_eq!(
            lbd.heard(),
            [
                Request::Doctor { client: None },
                Request::Doctor {
                    client: client("2001:db8::7")
                }
            ]
        );
    }
    let output = lbctl("--socket /nonexistent/lbd.sock doctor")
        .assert()
        .code(5);
    let said = text(&output.get_output().stderr);
    assert!(said.contains("systemctl status lbd"), "{said}");
    lbctl("doctor --client nobody").assert().code(2);
}

#[test]
fn lists_know_no_headers() {
    let lbd = obedient();
    for (line, first_word) in [
        ("service list", "NAME"),
        ("service list --no-headers", "web"),
        ("real list", "SERVICE"),
        ("real list web --no-headers", "web"),
        ("vip list --no-headers", "192.0.2.10"),
    ] {
        let output = lbd.lbctl(line).assert().success();
        let output = text(&output.get_output().stdout);
        assert_eq!(
            output.split_whitespace().next(),
            Some(first_word),
            "{line}: {output}"
        );
    }
}

#[test]
fn every_real_says_whose_it_is_in_json() {
    let lbd = obedient();
    for (line, count) in [("real list -o json", 4), ("real list web -o json", 3)] {
        let json = lbd.lbctl(line).assert().success();
        let json: Value = serde_json::from_slice(&json.get_output().stdout).unwrap();
        assert_eq!(json["api_version"], "v1");
        let reals = json["reals"].as_array().unwrap();
        assert_eq!(reals.len(), count, "{line}");
        assert_eq!(
            (&reals[0]["service"], &reals[0]["name"]),
            (&"web".into(), &"rs1".into())
        );
    }
}

#[test]
fn changes_are_asked_as_typed() {
    let change = |key: &str, value: Value| {
        let (service, real) = ("web".into(), "192.0.2.21".into());
        Request::SetReal {
            service,
            real,
            keys: Keys::from_iter([(key.to_owned(), value)]),
            how: How::default(),
        }
    };
    let vip = "192.0.2.10".parse().ok();
    for (line, wanted) in [
        ("real drain web 192.0.2.21", change("admin", "drain".into())),
        (
            "real enable web 192.0.2.21",
            change("admin", "enabled".into()),
        ),
        (
            "real disable web 192.0.2.21",
            change("admin", "disabled".into()),
        ),
        (
            "real set web 192.0.2.21 --weight 0",
            change("weight", 0.into()),
        ),
        (
            "vip take 192.0.2.10",
            Request::Vip {
                vip,
                verb: VipVerb::Take,
                dry_run: false,
            },
        ),
        (
            "vip release",
            Request::Vip {
                vip: None,
                verb: VipVerb::Release,
                dry_run: false,
            },
        ),
        (
            "vip auto 192.0.2.10 --dry-run",
            Request::Vip {
                vip,
                verb: VipVerb::Auto,
                dry_run: true,
            },
        ),
        (
            "flows clear --service web --client 198.51.100.0/24",
            Request::ClearFlows {
                filter: FlowFilter {
                    service: Some("web".into()),
                    client: Some("198.51.100.0/24".parse().unwrap()),
                    ..FlowFilter::default()
                },
                all: false,
                dry_run: false,
            },
        ),
        (
            "maintenance off",
            Request::SetMaintenance {
                on: false,
                dry_run: false,
            },
        ),
        (
            "log set debug --for 10m",
            Request::SetLog {
                filter: Some("debug".into()),
                for_ms: Some(600_000),
                dry_run: false,
            },
        ),
        (
            "log reset --dry-run",
            Request::SetLog {
                filter: None,
                for_ms: None,
                dry_run: true,
            },
        ),
        (
            "vip release 192.0.2.10",
            Request::Vip {
                vip,
                verb: VipVerb::Release,
                dry_run: false,
            },
        ),
        (
            "reload",
            Request::Reload {
                force: false,
                dry_run: false,
            },
        ),
        (
            "reload --force",
            Request::Reload {
                force: true,
                dry_run: false,
            },
        ),
        (
            "reload --dry-run",
            Request::Reload {
                force: false,
                dry_run: true,
            },
        ),
    ] {
        let lbd = obedient();
        lbd.lbctl(line).assert().success();
        assert_eq!(lbd.heard(), [wanted], "{line}");
    }
}

#[test]
fn what_changed_is_data_and_warnings_are_words() {
    let output = obedient().lbctl("real drain web rs1").assert().success();
    assert_eq!(
        text(&output.get_output().stdout),
        "as you wish\nin force: revision 0, generation 42\n"
    );
    assert_eq!(
        text(&output.get_output().stderr),
        "warning: only one real is left\n"
    );
}

#[test]
fn services_and_reals_are_asked_as_typed() {
    let keys = |value: Value| value.as_object().unwrap().clone();
    let how = How::default();
    let web = || "web".into();
    for (line, wanted) in [
        (
            "service add web [2001:db8::10]:443/tcp --mode dr --scheduler wrr --passive \
             --check type=http,port=80,path=/healthz --check tcp --real 2001:db8::21,weight=2 \
             --labels team=a --runtime",
            Request::AddService {
                keys: keys(serde_json::json!({
                    "name": "web", "vip": "2001:db8::10", "port": 443, "protocol": "tcp",
                    "mode": "dr", "scheduler": "wrr", "passive": true,
                    "check": [
                        {"type": "http", "port": 80, "path": "/healthz"}, {"type": "tcp"},
                    ],
                    "real": [{"address": "2001:db8::21", "weight": 2}],
                    "labels": {"team": "a"},
                })),
                how: How {
                    runtime: true,
                    ..how
                },
            },
        ),
        (
            "service set web --port 80,443 --proxy-retries 3 --unset proxy.source --unset check \
             --force",
            Request::SetService {
                service: web(),
                keys: keys(serde_json::json!({
                    "port": [80, 443], "check": null, "proxy": {"retries": 3, "source": null},
                })),
                how: How { force: true, ..how },
            },
        ),
        (
            "service remove web --now --dry-run",
            Request::RemoveService {
                service: web(),
                how: How {
                    now: true,
                    dry_run: true,
                    ..how
                },
            },
        ),
        (
            "real add web 192.0.2.23:8443 --name rs3 --backup --mac 02:00:00:00:00:23",
            Request::AddReal {
                service: web(),
                keys: keys(serde_json::json!({
                    "address": "192.0.2.23", "port": 8443, "name": "rs3", "backup": true,
                    "mac": "02:00:00:00:00:23",
                })),
                how,
            },
        ),
        (
            "real set web rs3 --weight=-1 --backup=false --unset mac",
            Request::SetReal {
                service: web(),
                real: "rs3".into(),
                keys: keys(serde_json::json!({"weight": -1, "backup": false, "mac": null})),
                how,
            },
        ),
        (
            "real remove web rs3",
            Request::RemoveReal {
                service: web(),
                real: "rs3".into(),
                how,
            },
        ),
    ] {
        let lbd = obedient();
        lbd.lbctl(line).assert().success();
        assert_eq!(lbd.heard(), [wanted], "{line}");
    }
    let output = obedient().lbctl("service set web").assert().code(2);
    let said = text(&output.get_output().stderr);
    assert!(said.contains("nothing to change"), "{said}");
}

#[test]
fn a_dry_run_says_much_and_changes_nothing() {
    for (line, words) in [
        ("real drain web rs1 --dry-run", "nothing was changed"),
        ("real drain web rs1 --dry-run --wait", "nothing was changed"),
        (
            "real set web rs1 --weight 5 --dry-run",
            "nothing was changed",
        ),
        ("vip release 192.0.2.10 --dry-run", "would change: vip"),
    ] {
        let lbd = obedient();
        let output = lbd.lbctl(line).assert().success();
        let said = text(&output.get_output().stderr);
        assert!(said.contains(words), "{line}: {said}");
        assert!(
            lbd.heard().iter().all(|request| match request {
                Request::SetReal { how, .. } => how.dry_run,
                other => !other.changes(),
            }),
            "{line}"
        );
    }
}

#[test]
fn filters_reach_lbd_and_a_cut_listing_says_so() {
    let lbd = obedient();
    let line = "flows --service 192.0.2.10:443/tcp --real rs1 --client 198.51.100.0/24 --limit 5";
    let output = lbd.lbctl(line).assert().success();
    assert!(text(&output.get_output().stderr).contains("--limit"));
    let heard = lbd.heard();
    let [Request::Flows { filter }] = heard.as_slice() else {
        panic!("{heard:?}")
    };
    assert_eq!(filter.service, Some("192.0.2.10:443/tcp".into()));
    assert_eq!(filter.real, Some("rs1".into()));
    assert_eq!(filter.client, Some("198.51.100.0/24".parse().unwrap()));
    assert_eq!(filter.limit, Some(5));
}

/// Answers `SetReal`, then `Real` with one flow count after another; the last one stays.
fn draining(mut flows: Vec<u64>, admin: Admin) -> FakeLbd {
    FakeLbd::new(move |request| {
        let mut real = status().services.remove(0).reals.remove(0);
        Ok(match request {
            Request::Real { .. } => {
                real.admin = admin;
                real.flows = if flows.len() > 1 {
                    flows.remove(0)
                } else {
                    flows[0]
                };
                Response::Real(Box::new(real))
            }
            _ => Response::Changed(Box::new(ChangeView {
                service: Some("web".into()),
                changes: vec!["draining".into()],
                generation: 42,
                real: Some(Box::new(real)),
                ..ChangeView::default()
            })),
        })
    })
}

/// T18
#[test]
fn t18_drain_waits_for_the_last_flow() {
    let lbd = draining(vec![1500, 2, 0], Admin::Drain);
    let output = lbd
        .lbctl("real drain web rs1 --wait --timeout 1m")
        .assert()
        .success();
    assert_eq!(
        text(&output.get_output().stderr),
        "web/rs1 has 1,500 flows left\nweb/rs1 has 2 flows left\nweb/rs1 has no flows left\n"
    );
}

/// T18
#[test]
fn t18_drain_gives_up_when_the_time_is_up() {
    let lbd = draining(vec![3], Admin::Drain);
    let output = lbd
        .lbctl("real drain web rs1 --wait --timeout 600ms")
        .assert()
        .code(7);
    let said = text(&output.get_output().stderr);
    assert!(
        said.contains("error: 3 flows of web/rs1 still run after 600ms"),
        "{said}"
    );
    assert!(said.contains("what was asked for stands"), "{said}");
}

#[test]
fn a_drain_that_somebody_ends_is_a_conflict() {
    let lbd = draining(vec![3], Admin::Enabled);
    let output = lbd.lbctl("real drain web rs1 --wait").assert().code(4);
    assert!(text(&output.get_output().stderr).contains("no longer draining"));
}

#[test]
fn refusals_have_their_exit_codes() {
    for (code, exit) in [
        (ErrorCode::BadRequest, 2),
        (ErrorCode::NotFound, 3),
        (ErrorCode::Conflict, 4),
        (ErrorCode::NotPermitted, 6),
        (ErrorCode::Timeout, 7),
        (ErrorCode::Internal, 1),
        (ErrorCode::BadConfig, 78),
    ] {
        let lbd = FakeLbd::new(move |_| {
            Err(ApiError::new(code, "it is so\x1b")
                .hint("do this")
                .detail("line 1\nline 2"))
        });
        let output = lbd.lbctl("reload").assert().code(exit);
        let said = text(&output.get_output().stderr);
        assert_eq!(
            said,
            "line 1\nline 2\nerror: it is so\\u{1b}\nhint:  do this\n"
        );
        assert!(output.get_output().stdout.is_empty());
    }
}

#[test]
fn an_absent_lbd_is_told_apart() {
    let output = lbctl("--socket /nowhere/lbd.sock status").assert().code(5);
    let said = text(&output.get_output().stderr);
    assert!(said.contains("/nowhere/lbd.sock"), "{said}");
    assert!(said.contains("systemctl status lbd"), "{said}");
}

#[test]
fn t60b_whatever_answers_there_does_no_harm() {
    for answer in [
        "",
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n<html",
        "HTTP/1.1 500 Oh\r\ncontent-length: 4\r\n\r\nnope",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ] {
        let lbd = FakeLbd::raw(move |_| answer.to_string());
        let output = lbd.lbctl("status").assert().code(5);
        let said = text(&output.get_output().stderr);
        assert!(
            said.starts_with("error: no usable answer on "),
            "{answer}: {said}"
        );
    }
}

#[test]
fn health_is_an_exit_code() {
    obedient().lbctl("health").assert().code(0);
    obedient().lbctl("health --service web").assert().code(0);
    let sick = FakeLbd::new(|request| {
        let mut status = status();
        status.ready = false;
        status.services[0].state = lbcore::api::ServiceState::Down;
        Ok(match request {
            Request::Service { .. } => Response::Service(Box::new(status.services.remove(0))),
            Request::Maintenance => Response::Maintenance(Box::new(maintenance(false, 0))),
            _ => Response::Status(Box::new(status)),
        })
    });
    let output = sick.lbctl("health").assert().code(1);
    assert!(text(&output.get_output().stdout).starts_with("not serving: not ready: "));
    sick.lbctl("health --service web -o json").assert().code(1);
}

#[test]
fn watching_shows_it_again() {
    let lbd = obedient();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .args(["status", "-w", "100ms", "--socket"])
        .arg(lbd.socket())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let shown = lines
        .map_while(Result::ok)
        .filter(|line| line.starts_with("lbd 0.1.0"))
        .take(3);
    assert_eq!(shown.count(), 3);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn who_stops_reading_is_not_shouted_at() {
    let lbd = obedient();
    let mut child = Command::new(env!("CARGO_BIN_EXE_lbctl"))
        .args(["status", "-w", "100ms", "--socket"])
        .arg(lbd.socket())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), text(&stderr).as_str()), (Some(1), ""));
}

/// Says that there is maintenance with so many flows, one figure a look; after the last one it has
/// been ended.
fn emptying(mut flows: Vec<u64>) -> FakeLbd {
    flows.reverse();
    FakeLbd::new(move |request| {
        Ok(Response::Maintenance(Box::new(match request {
            Request::SetMaintenance { .. } => maintenance(true, 9),
            Request::Maintenance => match flows.pop() {
                Some(left) => maintenance(true, left),
                None => maintenance(false, 0),
            },
            other => panic!("{other:?}"),
        })))
    })
}

#[test]
fn maintenance_waits_for_the_last_flow() {
    let output = emptying(vec![5, 5, 0])
        .lbctl("maintenance on --wait")
        .assert()
        .success();
    let output = output.get_output();
    let stdout = text(&output.stdout);
    assert!(
        stdout.starts_with("IN MAINTENANCE since a time that is not known, by uid 1000\n"),
        "{stdout}"
    );
    assert!(
        stdout.ends_with("end it: lbctl maintenance off\n"),
        "{stdout}"
    );
    assert_eq!(
        text(&output.stderr),
        "this lbd has 5 flows left\nthis lbd has no flows left\n"
    );
    for (flows, code, words) in [
        (vec![5; 100], 7, "5 flows of this lbd still run after 700ms"),
        (vec![5], 4, "no longer in maintenance"),
    ] {
        let output = emptying(flows)
            .lbctl("maintenance on --wait --timeout 700ms")
            .assert()
            .code(code);
        let stderr = text(&output.get_output().stderr);
        assert!(stderr.contains(words), "{stderr}");
    }
}

#[test]
fn a_dry_run_of_maintenance_does_not_wait() {
    let lbd = obedient();
    let output = lbd
        .lbctl("maintenance on --wait --dry-run")
        .assert()
        .success();
    assert_eq!(lbd.heard().len(), 1);
    let output = output.get_output();
    assert_eq!(
        text(&output.stdout),
        "would change: maintenance: off -> on\n\
         1 VIP would be released, new flows dropped; the 7 flows there are would go on\n"
    );
    assert_eq!(text(&output.stderr), "warning: the kernel answers\n");
}

#[test]
fn checks_that_are_run_at_once_are_lines_and_an_exit_code() {
    let line = |real: &str, result| CheckNowView {
        service: "web".into(),
        real: real.into(),
        check: "http".into(),
        result,
        reason: "as it was".into(),
        took_ms: Some(1),
        check_state: Some(RealState::Up),
        real_state: Some(RealState::Down),
    };
    let lbd = |results: &'static [CheckNowResult]| {
        FakeLbd::raw(move |_| {
            let body: String = results
                .iter()
                .enumerate()
                .map(|(n, result)| {
                    let view = Envelope::new(line(&format!("rs{n}"), *result));
                    serde_json::to_string(&view).unwrap() + "\n"
                })
                .collect();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            )
        })
    };
    use CheckNowResult::*;
    for (results, code) in [
        (&[Pass, Pass][..], 0),
        (&[Pass, NotAsked], 0),
        (&[WouldAsk], 0),
        (&[Fail, Pass], 1),
        (&[Drain], 1),
        (&[OwnTrouble, Late, Pass], 7),
    ] {
        lbd(results).lbctl("check now web").assert().code(code);
    }
    let output = lbd(&[Pass, Fail]).lbctl("check now web").assert().code(1);
    assert_eq!(
        text(&output.get_output().stdout),
        "web/rs0 http: pass: as it was (this check: up, the real: down)\n\
         web/rs1 http: FAIL: as it was (this check: up, the real: down)\n"
    );
    let output = lbd(&[Late]).lbctl("check now web -o json").assert().code(7);
    let line: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(line["api_version"], "v1");
    assert_eq!(
        (&line["real"], &line["result"]),
        (&"rs0".into(), &"late".into())
    );
}

#[test]
fn small_verbs_say_what_they_did() {
    for (line, words) in [
        (
            "flows clear --all",
            "12 flows forgotten\n3 connections reset, 0 udp sessions ended\n",
        ),
        (
            "flows clear --service web --dry-run",
            "12 flows would be forgotten\n3 connections would be reset, 0 udp sessions would be ended\n",
        ),
        ("log", "log filter: info, as configured\n"),
        (
            "log set debug",
            "log filter: debug, until lbd restarts, or: lbctl log reset; the configuration says info\n",
        ),
        ("key fingerprint", "9f3a6c01d2e4b587\n"),
        (
            "maintenance",
            "not in maintenance: new flows are taken, 0 flows run\n",
        ),
    ] {
        let output = obedient().lbctl(line).assert().success();
        assert_eq!(text(&output.get_output().stdout), words, "{line}");
    }
    let output = obedient().lbctl("node list").assert().success();
    let table = text(&output.get_output().stdout);
    assert!(table.contains("192.0.2.21: in 1 service, "), "{table}");
    obedient().lbctl("node list 203.0.113.9").assert().code(3);
    let output = obedient()
        .lbctl("vip release 192.0.2.10 --dry-run")
        .assert()
        .success();
    let words = "would change: vip 192.0.2.10: taken -> released\n";
    assert_eq!(text(&output.get_output().stderr), words);
}

#[test]
fn a_machine_is_drained_in_every_service_with_one_request() {
    let address = "192.0.2.21".parse().unwrap();
    let keys = |word: &str| Keys::from_iter([("admin".to_owned(), word.into())]);
    for (line, word, dry_run) in [
        ("node drain 192.0.2.21", "drain", false),
        ("node drain 192.0.2.21 --wait --dry-run", "drain", true),
        ("node enable 192.0.2.21", "enabled", false),
        ("node disable 192.0.2.21", "disabled", false),
    ] {
        let lbd = obedient();
        lbd.lbctl(line).assert().success();
        let how = How {
            dry_run,
            ..How::default()
        };
        let keys = keys(word);
        assert_eq!(
            lbd.heard(),
            [Request::SetNode { address, keys, how }],
            "{line}"
        );
    }
    // In the fixture it does not drain: as if somebody had enabled it at once.
    let output = obedient()
        .lbctl("node drain 192.0.2.21 --wait")
        .assert()
        .code(4);
    let said = text(&output.get_output().stderr);
    assert!(
        said.contains("192.0.2.21 in web is no longer draining"),
        "{said}"
    );
}

#[test]
fn maintenance_is_no_health() {
    let lbd = FakeLbd::new(|request| {
        Ok(match request {
            Request::Service { .. } => Response::Service(Box::new(status().services.remove(0))),
            Request::Maintenance => Response::Maintenance(Box::new(maintenance(true, 3))),
            other => panic!("{other:?}"),
        })
    });
    let output = lbd.lbctl("health --service web").assert().code(1);
    let said = text(&output.get_output().stdout);
    assert!(said.contains("this lbd is in maintenance"), "{said}");
}
