//! What comes from servers, requests and files is escaped where it leaves for logs and terminals.

use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::isolated;
use integration::stage::{Stage, web};
use integration::topology::{Offloads, real};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What terminals obey, and what ends a line: none of it leaves lbd.
const NASTY: &str = "\x1b[2J\x07\u{9b}31m\u{202e}";

fn clean(what: &str, text: &str) {
    let odd = |c: char| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c);
    let line = text.lines().find(|line| line.chars().any(odd));
    assert_eq!(line, None, "{what}");
}

/// A server that answers checks with what no terminal should get.
fn hostile(listener: TcpListener) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { return };
        let mut reader = BufReader::new(&stream);
        let mut line = String::new();
        // The check may be gone already.
        let _ = reader.read_line(&mut line);
        let answer =
            format!("HTTP/1.1 500 {NASTY}\r\nserver: {NASTY}\r\ncontent-length: 5\r\n\r\n{NASTY}");
        let _ = (&stream).write_all(answer.as_bytes());
    }
}

#[test]
fn t60c_nothing_from_elsewhere_breaks_a_line_or_moves_a_cursor() {
    isolated(|| {
        let http = [
            ("type", "\"http\""),
            ("port", "81"),
            ("body", "\"\\u001b[2J\\u202e\""),
            ("interval", "\"200ms\""),
            ("fall", "1"),
        ];
        let dns = [
            ("type", "\"dns\""),
            ("query", "\"x.example\""),
            ("port", "82"),
            ("interval", "\"200ms\""),
            ("timeout", "\"100ms\""),
            ("fall", "1"),
        ];
        let conf = Conf::one(web(2).with("description", "\"a\u{202e}b\"").check(&http))
            .service(ServiceConf::tcp("dns", 8053).reals(2..=2).check(&dns))
            .service(
                ServiceConf::tcp("tcp", 8054)
                    .reals(1..=2)
                    .check(FAST_TCP_CHECK),
            );
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &conf);
        let address = IpAddr::from(real(1));
        stage.switch.reals[0].handle().spawn("hostile", move || {
            hostile(TcpListener::bind((address, 81)).expect("a listener"));
        });
        // As noisy as it gets.
        stage.lbd.write(&conf.clone().lbd("log", "\"debug\""));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let lbd = &stage.lbd;
        lbd.wait_real("web", "rs1", "down", Duration::from_secs(10));

        // Names in requests that no service has, by percent-encoding and as they are.
        for path in [
            "/v1/services/%1b%5b2J%0aforged/reals/%00%e2%80%ae",
            "/v1/services/web/reals/\u{202e}x",
            "/v1/services/web%0d%0a/reals/rs1",
        ] {
            let request = format!(
                "PATCH {path} HTTP/1.1\r\nhost: lbd\r\ncontent-length: 12\r\n\r\n{{\"weight\":1}}"
            );
            let mut stream = UnixStream::connect(lbd.socket_path()).expect("the control socket");
            stream.write_all(request.as_bytes()).expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
            assert!(answer.starts_with(b"HTTP/1.1 4"), "{path}");
        }
        let name = format!("x\n{NASTY}");
        for args in [
            &["real", "drain", "web", &name][..],
            &["service", "show", &name],
            &["config", "check", &name],
            &["status"],
            &["status", "-o", "json"],
            &["events"],
            &["events", "-o", "json"],
            &["real", "show", "web", "rs1"],
            &["doctor"],
        ] {
            let answer = lbd.ctl(args);
            clean("stdout", &answer.stdout());
            clean("stderr", &answer.stderr());
        }
        // A file whose name, keys and values are such.
        let odd = lbd.dir().join(format!("x\n{NASTY}.toml"));
        std::fs::write(&odd, format!("[{NASTY}]\n\"{NASTY}\" = \"{NASTY}\n\0")).expect("a file");
        let mut command = Command::new(integration::daemon::binary("lbd"));
        let output = command
            .arg("--config")
            .arg(&odd)
            .arg("--check")
            .stdin(Stdio::null())
            .output();
        let said = String::from_utf8_lossy(&output.expect("lbd").stderr).into_owned();
        clean("lbd --check", &said);
        lbd.write_text(&format!("\"{NASTY}\" = 1\n"));
        lbd.ctl(&["reload"]).exits(78);

        // One line an event: each begins with its time.
        let log = lbd.log();
        clean("the log", &log);
        assert!(
            log.contains("not a valid http answer"),
            "the hostile answer is in it: {log}"
        );
        let is_event =
            |line: &str| line.starts_with("20") && line.contains("T") && line.contains("Z");
        let odd = log.lines().find(|line| !is_event(line));
        assert_eq!(odd, None);
    });
}
