//! `lbctl trace`, `replay`, `explain`, and what `flows` and `events` leave out on request, on real
//! traffic.

use integration::capture::write_pcap;
use integration::conf::{Conf, ServiceConf};
use integration::daemon::{Daemon, binary};
use integration::dial::{echo, round};
use integration::frames::Headers;
use integration::load::Load;
use integration::stage::{PORT, REAL_PORT, RoutedStage, proxied, vip};
use integration::topology::{CLIENT, VIP, Wire};
use integration::wait::wait_for;
use integration::wire::RawSocket;
use integration::{isolated, wait_until};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

/// A `lbctl trace -o json` that runs; it sees what comes from now on.
struct Trace {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Trace {
    fn start(lbd: &Daemon, args: &[&str]) -> Trace {
        let mut child = lbd
            .ctl_command(&[&["trace", "-o", "json"], args].concat())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("lbctl");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut trace = Trace { child, lines };
        let begin = trace.next().expect("a first line");
        assert_eq!(
            (&begin["event"], &begin["api_version"]),
            (&"begin".into(), &"v1".into())
        );
        trace
    }

    fn next(&mut self) -> Option<Value> {
        let line = self.lines.next()?.expect("a line");
        Some(serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}")))
    }

    /// All that is still to come, the exit code, and what was said.
    fn finish(mut self) -> (Vec<Value>, i32, String) {
        let lines = std::iter::from_fn(|| self.next()).collect();
        let mut said = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut said).expect("words");
        let code = self.child.wait().expect("lbctl").code().unwrap_or(-1);
        (lines, code, said)
    }
}

fn wire_and_lbd() -> (Wire, Daemon, RawSocket) {
    let wire = Wire::new();
    let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=3))
        .service(ServiceConf::udp("dns", 53).pinned_reals(1..=2));
    let lbd = Daemon::start(&wire.lb, &conf);
    let socket = RawSocket::open(&wire.generator);
    (wire, lbd, socket)
}

/// `lbctl` without a daemon.
fn offline(args: &[&str]) -> Output {
    Command::new(binary("lbctl"))
        .args(args)
        .output()
        .expect("lbctl")
}

fn replay(capture: &Path, lbd: &Daemon, args: &[&str]) -> Output {
    let (config, key) = (lbd.config_path(), lbd.state_dir().join("hash.key"));
    let [capture, config, key] = [capture, &config, &key].map(|p| p.to_str().expect("a path"));
    offline(&[&["replay", capture, "--config", config, "--key", key], args].concat())
}

fn json_lines(output: &Output) -> Vec<Value> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// Frames of all kinds: flows that begin, go on, end; no beginning; malformed; of a fragment.
fn mixture() -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for port in 40_000..40_010 {
        for flags in ["S", "A", "PA", "FA"] {
            frames.push(Headers::v4(port, PORT).tcp(flags, 1, b"some bytes"));
        }
    }
    frames.push(Headers::v4(41_000, PORT).tcp("A", 1, b"out of nowhere"));
    frames.push(Headers::v4(41_001, PORT).tcp("SF", 1, b""));
    frames.push(Headers::v4(41_002, 53).udp(b"a question"));
    frames.push(Headers::v4(41_002, 53).udp(b"another"));
    let mut fragment = Headers::v4(41_003, PORT).tcp("S", 1, b"");
    fragment[20] = 0x20;
    frames.push(fragment);
    frames
}

/// What a line says of a packet, without when.
fn said(line: &Value) -> Value {
    let mut line = line.clone();
    let object = line.as_object_mut().expect("an object");
    object.remove("at");
    line
}

#[test]
fn a_live_trace_and_a_replay_of_its_capture_tell_the_same() {
    isolated(|| {
        let (wire, lbd, socket) = wire_and_lbd();
        let frames = mixture();
        let count = frames.len().to_string();
        let trace = Trace::start(&lbd, &["--count", &count]);
        for frame in &frames {
            socket.send(frame).expect("sent");
        }
        let (mut live, code, words) = trace.finish();
        assert_eq!(code, 0, "{words}");
        let end = live.pop().expect("an end");
        assert_eq!(
            (&end["event"], &end["why"]),
            (&"end".into(), &"count".into())
        );
        assert_eq!(end["shown"], frames.len());
        assert!(words.contains("as many as asked for"), "{words}");
        assert_eq!(live.len(), frames.len());
        let syn = &live[0];
        for (key, value) in [
            ("event", json!("packet")),
            ("interface", json!("eth0")),
            ("protocol", json!("tcp")),
            ("client", json!(format!("{CLIENT}:40000"))),
            ("vip", json!(format!("{VIP}:{PORT}"))),
            ("flags", json!("SYN")),
            ("length", json!(64)),
            ("service", json!("web")),
            ("flow", json!("miss")),
            ("verdict", json!("forward")),
            ("out", json!("eth0")),
        ] {
            assert_eq!(syn[key], value, "{key}: {syn}");
        }
        assert_eq!(
            (&live[1]["flow"], &live[1]["flow_state"]),
            (&"hit".into(), &"syn_recv".into())
        );
        let drops: Vec<&str> = live
            .iter()
            .filter_map(|l| l["drop_reason"].as_str())
            .collect();
        assert_eq!(drops, ["malformed", "fragment"]);

        let capture = lbd.dir().join("seen.pcap");
        write_pcap(&capture, &frames);
        let mut replayed = json_lines(&replay(&capture, &lbd, &["-o", "json"]));
        let summary = replayed.pop().expect("a summary");
        let told: Vec<Value> = replayed.iter().map(said).collect();
        let live: Vec<Value> = live.iter().map(said).collect();
        assert_eq!(told, live);
        assert_eq!(summary["event"], "summary");
        assert_eq!(summary["packets"], frames.len());
        assert_eq!(summary["drops"], json!({"malformed": 1, "fragment": 1}));
        drop(wire);
    });
}

#[test]
fn filters_choose_and_the_end_says_what_was_left_out() {
    isolated(|| {
        let (_wire, lbd, socket) = wire_and_lbd();
        let prefix = format!("{CLIENT}/32");
        let every = Trace::start(
            &lbd,
            &["--service", "web", "--sample", "1/4", "--count", "10"],
        );
        let drops = Trace::start(
            &lbd,
            &["--verdict", "drop", "--client", &prefix, "--count", "2"],
        );
        let passed = Trace::start(&lbd, &["--verdict", "pass", "--count", "1"]);
        for frame in mixture() {
            socket.send(&frame).expect("sent");
        }
        socket
            .send(&Headers::v4(40_000, 81).tcp("S", 1, b""))
            .expect("sent");
        let (lines, code, words) = every.finish();
        assert_eq!(code, 0, "{words}");
        let flags: Vec<&Value> = lines.iter().filter_map(|l| l.get("flags")).collect();
        assert_eq!(flags, vec!["SYN"; 10]);
        let end = lines.last().expect("an end");
        assert!(end["sampled_out"].as_u64() >= Some(27), "{end}");
        assert!(words.contains("by --sample"), "{words}");
        let (lines, _, words) = drops.finish();
        let reasons: Vec<&Value> = lines.iter().filter_map(|l| l.get("drop_reason")).collect();
        assert_eq!(reasons, ["malformed", "fragment"]);
        let end = lines.last().expect("an end");
        assert_eq!((&end["why"], &end["matched"]), (&"count".into(), &2.into()));
        assert!(words.contains("2 of 2 shown: as many"), "{words}");
        let (lines, ..) = passed.finish();
        assert_eq!(lines[0]["reason"], format!("no service has {VIP}:81/tcp"));
        // Time ends a trace, too.
        let idle = Trace::start(&lbd, &["--verdict", "drop", "--for", "100ms"]);
        let (lines, _, words) = idle.finish();
        let end = lines.last().expect("an end");
        assert_eq!((&end["why"], &end["matched"]), (&"time".into(), &0.into()));
        assert!(words.contains("0 of 0 shown: time is up"), "{words}");
    });
}

#[test]
fn a_trace_under_load_loses_no_frame_and_says_what_it_did_not_show() {
    isolated(|| {
        let (wire, lbd, _socket) = wire_and_lbd();
        let frames = (0..64u16).map(|n| Headers::v4(10_000 + n, PORT).tcp("A", 1, b"load"));
        let frames: Vec<Vec<u8>> = frames.collect();
        let load = Load::start(&wire.generator, frames, 4000);
        // Their reader reads no more once the pipe is full: they must hold up nobody.
        let mut asleep: Vec<Trace> = (0..4)
            .map(|_| Trace::start(&lbd, &["--rate", "10000", "--count", "1000000"]))
            .collect();
        let refused = lbd.ctl(&["trace"]).exits(1);
        assert!(
            refused.stderr().contains("4 traces run already"),
            "{}",
            refused.stderr()
        );
        // Who goes away leaves his place.
        let leave = |mut trace: Trace| {
            trace.child.kill().expect("killed");
            trace.child.wait().expect("ended");
        };
        let has_place = || lbd.ctl(&["trace", "--for", "1ms"]).code() == 0;
        leave(asleep.pop().expect("one asleep"));
        wait_until("its place is free", SOON, has_place);
        let counted = Trace::start(&lbd, &["--rate", "50", "--for", "2s", "--count", "100000"]);
        load.wait_sent(8000);
        let (lines, code, words) = counted.finish();
        assert_eq!(code, 0, "{words}");
        let end = lines.last().expect("an end");
        let number = |key: &str| end[key].as_u64().expect("a number");
        let parts = ["shown", "sampled_out", "over_rate", "queue_full", "late"];
        assert_eq!(
            parts.map(number).iter().sum::<u64>(),
            number("matched"),
            "{end}"
        );
        assert_eq!(number("shown"), lines.len() as u64 - 1);
        assert!(number("over_rate") > 0, "{end}");
        assert!(words.contains("over --rate"), "{words}");
        let sent = load.stop();
        let (forwarded, _) = wait_for("every frame was forwarded", SOON, || {
            let metrics = lbd.settled_metrics();
            let total = |name: &str| metrics.value(name, &[]) as u64;
            assert_eq!(total("lbd_ring_drops_total"), 0);
            let forwarded = total("lbd_frames_sent_total");
            (forwarded >= sent).then_some(forwarded)
        });
        assert_eq!(forwarded, sent);
        asleep.into_iter().for_each(leave);
        wait_until("the places are free again", SOON, has_place);
    });
}

#[test]
fn proxied_connections_are_lines_when_they_begin_and_end() {
    isolated(|| {
        let conf = Conf::one(proxied(2).with("scheduler", "\"rr\""));
        let mut stage = RoutedStage::new(2, &conf);
        let client = stage.client();
        let mut trace = Trace::start(&stage.lbd, &["--service", "web"]);
        let (mut stream, who) = echo(&client, vip()).expect("proxied");
        round(&mut stream).expect("there and back");
        let connected = trace.next().expect("a line");
        for (key, value) in [
            ("event", json!("connected")),
            ("protocol", json!("tcp")),
            ("vip", json!(vip().to_string())),
            ("service", json!("web")),
            ("verdict", json!("proxy")),
            ("real", json!(who.server)),
            ("result", Value::Null),
        ] {
            assert_eq!(connected[key], value, "{key}: {connected}");
        }
        let server = connected["server"].as_str().expect("where");
        assert!(server.ends_with(&format!(":{REAL_PORT}")), "{connected}");
        drop(stream);
        let ended = trace.next().expect("a line");
        assert_eq!(
            (&ended["event"], &ended["result"]),
            (&"ended".into(), &"ok".into())
        );
        assert_eq!(
            (&ended["real"], &ended["bytes_in"]),
            (&connected["real"], &json!(10))
        );

        // One that refuses is passed over, and told.
        stage.servers[0].stop();
        let mut streams = Vec::new();
        let (tried, _) = wait_for("rs1 was tried in vain", SOON, || {
            streams.push(echo(&client, vip()).expect("proxied"));
            let line = trace.next().expect("a line");
            assert_eq!(line["real"], "rs2");
            (line["tried"] == json!(["rs1"])).then_some(line)
        });
        assert_eq!(tried["event"], "connected");
        stage.servers[1].stop();
        let failed = Trace::start(&stage.lbd, &["--reason", "connect_failed", "--count", "1"]);
        let _ = echo(&client, vip());
        let (lines, ..) = failed.finish();
        assert_eq!(
            (&lines[0]["verdict"], &lines[0]["real"]),
            (&"refuse".into(), &Value::Null)
        );

        // lbd's own end is told, and is not an ordinary one. It waits for connections.
        drop(streams);
        stage.lbd.stop(Signal::SIGTERM);
        let (lines, code, words) = trace.finish();
        assert_eq!(code, 5, "{words}");
        assert_eq!(lines.last().expect("an end")["why"], "stopping");
        assert!(words.contains("lbd stops"), "{words}");
    });
}

#[test]
fn the_words_of_trace_and_replay() {
    isolated(|| {
        let (_wire, lbd, socket) = wire_and_lbd();
        for (args, code, words) in [
            (
                &["trace", "--service", "nowhere"][..],
                3,
                "there is no service nowhere",
            ),
            (&["trace", "--real", "rs9"], 3, "no service has a real rs9"),
            (&["trace", "--reason", "boredom"], 2, "reasons: malformed"),
            (&["trace", "--rate", "20000"], 2, "at most 10000"),
            (&["trace", "--for", "2h"], 2, "at most an hour"),
        ] {
            let answer = lbd.ctl(args).exits(code);
            assert!(
                answer.stderr().contains(words),
                "{args:?}: {}",
                answer.stderr()
            );
            assert_eq!(answer.stdout(), "");
        }
        let child = lbd
            .ctl_command(&["trace", "--count", "2"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.expect("lbctl");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut first = String::new();
        stderr.read_line(&mut first).expect("words");
        assert_eq!(first, "tracing until 2 lines or 1m; Ctrl-C ends it\n");
        let mut bad = Headers::v4(40_000, PORT).tcp("S", 1, b"");
        bad[46] = 0x10;
        let frames = [Headers::v4(40_000, PORT).tcp("S", 1, b""), bad];
        for frame in &frames {
            socket.send(frame).expect("sent");
        }
        let output = child.wait_with_output().expect("lbctl");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let head = format!(" tcp {CLIENT}:40000 > {VIP}:{PORT} SYN 54 B web miss: forward to rs");
        assert!(lines[0].contains(&head), "{text}");
        assert!(
            lines[0].ends_with(" via eth0 (a new flow: maglev decides)"),
            "{text}"
        );
        let tail = format!(" {CLIENT} > {VIP} 54 B: drop malformed (TCP data offset below 5)");
        assert!(lines[1].ends_with(&tail), "{text}");

        let capture = lbd.dir().join("seen.pcap");
        write_pcap(&capture, &frames);
        let replayed = replay(&capture, &lbd, &[]);
        let text = String::from_utf8_lossy(&replayed.stdout).into_owned();
        assert!(text.contains(&head) && text.contains(&tail), "{text}");
        assert!(
            text.contains("2 packets in 0s, 1 drop, 1 forward"),
            "{text}"
        );
        let words = String::from_utf8_lossy(&replayed.stderr).into_owned();
        assert!(
            words.contains("are taken as lbd's; --mac says otherwise"),
            "{words}"
        );
        assert!(!words.contains("--key"), "{words}");

        let down = [
            "--down",
            "rs1",
            "--down",
            "rs2",
            "--down",
            "web/rs3",
            "--summary",
            "-o",
            "json",
        ];
        let summary = json_lines_of(&replay(&capture, &lbd, &down));
        assert_eq!(
            summary["drops"],
            json!({"malformed": 1, "no_real": 1}),
            "{summary}"
        );

        let nonsense = lbd.dir().join("nonsense");
        std::fs::write(&nonsense, "no capture").expect("a file");
        let broken = lbd.dir().join("broken.toml");
        std::fs::write(&broken, "service = 7").expect("a file");
        let [capture, nonsense, broken, config, missing] = [
            &capture,
            &nonsense,
            &broken,
            &lbd.config_path(),
            &lbd.dir().join("none"),
        ]
        .map(|path| path.to_str().expect("a path").to_owned());
        for (args, code, words) in [
            (
                &["replay", &nonsense, "--config", &config][..],
                1,
                "neither a pcap nor a pcapng",
            ),
            (&["replay", &missing, "--config", &config], 1, "cannot read"),
            (&["replay", &capture, "--config", &broken], 78, "refused"),
            (
                &["replay", &capture, "--config", &config, "--down", "rs9"],
                3,
                "has a real rs9",
            ),
            (
                &["replay", &capture, "--config", &config, "--service", "no"],
                3,
                "no service no",
            ),
            (
                &["replay", &capture, "--config", &config, "--key", &config],
                1,
                "no hash key",
            ),
            (
                &["replay", &capture, "--config", &config],
                0,
                "without --key new flows may go",
            ),
        ] {
            let output = offline(args);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
            assert!(said.contains(words), "{args:?}: {said}");
        }
    });
}

/// One document.
fn json_lines_of(output: &Output) -> Value {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn explain_shows_each_step_and_what_comes_near() {
    isolated(|| {
        let (_wire, lbd, socket) = wire_and_lbd();
        let (client, target) = (format!("{CLIENT}:40000"), format!("{VIP}:{PORT}"));
        let explain = |args: &[&str]| {
            let line = [&["explain", "tcp", &client, &target, "-o", "json"], args].concat();
            lbd.ctl(&line).json()
        };
        // A packet out of nowhere goes by the ring, and so does maglev's SYN.
        let (syn, ack) = (explain(&["--syn"]), explain(&["--ack"]));
        assert_eq!(
            (&syn["packet"], &ack["packet"]),
            (&"syn".into(), &"ack".into())
        );
        for view in [&syn, &ack] {
            assert_eq!(view["flow"], "miss");
            assert_eq!(view["real"], view["ring_real"], "{view}");
            let why = |c: &Value| c["why_not"].is_null() == (c["chosen"] == true);
            let candidates = view["candidates"].as_array().expect("candidates");
            assert!(candidates.iter().all(why), "{view}");
        }
        let steps = |view: &Value| {
            let steps = view["steps"].as_array().expect("steps").iter();
            steps
                .filter_map(Value::as_str)
                .collect::<Vec<_>>()
                .join("\n")
        };
        assert!(
            steps(&syn).contains("a SYN: a new flow: maglev decides"),
            "{}",
            steps(&syn)
        );
        assert!(
            steps(&ack).contains("no beginning: the ring decides"),
            "{}",
            steps(&ack)
        );
        assert!(steps(&ack).contains("falls on slot"), "{}", steps(&ack));
        socket
            .send(&Headers::v4(40_000, PORT).tcp("S", 1, b""))
            .expect("sent");
        wait_until("the flow is known", SOON, || explain(&[])["flow"] == "hit");
        let known = explain(&[]);
        assert_eq!(
            (&known["packet"], &known["real"]),
            (&"ack".into(), &syn["real"])
        );
        let entry = &known["entry"];
        assert_eq!(
            (&entry["state"], &entry["real"]),
            (&"syn_recv".into(), &syn["real"])
        );
        let expires = entry["expires_ms"].as_u64().expect("a time");
        assert!((1..=60_000).contains(&expires), "{entry}");
        assert!(entry["age_ms"].as_u64().is_some(), "{entry}");

        let near = lbd
            .ctl(&["explain", "udp", &client, &target, "-o", "json"])
            .json();
        assert_eq!(near["verdict"], "pass");
        let told = |n: usize, key: &str| near["near"][n][key].as_str().expect("near").to_owned();
        assert_eq!(
            (told(0, "service"), told(0, "why_not")),
            ("web".into(), "another protocol".into())
        );
        assert_eq!(
            (told(1, "service"), told(1, "why_not")),
            ("dns".into(), "another port".into())
        );
        let table = lbd.ctl(&["explain", "udp", &client, &target]).ok().stdout();
        assert!(table.contains("service web is near: "), "{table}");
        lbd.ctl(&["explain", "udp", &client, &target, "--syn"])
            .exits(2);
    });
}

#[test]
fn flows_and_events_leave_out_what_is_not_asked_for() {
    isolated(|| {
        let (_wire, lbd, socket) = wire_and_lbd();
        for (port, flags) in [
            (40_000, &["S", "A"][..]),
            (40_001, &["S"]),
            (40_002, &["S"]),
        ] {
            for flags in flags {
                socket
                    .send(&Headers::v4(port, PORT).tcp(flags, 1, b""))
                    .expect("sent");
            }
        }
        socket
            .send(&Headers::v4(40_000, 53).udp(b"a question"))
            .expect("sent");
        let flows = |args: &[&str]| lbd.ctl(&[&["flows", "-o", "json"], args].concat()).json();
        wait_until("all flows are known", SOON, || flows(&[])["matched"] == 4);
        for (args, count) in [
            (&["--state", "established"][..], 1),
            (&["--state", "syn_recv"], 2),
            (&["--protocol", "udp"], 1),
            (&["--protocol", "tcp", "--state", "udp_new"], 0),
        ] {
            assert_eq!(flows(args)["matched"], count, "{args:?}");
        }
        let all = flows(&[]);
        let services: Vec<&str> = all["flows"]
            .as_array()
            .expect("flows")
            .iter()
            .filter_map(|flow| flow["service"].as_str())
            .collect();
        assert_eq!(services, ["web", "web", "web", "dns"], "in file order");
        let flow = &all["flows"][0];
        for key in ["age_ms", "idle_ms", "expires_ms"] {
            assert!(flow[key].as_u64().is_some(), "{key}: {flow}");
        }
        let cut = lbd.ctl(&["flows", "--limit", "3"]).ok();
        assert!(cut.stderr().contains("3 of 4 flows"), "{}", cut.stderr());
        let header = cut
            .stdout()
            .lines()
            .next()
            .map(str::to_owned)
            .unwrap_or_default();
        assert!(
            header.contains("AGE") && header.contains("EXPIRES"),
            "{header}"
        );
        lbd.ctl(&["flows", "--state", "open"]).exits(2);

        lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        let events = |args: &[&str]| lbd.ctl(&[&["events"], args].concat()).ok().stdout();
        let shown = events(&["--service", "192.0.2.10:80/tcp", "--real", "rs1"]);
        assert!(
            shown.contains("real web/rs1") && shown.contains("change by uid"),
            "{shown}"
        );
        assert!(!shown.contains("rs2") && !shown.contains("dns"), "{shown}");
        let kinds = events(&["--kind", "start", "--kind", "change"]);
        assert_eq!(kinds.lines().count(), 2, "{kinds}");
        assert_eq!(events(&["--service", "nothing"]), "");
        lbd.ctl(&["events", "--kind", "rumour"]).exits(2);
    });
}
