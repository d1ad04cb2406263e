//! Who may use the control socket, and what it stands.

use integration::conf::{Conf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::load::Load;
use integration::stage::PORT;
use integration::tally::Tally;
use integration::topology::Wire;
use integration::{figure, isolated, isolated_within, wait_until};
use serde_json::Value;
use std::fs::Permissions;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const NOBODY: &[&str] = &["--reuid=65534", "--regid=65534", "--clear-groups"];
const NOBODY_IN_ADM: &[&str] = &["--reuid=65534", "--regid=65534", "--groups=4"];
const NOBODY_IN_DAEMON: &[&str] = &["--reuid=65534", "--regid=65534", "--groups=1"];

/// Frames a second beside abuse of the socket.
const RATE: u32 = 5_000;

/// What curl got: the status (0: no connection), and how long that took.
#[derive(Debug)]
struct Got {
    status: u16,
    took: Duration,
}

/// Asks as another user: curl, because whoever that is may not be able to read lbctl.
fn ask(who: &[&str], socket: &Path, method: &str, path: &str, body: &str) -> Got {
    let mut command = Command::new("setpriv");
    command
        .args(who)
        .args(["curl", "--silent", "--output", "/dev/null"]);
    command.args(["--write-out", "%{http_code} %{time_total}"]);
    command.arg("--unix-socket").arg(socket);
    command.args(["--request", method, "--data", body]);
    let output = command
        .arg(format!("http://lbd{path}"))
        .output()
        .expect("setpriv");
    let said = String::from_utf8_lossy(&output.stdout);
    let (status, seconds) = said.split_once(' ').expect("two numbers");
    Got {
        status: status.parse().expect("a status"),
        took: Duration::from_secs_f64(seconds.parse().expect("seconds")),
    }
}

/// In a user namespace of a plain user there is nobody else.
fn has_other_users() -> bool {
    let run = Command::new("setpriv").args(NOBODY).arg("true").status();
    let can = run.is_ok_and(|status| status.success());
    if !can {
        println!("skipped: a second user id needs root");
    }
    can
}

/// Everything that changes something, as far as a stranger can try it.
const WRITES: &[(&str, &str, &str)] = &[
    (
        "PATCH",
        "/v1/services/web/reals/rs1",
        r#"{"admin":"drain"}"#,
    ),
    ("PATCH", "/v1/services/web/reals/rs1", r#"{"weight":0}"#),
    ("POST", "/v1/services/web/reals/rs1/drain", ""),
    ("POST", "/v1/reload", ""),
    ("POST", "/v1/vips/192.0.2.10/release", ""),
];

#[test]
fn t60a_only_administrators_change_anything() {
    isolated(|| {
        if !has_other_users() {
            return;
        }
        let wire = Wire::new();
        let conf = |conf: Conf| conf.lbd("admin_group", "\"daemon\"");
        let open = conf(Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2)));
        let lbd = Daemon::start(&wire.lb, &open);
        let (socket, mode) = (lbd.socket_path(), Permissions::from_mode);
        let about = std::fs::metadata(&socket).expect("the socket");
        assert_eq!(about.permissions().mode() & 0o7777, 0o660);

        // As the unit makes it: whoever is not in the group does not even reach lbd.
        std::fs::set_permissions(lbd.dir(), mode(0o755)).expect("root");
        std::fs::set_permissions(lbd.run_dir(), mode(0o755)).expect("root");
        for who in [NOBODY, NOBODY_IN_ADM] {
            assert_eq!(ask(who, &socket, "GET", "/v1/status", "").status, 0);
        }
        assert_eq!(
            ask(NOBODY_IN_DAEMON, &socket, "GET", "/v1/status", "").status,
            200
        );

        // With every door open the kernel still says who asks.
        std::fs::set_permissions(lbd.run_dir(), mode(0o777)).expect("root");
        std::fs::set_permissions(&socket, mode(0o666)).expect("root");
        let state = || {
            let status = lbd.status();
            (
                status["services"][0]["reals"].clone(),
                status["revision"].clone(),
            )
        };
        let before = state();
        let mut refusals = Vec::new();
        for who in [NOBODY, NOBODY_IN_ADM] {
            assert_eq!(ask(who, &socket, "GET", "/v1/status", "").status, 200);
            for (method, path, body) in WRITES {
                let got = ask(who, &socket, method, path, body);
                assert_eq!(got.status, 403, "{method} {path}");
                refusals.push(got.took);
            }
        }
        let changed =
            |(a, b): (&Value, &Value)| a["admin"] != b["admin"] || a["weight"] != b["weight"];
        let (after, reals) = (state(), |state: &(Value, Value)| {
            state.0.as_array().cloned()
        });
        let (was, is) = (
            reals(&before).expect("reals"),
            reals(&after).expect("reals"),
        );
        assert!(!was.iter().zip(&is).any(changed), "{before:?} {after:?}");
        assert_eq!(before.1, after.1, "no new revision");
        refusals.sort();
        let median = refusals[refusals.len() / 2];
        figure(
            "T60a a change by a stranger is refused within",
            format!("{median:?}"),
        );
        assert!(median <= Duration::from_millis(10), "{refusals:?}");

        // A member of the group may, by a supplementary group.
        let (method, path, body) = WRITES[1];
        assert_eq!(
            ask(NOBODY_IN_DAEMON, &socket, method, path, body).status,
            200
        );
        assert_eq!(lbd.real("web", "rs1")["weight"], 0);

        // Who asked for what, and whether it was done, stands in the log.
        let log = lbd.log();
        let audit = |words: &str| log.lines().filter(|line| line.contains(words)).count();
        assert_eq!(
            audit("control: refused, may not change things"),
            2 * WRITES.len()
        );
        assert_eq!(audit("control: done"), 1, "{log}");
        let lines = log.lines().filter(|line| line.contains("control: "));
        for line in lines {
            let words = ["uid=65534", "pid=", "verb="];
            assert!(words.iter().all(|word| line.contains(word)), "{line}");
        }

        // `read_group`: looking, too, is for members, who now reach it.
        std::fs::set_permissions(&socket, mode(0o660)).expect("root");
        lbd.reload(&open.lbd("read_group", "\"adm\""));
        let mode = || {
            let about = std::fs::metadata(&socket).expect("the socket");
            about.permissions().mode() & 0o7777
        };
        wait_until("readers reach it", Duration::from_secs(5), || {
            mode() == 0o666
        });
        for (who, status) in [(NOBODY, 403), (NOBODY_IN_ADM, 200), (NOBODY_IN_DAEMON, 200)] {
            assert_eq!(
                ask(who, &socket, "GET", "/v1/status", "").status,
                status,
                "{who:?}"
            );
        }
        let (method, path, body) = WRITES[0];
        assert_eq!(ask(NOBODY_IN_ADM, &socket, method, path, body).status, 403);
    });
}

/// Writes until the other side has had enough, at most this much; returns how much went.
fn pour(stream: &mut UnixStream, first: &[u8], again: &[u8], most: u64) -> u64 {
    let mut sent = 0;
    let mut next = first;
    while sent < most {
        match stream.write(next) {
            Ok(0) | Err(_) => break,
            Ok(written) => sent += written as u64,
        }
        next = again;
    }
    sent
}

fn dial(socket: &Path) -> UnixStream {
    let stream = UnixStream::connect(socket).expect("the control socket");
    let limit = Some(Duration::from_secs(10));
    stream.set_read_timeout(limit).expect("a socket");
    stream.set_write_timeout(limit).expect("a socket");
    stream
}

/// Waits for the other side's end.
fn ended(mut stream: UnixStream) -> String {
    let mut answer = Vec::new();
    // A reset is an end, too.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn answers(socket: &Path) -> bool {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return false;
    };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(2)));
    let _ = stream.write_all(b"GET /v1/status HTTP/1.1\r\nhost: lbd\r\n\r\n");
    ended(stream).starts_with("HTTP/1.1 200 ")
}

/// Abuse of every kind, one after the other, while traffic runs.
fn abuse(socket: &Path) {
    const GIB: u64 = 1 << 30;
    let chunk = vec![b'a'; 64 * 1024];
    // A header line that would have a GiB, and headers without end: ended after some KiB.
    for (first, again) in [
        (&b"GET /"[..], &chunk[..]),
        (b"GET /v1/status HTTP/1.1\r\nx: ", &chunk),
        (b"GET /v1/status HTTP/1.1\r\n", b"x-filler: 0123456789\r\n"),
    ] {
        let mut stream = dial(socket);
        let sent = pour(&mut stream, first, again, GIB);
        assert!(sent < 8 << 20, "{sent} bytes were taken");
        let answer = ended(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{answer}"
        );
    }
    // A body that is no such, in size or in shape.
    let patch = "PATCH /v1/services/web/reals/rs1 HTTP/1.1\r\nhost: lbd\r\n";
    for rest in [
        "transfer-encoding: chunked\r\n\r\nzz\r\n",
        "transfer-encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        "content-length: 18446744073709551616\r\n\r\n{",
        "content-length: 1073741824\r\n\r\n{",
        "content-length: 1\r\ncontent-length: 2\r\n\r\n{",
    ] {
        let mut stream = dial(socket);
        stream
            .write_all(format!("{patch}{rest}").as_bytes())
            .expect("sent");
        pour(&mut stream, &chunk, &chunk, 4 << 20);
        let answer = ended(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{rest}: {answer}"
        );
    }
    // Ten thousand connections, fifty at a time open.
    for _ in 0..200 {
        let streams: Vec<_> = (0..50).map(|_| UnixStream::connect(socket)).collect();
        drop(streams);
    }
    wait_until(
        "lbd answers after 10,000 connections",
        Duration::from_secs(10),
        || answers(socket),
    );
    // Half a request, no newline, half a body, then silence: in more places than there are.
    let halves = ["GET /v1/sta", "GET /v1/status HTTP/1.1\r\nhost: l", ""];
    let body = format!("{patch}content-length: 9\r\n\r\n{{");
    let texts = halves.iter().copied().chain([body.as_str()]).cycle();
    let silent: Vec<UnixStream> = texts
        .take(100)
        .filter_map(|text| {
            let mut stream = UnixStream::connect(socket).ok()?;
            // One that was turned away has been told so.
            let _ = stream.write_all(text.as_bytes());
            Some(stream)
        })
        .collect();
    wait_until("the silent ones were left", Duration::from_secs(20), || {
        answers(socket)
    });
    drop(silent);
}

#[test]
fn t60b_abuse_of_the_socket_is_bounded_and_costs_the_traffic_nothing() {
    isolated_within(Duration::from_secs(120), || {
        let wire = Wire::new();
        let conf = Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=4));
        let lbd = Daemon::start(&wire.lb, &conf);
        let tally = Tally::of_reals(&wire.generator, 4);
        let frames = (10_000..10_500)
            .map(|port| Headers::v4(port, PORT).tcp("PA", 2, b"data"))
            .collect();
        let load = Load::start(&wire.generator, frames, RATE);
        // What it needs for its ordinary work is there before the measure begins.
        load.wait_sent(u64::from(RATE));
        assert!(answers(&lbd.socket_path()));
        let before = lbd.resident_kib();
        let start = Instant::now();
        abuse(&lbd.socket_path());
        let (took, after) = (start.elapsed(), lbd.resident_kib());
        let sent = load.stop();
        let lost = sent - tally.settled_at(sent);
        let grown = after.saturating_sub(before);
        figure(
            "T60b abuse of the control socket",
            format!("{grown} KiB more, {lost} of {sent} frames lost in {took:.1?}"),
        );
        assert!(grown <= 8 * 1024, "{before} KiB before, {after} after");
        assert_eq!(lost, 0, "of {sent} frames");
        assert!(!lbd.log().contains("panicked"), "{}", lbd.log());
        lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
    });
}
