//! The small verbs of an operator's day, as operators and scripts meet them.

use integration::client::{datagram, request_within};
use integration::conf::{Conf, ServiceConf};
use integration::daemon::{Answer, Daemon};
use integration::dial::{End, echo, read_to_end, round};
use integration::routed;
use integration::stage::{PORT, REAL_PORT, RoutedStage, Stage, proxied, vip, web};
use integration::topology::{CLIENT, Offloads, VIP, Wire, real};
use integration::{isolated_within, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::net::UdpSocket;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// A SYN that is dropped is sent again after one second: long enough to see that nobody answers.
const A_MOMENT: Duration = Duration::from_millis(700);

fn vip_view(lbd: &Daemon) -> Value {
    let vips = lbd.ctl(&["vip", "list", "-o", "json"]).json();
    vips["vips"][0].clone()
}

fn wait_vip(lbd: &Daemon, state: &str) {
    wait_until(
        &format!("the VIP is {state}"),
        Duration::from_secs(10),
        || vip_view(lbd)["state"] == state,
    );
}

fn says(answer: &Answer, words: &[&str]) {
    let (stdout, stderr) = (answer.stdout(), answer.stderr());
    for words in words {
        assert!(
            stdout.contains(words) || stderr.contains(words),
            "{words:?} is not said:\n{stdout}\n{stderr}"
        );
    }
}

/// Whether the events tell it.
fn told(lbd: &Daemon, words: &str) {
    let events = lbd.ctl(&["events"]).ok().stdout();
    assert!(events.contains(words), "{words:?} in\n{events}");
}

#[test]
fn maintenance_leaves_new_flows_to_another_lbd_and_ends_as_it_began() {
    isolated_within(Duration::from_secs(90), || {
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        let flows = stage.flows(5, Duration::from_millis(100));
        let lbd = &stage.lbd;
        lbd.ctl(&["vip", "take", &VIP.to_string()]).ok();
        lbd.ctl(&["maintenance"]).ok();
        let dry = lbd.ctl(&["maintenance", "on", "--dry-run"]).ok();
        says(
            &dry,
            &[
                "would change: maintenance: off -> on",
                "1 VIP would be released",
            ],
        );
        lbd.ctl(&["health"]).ok();

        let on = lbd.ctl(&["maintenance", "on"]).ok();
        says(
            &on,
            &[
                "IN MAINTENANCE for ",
                ", by uid 0",
                "5 flows go on",
                "lbctl maintenance off",
            ],
        );
        let view = lbd.ctl(&["maintenance", "on", "-o", "json"]).json();
        assert_eq!(view["api_version"], "v1");
        assert_eq!(view["maintenance"], true);
        assert_eq!(
            (&view["flows"], &view["begun"]["by_uid"]),
            (&5.into(), &0.into())
        );
        assert_eq!(
            view["changes"],
            Value::Array(Vec::new()),
            "it was so already"
        );

        for args in [&["health"][..], &["health", "--service", "web"]] {
            says(&lbd.ctl(args).exits(1), &["not serving", "maintenance"]);
        }
        let status = lbd.status();
        assert_eq!(status["ready"], false);
        assert!(
            status["ready_reason"]
                .as_str()
                .is_some_and(|why| why.contains("maintenance"))
        );
        assert_eq!(status["maintenance"]["by_uid"], 0);
        says(
            &lbd.ctl(&["status"]).ok(),
            &["NOT READY: in maintenance", "IN MAINTENANCE for"],
        );
        let (code, body) = lbd.http("/readyz");
        assert_eq!(code, 503, "{body}");
        assert_eq!(lbd.http("/healthz").0, 200);
        assert_eq!(lbd.metrics().value("lbd_maintenance", &[]), 1.0);
        wait_vip(lbd, "silent");
        assert_eq!(vip_view(lbd)["note"], "in maintenance");

        // The client still knows lbd's MAC: what comes nevertheless is dropped for that reason.
        assert!(request_within(&stage.switch.cl, vip(), A_MOMENT).is_err());
        let dropped = [("reason", "maintenance")];
        assert!(lbd.metrics().value("lbd_drops_total", &dropped) >= 1.0);
        let client = format!("{CLIENT}:40000");
        let to = vip().to_string();
        let view = lbd
            .ctl(&["explain", "tcp", &client, &to, "-o", "json"])
            .json();
        assert_eq!(
            (&view["verdict"], &view["drop_reason"]),
            (&"drop".into(), &"maintenance".into())
        );
        says(
            &lbd.ctl(&["explain", "tcp", &client, &to]).ok(),
            &["takes no new flows"],
        );
        flows.wait_for_echoes();

        let late = lbd.ctl(&["maintenance", "on", "--wait", "--timeout", "600ms"]);
        says(
            &late.exits(7),
            &["5 flows of this lbd still run after 600ms"],
        );

        // A killed lbd's successor is in maintenance, too, and the flows go on.
        stage.lbd.kill();
        stage.lbd.spawn();
        let lbd = &stage.lbd;
        wait_until("it answers", SOON, || lbd.try_status().is_some());
        wait_until("it has its VIPs", SOON, || {
            vip_view(lbd)["note"] == "in maintenance"
        });
        assert_eq!(
            lbd.ctl(&["maintenance", "-o", "json"]).json()["maintenance"],
            true
        );
        flows.wait_for_echoes();

        let off = lbd.ctl(&["maintenance", "off"]).ok();
        says(&off, &["maintenance: on -> off", "not in maintenance"]);
        wait_vip(lbd, "announced");
        assert_eq!(vip_view(lbd)["held"], "take", "as it was held before");
        wait_until("it is ready", SOON, || lbd.status()["ready"] == true);
        lbd.ctl(&["health"]).ok();
        request_within(&stage.switch.cl, vip(), SOON).expect("an answer");
        told(lbd, "change by uid 0");
        told(lbd, "maintenance: on -> off");
        assert!(lbd.log().contains("maintenance on"), "the audit's line");
        assert_eq!(flows.broken(), 0);
        drop(flows);

        // What is left is closing by now: cleared, its ports are new to the table.
        stage.curl(10);
        let lbd = &stage.lbd;
        let refused = lbd.ctl(&["flows", "clear"]).exits(2);
        says(
            &refused,
            &["every flow", "nothing was changed", "or say all"],
        );
        lbd.ctl(&["flows", "clear", "--service", "nowhere"])
            .exits(3);
        let count = |args: &[&str]| {
            let mut line = vec!["flows", "clear", "-o", "json"];
            line.extend(args);
            let view = lbd.ctl(&line).json();
            view["forgotten"].as_u64().expect("a number")
        };
        let of = |real: &str| {
            let view = lbd.ctl(&["flows", "--real", real, "-o", "json"]).json();
            view["flows"].as_array().expect("flows").len() as u64
        };
        let (rs1, rs2) = (of("rs1"), of("rs2"));
        assert!(rs1 > 0 && rs2 > 0, "{rs1} {rs2}");
        assert_eq!(count(&["--real", "rs1", "--dry-run"]), rs1);
        assert_eq!(of("rs1"), rs1);
        assert_eq!(count(&["--real", "rs1"]), rs1);
        assert_eq!((of("rs1"), of("rs2")), (0, rs2));
        assert_eq!(count(&["--client", "203.0.113.0/24"]), 0);
        says(
            &lbd.ctl(&["flows", "clear", "--all"]).ok(),
            &[&format!("{rs2} flows forgotten")],
        );
        assert_eq!(lbd.service("web")["flows"], 0);
        told(lbd, "flows cleared: real=rs1");
        stage.lbd.stop(Signal::SIGTERM);
    });
}

/// A client's socket that speaks to the VIP alone.
fn speaker(stage: &RoutedStage) -> UdpSocket {
    let socket = stage
        .net
        .cl
        .run(|| UdpSocket::bind("0.0.0.0:0").expect("bound"));
    socket.connect(vip()).expect("connected");
    socket.set_read_timeout(Some(SOON)).expect("a time limit");
    socket
}

fn is_echoed(socket: &UdpSocket) -> bool {
    socket.send(b"hello").expect("sent");
    socket.recv(&mut [0; 2048]).is_ok()
}

#[test]
fn proxied_connections_and_sessions_outlast_maintenance_until_they_are_cleared() {
    isolated_within(Duration::from_secs(60), || {
        let dns = ServiceConf::udp("dns", PORT)
            .with("mode", "\"tproxy\"")
            .routed(1..=1, REAL_PORT);
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)).service(dns));
        let lbd = &stage.lbd;
        let (mut stream, _) = echo(&stage.client(), vip()).expect("proxied");
        let known = speaker(&stage);
        assert!(is_echoed(&known));

        lbd.ctl(&["maintenance", "on"]).ok();
        round(&mut stream).expect("what was there goes on");
        assert!(is_echoed(&known), "and so does a session");
        let refused = request_within(&stage.net.cl, vip(), A_MOMENT).expect_err("nobody");
        assert_ne!(
            refused.kind(),
            std::io::ErrorKind::ConnectionRefused,
            "silence"
        );
        assert!(datagram(&stage.net.cl, vip(), b"x", A_MOMENT).is_err());
        let dropped = [("direction", "in"), ("reason", "maintenance")];
        let metrics = lbd.metrics();
        assert!(metrics.value("lbd_proxy_datagram_drops_total", &dropped) >= 1.0);
        assert!(lbd.proxied("dns", "maintenance") >= 1.0);
        let client = format!("{}:40000", routed::CLIENT);
        for protocol in ["tcp", "udp"] {
            let to = vip().to_string();
            let view = lbd
                .ctl(&["explain", protocol, &client, &to, "-o", "json"])
                .json();
            assert_eq!(
                (&view["verdict"], &view["drop_reason"]),
                (&"drop".into(), &"maintenance".into())
            );
        }
        lbd.ctl(&["maintenance", "off"]).ok();
        request_within(&stage.net.cl, vip(), SOON).expect("as before");
        assert!(is_echoed(&speaker(&stage)));

        let count = |args: &[&str]| {
            let mut line = vec!["flows", "clear", "-o", "json"];
            line.extend(args);
            let view = lbd.ctl(&line).json();
            (view["connections"].clone(), view["sessions"].clone())
        };
        let (one, none) = (Value::from(1), Value::from(0));
        wait_until("one connection is open", SOON, || {
            count(&["--service", "web", "--dry-run"]) == (one.clone(), none.clone())
        });
        round(&mut stream).expect("a dry run resets nobody");
        assert_eq!(count(&["--service", "web", "--real", "rs1"]), (one, none));
        assert!(matches!(read_to_end(&mut stream), (End::Reset, _)));
        assert_eq!(lbd.proxied("web", "cleared"), 1.0);
        let (_, sessions) = count(&["--client", &format!("{}/32", routed::CLIENT)]);
        assert!(sessions.as_u64() >= Some(2), "{sessions}");
        assert!(
            is_echoed(&known),
            "the next datagram begins another session"
        );
    });
}

#[test]
fn checks_run_at_once_and_count_as_always() {
    isolated_within(Duration::from_secs(60), || {
        let check = [
            ("type", "\"tcp\""),
            ("interval", "\"60s\""),
            ("fast_interval", "\"60s\""),
            ("timeout", "\"500ms\""),
            ("rise", "1"),
            ("fall", "2"),
        ];
        let conf =
            Conf::one(web(1).check(&check)).service(ServiceConf::udp("dns", 53).reals(1..=1));
        let mut stage = Stage::new(1, Offloads::Defaults, &conf);
        let now = |lbd: &Daemon, args: &[&str]| {
            let mut line = vec!["check", "now"];
            line.extend(args);
            lbd.ctl(&line)
        };
        says(
            &now(&stage.lbd, &["web"]).exits(0),
            &["web/rs1 tcp: pass", "(this check: up, the real: up)"],
        );
        stage.servers[0].stop();
        says(
            &now(&stage.lbd, &["web", "rs1"]).exits(1),
            &["web/rs1 tcp: FAIL", "the real: up"],
        );
        let dry = now(&stage.lbd, &["web", "--dry-run"]).exits(0);
        says(&dry, &["web/rs1 tcp: would be asked"]);
        let second = now(&stage.lbd, &["web", "rs1", "-o", "json"]).exits(1);
        let line: Value = serde_json::from_str(&second.stdout()).expect("one line of JSON");
        assert_eq!(line["api_version"], "v1");
        for (key, value) in [
            ("result", "fail"),
            ("check_state", "down"),
            ("real_state", "down"),
        ] {
            assert_eq!(line[key], value, "{line}");
        }
        stage.lbd.wait_real("web", "rs1", "down", SOON);
        stage.serve(1);
        says(&now(&stage.lbd, &["web"]).exits(0), &["the real: up"]);
        stage.lbd.wait_real("web", "rs1", "up", SOON);

        says(
            &now(&stage.lbd, &["dns"]).exits(0),
            &["dns/rs1: not asked: its service has no checks"],
        );
        stage.lbd.ctl(&["real", "disable", "web", "rs1"]).ok();
        says(
            &now(&stage.lbd, &["web"]).exits(0),
            &["not asked: it is disabled"],
        );
        now(&stage.lbd, &["nowhere"]).exits(3);
        now(&stage.lbd, &["web", "rs9"]).exits(3);
        told(&stage.lbd, "checks run: web/rs1");
    });
}

#[test]
fn the_log_is_set_and_goes_back_by_itself() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=1));
        let lbd = Daemon::start(&wire.lb, &conf);
        let log = || lbd.ctl(&["log", "-o", "json"]).json();
        assert_eq!(
            (&log()["filter"], &log()["configured"]),
            (&"info".into(), &"info".into())
        );
        let refused = lbd.ctl(&["log", "set", "loud"]).exits(2);
        says(
            &refused,
            &["`loud` is not a log filter", "nothing was changed", "debug"],
        );
        let dry = lbd.ctl(&["log", "set", "debug", "--dry-run"]).ok();
        says(&dry, &["would change: log: info -> debug"]);
        assert_eq!(log()["filter"], "info");

        let change = |verb: &str| {
            lbd.ctl(&["vip", verb, &VIP.to_string()]).ok();
            lbd.log().contains(&format!("vip {verb} {VIP}"))
        };
        lbd.ctl(&["log", "set", "error"]).ok();
        assert!(!change("release"), "info is not logged");
        says(
            &lbd.ctl(&["status"]).ok(),
            &["the log's filter is error until lbd restarts"],
        );
        says(
            &lbd.ctl(&["log", "reset"]).ok(),
            &["log: error -> info", "as configured"],
        );
        assert!(change("take"), "it is logged again");

        let set = lbd
            .ctl(&["log", "set", "info,lbd::vip=debug", "--for", "1h"])
            .ok();
        says(&set, &["log filter: info,lbd::vip=debug, for"]);
        assert!(log()["until"].is_string());
        lbd.ctl(&["log", "set", "info,lbd::vip=debug", "--for", "1s"])
            .ok();
        wait_until("it goes back", SOON, || log()["filter"] == "info");
        assert_eq!(log()["until"], Value::Null);
        let warnings = lbd.status()["warnings"].to_string();
        assert!(!warnings.contains("log's filter"), "{warnings}");
        told(&lbd, "log: info -> error");
    });
}

#[test]
fn a_vip_goes_back_to_what_announce_says_and_keys_are_compared() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let web = ServiceConf::tcp("web", PORT).pinned_reals(1..=2);
        let lbd = Daemon::start(&wire.lb, &Conf::one(web.with("announce", "\"never\"")));
        let vip = VIP.to_string();
        let vip = vip.as_str();
        assert_eq!(
            (&vip_view(&lbd)["state"], &vip_view(&lbd)["held"]),
            (&"silent".into(), &"default".into())
        );
        let dry = lbd.ctl(&["vip", "take", vip, "--dry-run"]).ok();
        says(
            &dry,
            &["would change: vip 192.0.2.10: as announce says (never) -> taken"],
        );
        assert_eq!(vip_view(&lbd)["held"], "default");
        lbd.ctl(&["vip", "take", vip]).ok();
        wait_vip(&lbd, "announced");
        assert!(vip_view(&lbd)["last_announced"].is_string());
        let table = lbd.ctl(&["vip", "list"]).ok();
        says(
            &table,
            &["ANNOUNCED", "CONFLICTS", "BY COMMAND", "taken", "ago"],
        );
        let drift = lbd.status()["drift"].clone();
        assert_eq!(drift[0]["running"], "taken", "{drift}");
        let auto = lbd.ctl(&["vip", "auto", vip]).ok();
        says(
            &auto,
            &["vip 192.0.2.10: taken -> as announce says (never)"],
        );
        wait_vip(&lbd, "silent");
        assert_eq!(lbd.status()["drift"], Value::Array(Vec::new()));
        says(&lbd.ctl(&["vip", "auto", vip]).ok(), &["it is so already"]);
        lbd.ctl(&["vip", "auto", "203.0.113.1"]).exits(3);
        lbd.ctl(&["vip", "list", "203.0.113.1"]).exits(3);
        lbd.ctl(&["vip", "list", vip]).ok();
        says(
            &lbd.ctl(&["vip", "take"]).ok(),
            &["vip 192.0.2.10: as announce says (never) -> taken"],
        );
        lbd.ctl(&["vip", "auto"]).ok();

        let running = lbd.ctl(&["key", "fingerprint"]).ok().stdout();
        assert_eq!(running.trim_end(), lbd.status()["key_fingerprint"]);
        let file = lbd.state_dir().join("hash.key");
        let file = file.to_str().expect("a path");
        let offline = lbd
            .ctl(&["key", "fingerprint", "--file", file])
            .ok()
            .stdout();
        assert_eq!(offline, running);
        let view = lbd.ctl(&["key", "fingerprint", "-o", "json"]).json();
        assert_eq!(
            (&view["fingerprint"], &view["file"]),
            (&running.trim_end().into(), &file.into())
        );
    });
}

#[test]
fn a_machine_is_found_in_every_service_that_it_serves() {
    isolated_within(Duration::from_secs(60), || {
        let wire = Wire::new();
        let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2))
            .service(ServiceConf::udp("dns", 53).pinned_reals(1..=1));
        let lbd = Daemon::start(&wire.lb, &conf);
        let list = lbd.ctl(&["node", "list", "-o", "json"]).json();
        let nodes = list["nodes"].as_array().expect("nodes");
        assert_eq!(nodes.len(), 2);
        assert_eq!(nodes[0]["address"], real(1).to_string());
        let places: Vec<_> = nodes[0]["reals"]
            .as_array()
            .expect("reals")
            .iter()
            .map(|r| r["service"].clone())
            .collect();
        assert_eq!(places, ["web", "dns"]);
        let one = real(1).to_string();
        let table = lbd.ctl(&["node", "list", &one, "-o", "wide"]).ok();
        says(
            &table,
            &[
                "192.0.2.21: in 2 services, 0 flows",
                "PORT",
                "  dns",
                "enabled",
            ],
        );
        lbd.ctl(&["node", "list", "203.0.113.9"]).exits(3);
        lbd.ctl(&["node", "drain", "203.0.113.9"]).exits(3);

        let wishes = || {
            [("web", "rs1"), ("dns", "rs1"), ("web", "rs2")]
                .map(|(service, real)| lbd.real(service, real)["admin"].clone())
        };
        lbd.ctl(&["node", "drain", &one, "--dry-run"]).ok();
        assert_eq!(wishes(), ["enabled", "enabled", "enabled"]);
        let drained = lbd.ctl(&["node", "drain", &one, "--wait", "--timeout", "10s"]);
        says(&drained.ok(), &["192.0.2.21 has no flows left"]);
        assert_eq!(wishes(), ["drain", "drain", "enabled"]);
        lbd.ctl(&["node", "disable", &one]).ok();
        assert_eq!(wishes(), ["disabled", "disabled", "enabled"]);
        lbd.ctl(&["node", "enable", &one]).ok();
        assert_eq!(wishes(), ["enabled", "enabled", "enabled"]);
        lbd.ctl(&["node", "list", "rs1"]).exits(2);
    });
}
