//! lbctl, the control socket and the metrics page, as scripts meet them.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::{Daemon, binary};
use integration::frames::{Headers, dst_mac, mac};
use integration::netns::run;
use integration::stage::{PORT, Stage, all_four, web};
use integration::topology::{CLIENT, Offloads, VIP, Wire, real_mac};
use integration::wire::RawSocket;
use integration::{isolated, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn wire_and_lbd() -> (Wire, Daemon) {
    let wire = Wire::new();
    let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=3))
        .service(ServiceConf::udp("dns", 53).pinned_reals(1..=2));
    let lbd = Daemon::start(&wire.lb, &conf);
    (wire, lbd)
}

#[test]
fn exit_codes_are_those_promised() {
    isolated(|| {
        let (_wire, mut lbd) = wire_and_lbd();
        for (args, code) in [
            (&["status"][..], 0),
            (&["service", "list"], 0),
            (&["service", "show", "web"], 0),
            (&["service", "show", "192.0.2.10:80/tcp"], 0),
            (&["real", "list", "web"], 0),
            (&["real", "show", "web", "192.0.2.21"], 0),
            (&["vip", "list"], 0),
            (&["flows"], 0),
            (&["health"], 0),
            (&["health", "--service", "dns"], 0),
            (&["frobnicate"], 2),
            (&["real", "drain", "web"], 2),
            (&["real", "set", "web", "rs1", "--weight", "many"], 2),
            (&["service", "show", "nowhere"], 3),
            (&["real", "drain", "nowhere", "rs1"], 3),
            (&["real", "drain", "web", "rs9"], 3),
            (&["reload"], 0),
            (&["config", "check", "/nonexistent.toml"], 1),
            (&["--socket", "/run/nowhere.sock", "status"], 5),
        ] {
            let answer = lbd.ctl(args);
            assert_eq!(
                answer.code(),
                code,
                "lbctl {args:?}: {}{}",
                answer.stdout(),
                answer.stderr()
            );
            if code != 0 {
                assert_eq!(
                    answer.stdout(),
                    "",
                    "lbctl {args:?}: words belong on stderr"
                );
                assert_ne!(answer.stderr(), "", "lbctl {args:?} says why");
            }
        }
        let config = lbd.config_path();
        lbd.ctl(&["config", "check", config.to_str().expect("a path")])
            .exits(0);
        lbd.write_text("[[service]]\nnam = \"web\"\n");
        let refused = lbd
            .ctl(&["config", "check", config.to_str().expect("a path")])
            .exits(78);
        assert!(
            refused.stderr().contains("lbd.toml:2:1"),
            "{}",
            refused.stderr()
        );
        assert!(
            refused.stderr().contains("did you mean"),
            "{}",
            refused.stderr()
        );
        let check = Command::new(binary("lbd"))
            .arg("--config")
            .arg(&config)
            .arg("--check")
            .output();
        assert_eq!(check.expect("lbd --check").status.code(), Some(78));
        lbd.stop(Signal::SIGTERM);
        lbd.ctl(&["status"]).exits(5);
    });
}

#[test]
fn lbd_says_what_is_missing_by_its_exit_code() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::prepare(&wire.lb, &Conf::one(ServiceConf::tcp("web", PORT)));
        // Of several, one that the machine did not hold up.
        wait_until("it says so at once", Duration::from_secs(30), || {
            let start = Instant::now();
            let output = wire
                .lb
                .command("setpriv")
                .args([
                    "--bounding-set=-net_raw,-net_admin",
                    "--inh-caps=-net_raw,-net_admin",
                ])
                .arg(binary("lbd"))
                .arg("--config")
                .arg(lbd.config_path())
                .output()
                .expect("lbd");
            let took = start.elapsed();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(77), "{said}");
            assert!(
                said.contains("CAP_NET_RAW") || said.contains("CAP_NET_ADMIN"),
                "{said}"
            );
            took < Duration::from_secs(1)
        });
    });
}

#[test]
fn status_has_every_key_scripts_rely_on() {
    isolated(|| {
        let (_wire, lbd) = wire_and_lbd();
        let status = lbd.status();
        for key in [
            "api_version",
            "version",
            "revision",
            "generation",
            "ready",
            "key_fingerprint",
            "engines",
            "services",
            "drops",
            "warnings",
        ] {
            assert!(!status[key].is_null(), "no {key}");
        }
        assert_eq!(status["api_version"], "v1");
        assert_eq!(status["engines"][0]["name"], "af_packet");
        assert_eq!(status["engines"][0]["interface"], "eth0");
        let service = &status["services"][0];
        for key in [
            "name",
            "endpoints",
            "protocol",
            "mode",
            "scheduler",
            "state",
            "flows",
            "new_flows",
            "packets",
            "bytes",
            "reals",
        ] {
            assert!(!service[key].is_null(), "no {key} of a service");
        }
        assert_eq!(service["endpoints"], serde_json::json!(["192.0.2.10:80"]));
        for key in [
            "name",
            "address",
            "port",
            "weight",
            "effective_weight",
            "state",
            "reason",
            "mac",
            "flows",
            "new_flows",
            "packets",
            "bytes",
        ] {
            assert!(!service["reals"][0][key].is_null(), "no {key} of a real");
        }
        assert_eq!(service["reals"][0]["state"], "unchecked");
        assert_eq!(status["drops"]["no_real"], 0);
    });
}

#[test]
fn curl_speaks_to_the_control_socket() {
    isolated(|| {
        let (_wire, lbd) = wire_and_lbd();
        let socket = lbd.socket_path();
        let curl = |args: &[&str]| {
            let mut command = Command::new("curl");
            command.args(["--silent", "--write-out", "\n%{http_code}", "--unix-socket"]);
            let output = run(command.arg(&socket).args(args));
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let (body, code) = text.rsplit_once('\n').expect("a status");
            (
                code.to_owned(),
                serde_json::from_str::<Value>(body).unwrap_or_default(),
            )
        };
        let (code, status) = curl(&["http://lbd/v1/status"]);
        assert_eq!(
            (code.as_str(), &status["services"][0]["name"]),
            ("200", &"web".into())
        );
        assert_eq!(curl(&["http://lbd/v1/services/nowhere"]).0, "404");
        assert_eq!(curl(&["http://lbd/v1/nothing"]).0, "404");
        let (code, _) = curl(&["-X", "POST", "http://lbd/v1/reload"]);
        assert_eq!(code, "200");
        let patch = [
            "-X",
            "PATCH",
            "-d",
            "{\"weight\":5}",
            "http://lbd/v1/services/web/reals/rs1",
        ];
        assert_eq!(curl(&patch).0, "200");
        assert_eq!(lbd.real("web", "rs1")["weight"], 5);
        let (code, flows) = curl(&["http://lbd/v1/flows"]);
        assert_eq!(code, "200");
        assert!(flows["flows"].is_array(), "{flows}");
    });
}

#[test]
fn explain_tells_what_then_happens() {
    isolated(|| {
        let (wire, lbd) = wire_and_lbd();
        let socket = RawSocket::open(&wire.generator);
        for port in 40_000..40_020 {
            let (client, vip) = (format!("{CLIENT}:{port}"), format!("{VIP}:{PORT}"));
            let explain = || {
                lbd.ctl(&["explain", "tcp", &client, &vip, "-o", "json"])
                    .json()
            };
            let told = explain();
            assert_eq!(
                (&told["verdict"], &told["flow"]),
                (&"forward".into(), &"miss".into())
            );
            assert_eq!(told["candidates"].as_array().map(Vec::len), Some(3));
            let syn = Headers::v4(port, PORT).tcp("S", 1, b"");
            socket.send(&syn).expect("sent");
            let out = socket
                .receive_where(Duration::from_secs(3), |seen| {
                    seen.get(12..) == syn.get(12..)
                })
                .expect("sent on");
            let mac_told = mac(told["mac"].as_str().expect("a MAC"));
            assert_eq!(dst_mac(&out), Some(mac_told));
            let again = explain();
            assert_eq!(
                (&again["flow"], &again["real"]),
                (&"hit".into(), &told["real"])
            );
        }
        let nothing = lbd.ctl(&[
            "explain",
            "tcp",
            "192.0.2.100:1",
            "192.0.2.10:81",
            "-o",
            "json",
        ]);
        assert_eq!(nothing.json()["verdict"], "pass");
    });
}

#[test]
fn flows_are_listed_with_both_ends() {
    isolated(|| {
        let (wire, lbd) = wire_and_lbd();
        let socket = RawSocket::open(&wire.generator);
        for port in 1_000..1_010 {
            let syn = Headers::v4(port, PORT).tcp("S", 1, b"");
            socket.send(&syn).expect("sent");
            socket
                .receive_where(Duration::from_secs(3), |seen| {
                    seen.get(12..) == syn.get(12..)
                })
                .expect("sent on");
        }
        let list = |args: &[&str]| {
            let answer = lbd.ctl(&[&["flows", "-o", "json"], args].concat()).json();
            answer["flows"].as_array().expect("flows").clone()
        };
        let flows = list(&[]);
        assert_eq!(flows.len(), 10);
        assert!(flows.iter().all(|flow| flow["vip"] == "192.0.2.10:80"));
        assert!(
            flows
                .iter()
                .any(|flow| flow["client"] == "192.0.2.100:1003")
        );
        assert_eq!(list(&["--service", "dns"]).len(), 0);
        assert_eq!(list(&["--client", "192.0.2.0/24"]).len(), 10);
        assert_eq!(list(&["--client", "198.51.100.1"]).len(), 0);
        assert_eq!(list(&["--limit", "4"]).len(), 4);
        let of: usize = ["rs1", "rs2", "rs3"]
            .iter()
            .map(|real| list(&["--real", real]).len())
            .sum();
        assert_eq!(of, 10);
        let rs1 = flows.iter().filter(|flow| flow["real"] == "rs1").count() as u64;
        assert_eq!(lbd.real("web", "rs1")["flows"], rs1);
        assert_eq!(lbd.real("web", "rs1")["mac"], real_mac(1));
    });
}

#[test]
fn metrics_are_clean_and_carry_no_client() {
    isolated(|| {
        let stage = Stage::new(2, Offloads::Defaults, &all_four(2));
        assert_eq!(stage.curl(50).len(), 50);
        let metrics = stage.lbd.metrics();
        let mut promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("promtool, of the package prometheus, is needed");
        let mut stdin = promtool.stdin.take().expect("a pipe");
        stdin.write_all(metrics.text.as_bytes()).expect("written");
        drop(stdin);
        let output = promtool.wait_with_output().expect("promtool");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.success() && said.is_empty(),
            "promtool: {said}"
        );

        assert!(
            !metrics.text.contains(&CLIENT.to_string()),
            "a client's address"
        );
        for name in [
            "lbd_build_info",
            "lbd_engine_info",
            "lbd_ready",
            "lbd_config_revision",
            "lbd_config_reloads_total",
            "lbd_config_last_reload_success_timestamp_seconds",
            "lbd_config_drift",
            "lbd_config_last_good_in_use",
            "lbd_service_up",
            "lbd_service_panic",
            "lbd_service_flows",
            "lbd_service_new_flows_total",
            "lbd_service_packets_total",
            "lbd_service_bytes_total",
            "lbd_real_up",
            "lbd_real_state",
            "lbd_real_weight",
            "lbd_real_flows",
            "lbd_real_new_flows_total",
            "lbd_real_packets_total",
            "lbd_real_bytes_total",
            "lbd_drops_total",
            "lbd_frames_received_total",
            "lbd_frames_sent_total",
            "lbd_frames_passed_total",
            "lbd_ring_drops_total",
            "lbd_flow_entries",
            "lbd_flow_capacity",
            "lbd_vip_announced",
            "lbd_vip_conflicts_total",
        ] {
            assert!(metrics.has(name, &[]), "no {name}");
        }
        let web = [("service", "web")];
        assert_eq!(metrics.value("lbd_service_new_flows_total", &web), 50.0);
        assert_eq!(metrics.value("lbd_real_new_flows_total", &web), 50.0);
        assert_eq!(
            metrics.value(
                "lbd_real_state",
                &[("service", "web"), ("state", "unchecked")]
            ),
            2.0
        );
        // The last packets of a connection may come between the two.
        let what = "status and metrics have counted the same";
        wait_until(what, Duration::from_secs(10), || {
            let rs1 = [("service", "web"), ("real", "rs1")];
            let metrics = stage.lbd.metrics();
            let counted = metrics.value("lbd_real_packets_total", &rs1);
            stage.lbd.real("web", "rs1")["packets"].as_f64() == Some(counted)
        });
    });
}

/// A follower's lines as they come.
fn follow(lbd: &Daemon, args: &[&str]) -> (Child, std::sync::mpsc::Receiver<String>) {
    let mut child = lbd
        .ctl_command(args)
        .stdout(Stdio::piped())
        .spawn()
        .expect("lbctl");
    let out = BufReader::new(child.stdout.take().expect("its stdout"));
    let (to, lines) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
    (child, lines)
}

#[test]
fn events_are_followed_from_the_start_of_lbd_to_its_end() {
    isolated(|| {
        // A refusal that comes late is no silence.
        let check = [
            ("type", "\"tcp\""),
            ("interval", "\"2s\""),
            ("fast_interval", "\"100ms\""),
            ("timeout", "\"2s\""),
            ("fall", "2"),
        ];
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2).check(&check)));
        let (mut child, lines) = follow(&stage.lbd, &["events", "-f"]);
        let until = |words: &str| {
            let deadline = Instant::now() + Duration::from_secs(10);
            let mut seen = Vec::new();
            loop {
                let left = deadline.saturating_duration_since(Instant::now());
                let Ok(line) = lines.recv_timeout(left) else {
                    panic!("{words:?} does not come after {seen:#?}");
                };
                if line.contains(words) {
                    return line;
                }
                seen.push(line);
            }
        };
        until("  lbd 0.");
        until("  vip 192.0.2.10 on eth0 probing -> announced");
        stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        until("change by uid ");
        until("  real web/rs1 up -> draining: ");
        stage.lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
        until("  real web/rs1 draining -> up");
        stage.servers[0].stop();
        until("  real web/rs1 up -> down: connection refused");
        until("  service web up -> degraded: 1 of 2 reals up");
        stage.lbd.write_text("nonsense");
        stage.lbd.ctl(&["reload"]).exits(78);
        until("  reload by command refused, nothing was changed, revision 3: ");

        let show = stage.lbd.ctl(&["real", "show", "web", "rs1"]).ok();
        let history: Vec<String> = show
            .stdout()
            .lines()
            .filter(|line| line.starts_with("history"))
            .map(str::to_owned)
            .collect();
        assert!(
            history[0].ends_with("up -> down: connection refused"),
            "{history:#?}"
        );
        assert!(history[1].contains("draining -> up"), "{history:#?}");
        let json = stage.lbd.ctl(&["-o", "json", "real", "show", "web", "rs1"]);
        assert_eq!(json.json()["history"][0]["to"], "down");

        let past = stage.lbd.ctl(&["events", "-o", "json"]).ok();
        let seqs: Vec<u64> = past
            .stdout()
            .lines()
            .map(|line| {
                let event: Value = serde_json::from_str(line).expect("a document a line");
                assert_eq!(event["api_version"], "v1");
                event["seq"].as_u64().expect("a number")
            })
            .collect();
        assert!(seqs.iter().copied().eq(1..=seqs.len() as u64), "{seqs:?}");

        stage.lbd.stop(Signal::SIGTERM);
        let ended = child.wait().expect("lbctl");
        assert_eq!(ended.code(), Some(5), "the stop of lbd ends the stream");
    });
}
