//! The metrics page: what Prometheus reads, and that promtool has nothing to say about it (T60d).
#![allow(clippy::unwrap_used)]

use super::super::page::Glance;
use super::super::{Ask, Readiness};
use super::*;
use crate::live::proxy::ConnectTimes;
use prometheus::{HistogramOpts, HistogramVec, Registry};
use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};

fn view() -> MetricsView {
    let text = include_str!("../../../../lbcore/src/api/fixtures/status.json");
    MetricsView {
        status: serde_json::from_str(text).unwrap(),
        maintenance: false,
        reloads_ok: 6,
        reloads_refused: 1,
        last_reload_success: Some(SystemTime::UNIX_EPOCH + Duration::from_millis(1500)),
        evictions: [("full".to_string(), 0)].into(),
        restored: [("nft".to_string(), 2), ("rule".to_string(), 0)].into(),
        transitions: vec![Transitions {
            service: "web".into(),
            real: "rs2".into(),
            to: [("up", 1), ("down", 2)].into(),
        }],
        datagrams: Vec::new(),
        connects: Vec::new(),
    }
}

/// With a service in mode tproxy beside the others.
fn proxied() -> MetricsView {
    let text = include_str!("../../../../lbcore/src/api/fixtures/proxied.json");
    let mut view = view();
    view.status
        .services
        .push(serde_json::from_str(text).unwrap());
    let mut times = ConnectTimes {
        count: 4,
        sum: 3.5,
        ..ConnectTimes::default()
    };
    times.buckets[0] = 2;
    times.buckets[2] = 1;
    view.connects = vec![Connects {
        service: "shop".into(),
        real: "rs1".into(),
        times,
    }];
    view.datagrams = vec![Datagrams {
        direction: "in",
        received: 9,
        sent: 7,
        lost: 1,
        drops: [("flood".to_string(), 2)].into(),
    }];
    view
}

/// A registry as the probe room has it.
fn checks() -> Registry {
    let registry = Registry::new();
    let options = HistogramOpts::new("lbd_check_duration_seconds", "How long a probe took.");
    let durations = HistogramVec::new(options, &["service", "real", "check"]).unwrap();
    durations
        .with_label_values(&["web", "rs1", "http"])
        .observe(0.0012);
    registry.register(Box::new(durations)).unwrap();
    registry
}

fn samples(page: &str) -> Vec<&str> {
    page.lines().filter(|line| !line.starts_with('#')).collect()
}

#[test]
fn only_proxied_services_have_metrics_of_the_proxy() {
    let page = render(&proxied(), &checks()).unwrap();
    for sample in [
        r#"lbd_proxy_connections{service="shop"} 12"#,
        r#"lbd_proxy_connections_total{result="connect_timeout",service="shop"} 2"#,
        r#"lbd_proxy_bytes_total{direction="in",service="shop"} 1048576"#,
        r#"lbd_proxy_bytes_total{direction="out",service="shop"} 9876543210"#,
        r#"lbd_proxy_connect_duration_seconds_bucket{real="rs1",service="shop",le="0.00025"} 2"#,
        r#"lbd_proxy_connect_duration_seconds_bucket{real="rs1",service="shop",le="0.001"} 3"#,
        r#"lbd_proxy_connect_duration_seconds_bucket{real="rs1",service="shop",le="3"} 3"#,
        r#"lbd_proxy_connect_duration_seconds_bucket{real="rs1",service="shop",le="+Inf"} 4"#,
        r#"lbd_proxy_connect_duration_seconds_sum{real="rs1",service="shop"} 3.5"#,
        r#"lbd_proxy_connect_duration_seconds_count{real="rs1",service="shop"} 4"#,
        r#"lbd_proxy_datagrams_received_total{direction="in"} 9"#,
        r#"lbd_proxy_datagrams_sent_total{direction="in"} 7"#,
        r#"lbd_proxy_datagrams_lost_total{direction="in"} 1"#,
        r#"lbd_proxy_datagram_drops_total{direction="in",reason="flood"} 2"#,
        r#"lbd_real_bytes_total{real="rs1",service="shop"} 1000000"#,
    ] {
        let sorted = |sample: &str| -> BTreeSet<String> {
            sample.split(['{', ',', '}']).map(str::to_owned).collect()
        };
        let there = samples(&page)
            .into_iter()
            .any(|s| sorted(s) == sorted(sample));
        assert!(there, "{sample} in\n{page}");
    }
    assert!(
        !page.contains(r#"lbd_service_packets_total{service="shop"}"#),
        "nobody knows them"
    );
    let without = render(&view(), &checks()).unwrap();
    assert!(!without.contains("lbd_proxy_"), "{without}");
}

#[test]
fn the_page_has_what_the_documentation_promises() {
    let page = render(&view(), &checks()).unwrap();
    for sample in [
        r#"lbd_build_info{version="0.1.0"} 1"#,
        r#"lbd_engine_info{engine="af_packet",interface="eth0"} 1"#,
        "lbd_ready 1",
        "lbd_maintenance 0",
        "lbd_config_revision 7",
        r#"lbd_config_reloads_total{result="ok"} 6"#,
        r#"lbd_config_reloads_total{result="refused"} 1"#,
        "lbd_config_last_reload_success_timestamp_seconds 1.5",
        "lbd_config_drift 1",
        "lbd_config_last_good_in_use 0",
        r#"lbd_service_up{service="web"} 1"#,
        r#"lbd_service_panic{service="web"} 0"#,
        r#"lbd_service_flows{service="web"} 1234"#,
        r#"lbd_service_new_flows_total{service="web"} 34567"#,
        r#"lbd_service_packets_total{service="web"} 6789012"#,
        r#"lbd_service_bytes_total{service="web"} 9876543210"#,
        r#"lbd_real_up{service="web",real="rs1"} 1"#,
        r#"lbd_real_up{service="web",real="rs2"} 0"#,
        r#"lbd_real_up{service="web",real="rs3"} 0"#,
        r#"lbd_real_up{service="dns",real="192.0.2.31"} 1"#,
        r#"lbd_real_state{service="web",real="rs2",state="down"} 1"#,
        r#"lbd_real_state{service="web",real="rs2",state="up"} 0"#,
        r#"lbd_real_weight{service="web",real="rs2"} 0"#,
        r#"lbd_real_flows{service="web",real="rs1"} 1222"#,
        r#"lbd_real_new_flows_total{service="web",real="rs1"} 34000"#,
        r#"lbd_real_packets_total{service="web",real="rs1"} 6780000"#,
        r#"lbd_real_bytes_total{service="web",real="rs1"} 9870000000"#,
        r#"lbd_real_transitions_total{service="web",real="rs2",to="down"} 2"#,
        r#"lbd_check_duration_seconds_count{check="http",real="rs1",service="web"} 1"#,
        r#"lbd_drops_total{reason="no_real"} 10"#,
        r#"lbd_frames_received_total{interface="eth0"} 12345678"#,
        r#"lbd_frames_sent_total{interface="eth0"} 12300000"#,
        r#"lbd_frames_passed_total{interface="eth0"} 45666"#,
        r#"lbd_ring_drops_total{interface="eth0"} 0"#,
        "lbd_flow_entries 1237",
        "lbd_flow_capacity 1048576",
        r#"lbd_flow_evictions_total{reason="full"} 0"#,
        r#"lbd_vip_announced{vip="192.0.2.10"} 1"#,
        r#"lbd_vip_announced{vip="2001:db8::10"} 0"#,
        r#"lbd_vip_conflicts_total{vip="2001:db8::10"} 3"#,
        r#"lbd_host_rules_restored_total{kind="nft"} 2"#,
    ] {
        assert!(
            samples(&page).contains(&sample),
            "missing: {sample}\n{page}"
        );
    }
    for name in [
        "process_cpu_seconds_total",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_open_fds",
        "process_max_fds",
        "process_start_time_seconds",
    ] {
        assert!(
            samples(&page).iter().any(|line| line.starts_with(name)),
            "missing: {name}"
        );
    }
}

#[test]
fn t60d_promtool_has_nothing_to_say() {
    let page = render(&proxied(), &checks()).unwrap();
    let Ok(mut promtool) = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    else {
        eprintln!("skipped: promtool is not installed (package prometheus)");
        return;
    };
    promtool
        .stdin
        .take()
        .unwrap()
        .write_all(page.as_bytes())
        .unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}

#[test]
fn t60d_no_labels_twice_and_no_client_anywhere() {
    let mut view = view();
    // A removed real lingers under the name that a new one has taken; another under its own.
    let reals = &mut view.status.services[0].reals;
    for (name, address) in [("rs1", "192.0.2.77"), ("gone", "192.0.2.78")] {
        let mut lingering = reals[0].clone();
        lingering.name = name.into();
        lingering.address = address.parse().unwrap();
        lingering.removed = true;
        reals.push(lingering);
    }
    let page = render(&view, &Registry::new()).unwrap();
    let mut seen = HashSet::new();
    for sample in samples(&page) {
        let series = sample.rsplit_once(' ').unwrap().0;
        assert!(seen.insert(series), "twice: {series}");
    }
    assert!(seen.contains(r#"lbd_real_flows{service="web",real="gone"}"#));
    let known = [
        "service",
        "real",
        "reason",
        "engine",
        "interface",
        "check",
        "state",
    ];
    let ours = ["version", "result", "to", "vip", "kind"];
    for series in seen {
        let labels = series.split_once('{').map_or("", |(_, labels)| labels);
        for label in labels
            .split("\",")
            .filter_map(|pair| Some(pair.split_once('=')?.0))
        {
            assert!(known.contains(&label) || ours.contains(&label), "{series}");
        }
    }
}

#[test]
fn label_values_are_escaped() {
    let mut view = view();
    view.status.services[0].name = "a\"b\\c\nd".into();
    let page = render(&view, &Registry::new()).unwrap();
    assert!(
        page.contains(r#"lbd_service_up{service="a\"b\\c\nd"} 1"#),
        "{page}"
    );
}

/// Answers scrapes until the page is gone.
fn daemon(ready: bool) -> mpsc::Sender<Ask> {
    let (asks, mut queue) = mpsc::channel(super::super::ASK_QUEUE);
    tokio::spawn(async move {
        while let Some(ask) = queue.recv().await {
            match ask {
                Ask::Metrics { reply } => drop(reply.send(view())),
                Ask::Ready { reply } => {
                    let reason = "every real was judged\x1b".into();
                    drop(reply.send(Readiness { ready, reason }));
                }
                Ask::Glance { reply } => {
                    let (status, lately) = (view().status, Vec::new());
                    drop(reply.send(Glance { status, lately }));
                }
                Ask::Request { .. }
                | Ask::Events { .. }
                | Ask::Trace { .. }
                | Ask::CheckNow { .. } => {
                    panic!("nobody asks that here")
                }
            }
        }
    });
    asks
}

async fn served(asks: mpsc::Sender<Ask>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(server::serve(listener, asks, checks()));
    address
}

async fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: lbd\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn pages_are_served() {
    let address = served(daemon(true)).await;
    let page = get(address, "/metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 "), "{page}");
    assert!(
        page.contains("content-type: text/plain; version=0.0.4\r\n"),
        "{page}"
    );
    assert!(page.contains("\nlbd_ready 1\n"), "{page}");
    assert!(get(address, "/healthz").await.ends_with("\r\n\r\nok\n"));
    let ready = get(address, "/readyz").await;
    assert!(ready.starts_with("HTTP/1.1 200 "), "{ready}");
    assert!(
        ready.ends_with("ready: every real was judged\\u{1b}\n"),
        "{ready}"
    );
    for (path, kind, text) in [
        ("/", "text/html; charset=utf-8", "<main "),
        (
            "/page.css",
            "text/css; charset=utf-8",
            "prefers-color-scheme: dark",
        ),
        ("/page.js", "text/javascript; charset=utf-8", "EventSource"),
    ] {
        let answer = get(address, path).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(
            answer.contains(&format!("content-type: {kind}\r\n")),
            "{answer}"
        );
        assert!(
            answer.contains("content-security-policy: default-src 'none'; "),
            "{answer}"
        );
        assert!(answer.contains(text), "{answer}");
    }
    let other = get(address, "/admin").await;
    assert!(
        other.starts_with("HTTP/1.1 404 ") && other.contains("/metrics"),
        "{other}"
    );

    let address = served(daemon(false)).await;
    let ready = get(address, "/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503 ") && ready.contains("not ready: "),
        "{ready}"
    );
    assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn t60d_two_hundred_scrapers_are_all_served() {
    let address = served(daemon(true)).await;
    // Some connect and say nothing; they hold their places only until the timeout.
    let mut silent = Vec::new();
    for _ in 0..8 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    let scrapers: Vec<_> = (0..200)
        .map(|_| tokio::spawn(get(address, "/metrics")))
        .collect();
    for scraper in scrapers {
        assert!(scraper.await.unwrap().starts_with("HTTP/1.1 200 "));
    }
}

#[tokio::test]
async fn who_follows_the_page_takes_no_scrapers_place() {
    let address = served(daemon(true)).await;
    let mut followers = Vec::new();
    for _ in 0..super::super::page::LISTENERS {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = b"GET /events HTTP/1.1\r\nhost: lbd\r\n\r\n";
        stream.write_all(request).await.unwrap();
        let mut beginning = [0; 15];
        stream.read_exact(&mut beginning).await.unwrap();
        assert_eq!(&beginning, b"HTTP/1.1 200 OK");
        followers.push(stream);
    }
    let refused = get(address, "/events").await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("16 look at the status page already"),
        "{refused}"
    );
    assert!(get(address, "/metrics").await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn the_page_follows_the_wanted_address_and_ends_with_it() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let (wanted, receiver) = watch::channel(None);
    let running = tokio::spawn(run(receiver, daemon(true), Registry::new()));
    drop(taken);
    wanted.send(Some(address)).unwrap();
    let up = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::task::yield_now().await;
        }
        get(address, "/healthz").await
    };
    let answer = tokio::time::timeout(Duration::from_secs(20), up)
        .await
        .unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    wanted.send(None).unwrap();
    let down = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), down)
        .await
        .unwrap();
    drop(wanted);
    tokio::time::timeout(Duration::from_secs(20), running)
        .await
        .unwrap()
        .unwrap();
}
