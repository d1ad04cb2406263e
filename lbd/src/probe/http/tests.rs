use super::super::{Answer, Way};
use super::*;
use lbcore::config::CheckKind;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const TIMEOUT: Duration = Duration::from_millis(400);

fn check() -> HttpCheck {
    HttpCheck {
        method: "GET".to_owned(),
        path: "/healthz?deep=1".to_owned(),
        host: None,
        expect: vec![(200, 299)],
        body: None,
        headers: BTreeMap::new(),
    }
}

fn wanting(body: &str) -> HttpCheck {
    HttpCheck {
        body: Some(body.to_owned()),
        ..check()
    }
}

/// Reads the request's head.
async fn heard(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("a whole request"));
    }
    String::from_utf8(head).expect("text")
}

/// Asks a server that hears the request, sends `first`, then `again` every `pause` for ever (or
/// closes, where that is empty).
async fn asked(
    check: HttpCheck,
    first: impl Into<Vec<u8>>,
    again: &'static [u8],
    pause: Duration,
) -> Answer {
    let (first, listener) = (
        first.into(),
        TcpListener::bind("127.0.0.1:0").await.expect("bind"),
    );
    let to = listener.local_addr().expect("address");
    let server: JoinHandle<io::Result<()>> = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        heard(&mut stream).await;
        stream.write_all(&first).await?;
        while !again.is_empty() {
            stream.write_all(again).await?;
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        Ok(())
    });
    let question = Question {
        to,
        way: Way::Real,
        source: None,
        timeout: TIMEOUT,
        kind: CheckKind::Http(check),
        names: None,
    };
    let answer = question.ask_in_time().await;
    server.abort();
    answer
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test]
async fn status_decides() {
    for (status, passes) in [
        (200, true),
        (204, true),
        (302, false),
        (503, false),
        (199, false),
    ] {
        let page = format!("HTTP/1.1 {status} X\r\nlocation: http://192.0.2.1/\r\n\r\n");
        let answer = asked(check(), page, b"", AT_ONCE).await;
        let reason = answer.reason();
        if passes {
            assert!(
                reason.starts_with(&format!("http {status} in ")),
                "{reason}"
            );
        } else if status >= 200 {
            assert_eq!(
                reason,
                format!("http {status}"),
                "a redirect is an answer as any"
            );
        }
        assert_eq!(answer.outcome.is_ok(), passes, "{status}: {reason}");
    }
}

#[tokio::test]
async fn the_body_is_searched_across_its_pieces() {
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\
                   4\r\nI am\r\n5\r\n heal\r\n4\r\nthy!\r\n0\r\n\r\n";
    assert!(
        asked(wanting("healthy"), chunked, b"", AT_ONCE)
            .await
            .outcome
            .is_ok()
    );
    assert!(
        asked(wanting(""), chunked, b"", AT_ONCE)
            .await
            .outcome
            .is_ok()
    );
    let answer = asked(wanting("well"), chunked, b"", AT_ONCE).await;
    assert_eq!(answer.reason(), "http 200, but its body lacks \"well\"");
}

#[tokio::test]
async fn the_request_says_who_asks() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let to = listener.local_addr().expect("address");
    let headers = [("X-Team", "a"), ("User-Agent", "other")];
    let check = HttpCheck {
        headers: headers
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into(),
        ..check()
    };
    let question = Question {
        to,
        way: Way::Real,
        source: None,
        timeout: TIMEOUT,
        kind: CheckKind::Http(check.clone()),
        names: None,
    };
    let server = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let head = heard(&mut stream).await;
        stream
            .write_all(b"HTTP/1.0 200 OK\r\n\r\n")
            .await
            .expect("written");
        head
    };
    let (answer, head) = tokio::join!(question.clone().ask(), server);
    assert!(answer.outcome.is_ok(), "{}", answer.reason());
    assert!(
        head.starts_with("GET /healthz?deep=1 HTTP/1.1\r\n"),
        "{head}"
    );
    for line in [
        &format!("host: {to}"),
        "connection: close",
        "x-team: a",
        "user-agent: other",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}\r\n")),
            "{line} is not in {head}"
        );
    }

    let named = |port, host: Option<&str>| {
        let question = Question {
            to: (std::net::Ipv6Addr::LOCALHOST, port).into(),
            ..question.clone()
        };
        let host = host.map(str::to_owned);
        let request = request(
            &question,
            &HttpCheck {
                host,
                ..check.clone()
            },
            80,
        )
        .expect("valid");
        request.headers()[HOST].to_str().expect("text").to_owned()
    };
    assert_eq!(named(80, None), "[::1]");
    assert_eq!(named(8080, None), "[::1]:8080");
    assert_eq!(named(8080, Some("shop.example")), "shop.example");
}

#[tokio::test]
async fn a_check_that_makes_no_request_is_not_the_reals_fault() {
    for bad in [
        HttpCheck {
            path: "no slash but spaces".to_owned(),
            ..check()
        },
        HttpCheck {
            method: "G T".to_owned(),
            ..check()
        },
        HttpCheck {
            headers: [("a b".to_owned(), String::new())].into(),
            ..check()
        },
        HttpCheck {
            host: Some("a\r\nb: c".to_owned()),
            ..check()
        },
    ] {
        let answer = asked(bad, "", b"", AT_ONCE).await;
        assert!(answer.outcome.is_err_and(|error| error.is_own_trouble()));
    }
}

/// What it does, the check, what it sends first, then for ever, how slowly, and the reason given.
type Hostile = (
    &'static str,
    HttpCheck,
    String,
    &'static [u8],
    Duration,
    &'static str,
);

#[tokio::test]
async fn t34_hostile_servers_are_bounded() {
    const OK: &str = "HTTP/1.1 200 OK\r\n";
    let slowly = Duration::from_millis(20);
    let length = |length: &str| format!("{OK}content-length: {length}\r\n\r\n");
    let chunks = |chunks: &str| format!("{OK}transfer-encoding: chunked\r\n\r\n{chunks}");
    let cases: Vec<Hostile> = vec![
        (
            "headers",
            check(),
            OK.into(),
            b"a: b\r\n",
            AT_ONCE,
            "answer longer than",
        ),
        (
            "a header",
            check(),
            format!("{OK}a: "),
            b"bbbbbbbb",
            AT_ONCE,
            "answer longer than",
        ),
        (
            "a line",
            check(),
            String::new(),
            b"HTTP/1.1",
            AT_ONCE,
            "not a valid http answer",
        ),
        (
            "NULs",
            check(),
            String::new(),
            &[0; 64],
            AT_ONCE,
            "not a valid http answer",
        ),
        (
            "interim answers",
            check(),
            String::new(),
            b"HTTP/1.1 100 Continue\r\n\r\n",
            AT_ONCE,
            "answer longer than 64 KiB",
        ),
        (
            "a slow head",
            check(),
            OK.into(),
            b"a",
            slowly,
            "no answer within 400ms",
        ),
        (
            "a slow body",
            wanting("x"),
            format!("{OK}\r\n"),
            b"a",
            slowly,
            "no answer within 400ms",
        ),
        (
            "body",
            wanting("x"),
            format!("{OK}\r\n"),
            b"aaaa",
            AT_ONCE,
            "answer longer than 64 KiB",
        ),
        (
            "2^63",
            wanting("x"),
            length("9223372036854775808"),
            b"a",
            slowly,
            "no answer within",
        ),
        (
            "2^64",
            wanting("x"),
            length("18446744073709551616"),
            b"a",
            slowly,
            "not a valid",
        ),
        (
            "a negative",
            wanting("x"),
            length("-1"),
            b"a",
            slowly,
            "not a valid",
        ),
        (
            "bad chunks",
            wanting("x"),
            chunks("zz\r\n"),
            b"a",
            slowly,
            "not a valid",
        ),
        (
            "big chunk",
            wanting("x"),
            chunks("fffffffffffffffff\r\n"),
            b"a",
            slowly,
            "not a valid",
        ),
        (
            "a cut line",
            check(),
            "HTTP/1.1 2".into(),
            b"",
            AT_ONCE,
            "connection closed",
        ),
        (
            "a cut body",
            wanting("x"),
            length("100"),
            b"",
            AT_ONCE,
            "connection closed",
        ),
        (
            "nothing",
            check(),
            String::new(),
            b"",
            AT_ONCE,
            "connection closed",
        ),
    ];
    for (name, check, first, again, pause, expected) in cases {
        let answer = asked(check, first, again, pause).await;
        let reason = answer.reason();
        assert!(reason.starts_with(expected), "{name}: {reason}");
        assert!(
            answer.outcome.is_err_and(|error| !error.is_own_trouble()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn an_endless_page_that_nobody_asked_about_is_not_read() {
    let answer = asked(check(), "HTTP/1.1 200 OK\r\n\r\n", b"aaaa", AT_ONCE).await;
    assert!(answer.outcome.is_ok(), "{}", answer.reason());
}

/// T34: whatever the server sends, no more than the bound and one buffer leaves the socket.
#[tokio::test]
async fn t34_reading_ends_at_the_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let client = TcpStream::connect(listener.local_addr().expect("address"));
    let (client, accepted) = tokio::join!(client, listener.accept());
    let (mut server, _) = accepted.expect("accepted");
    let endless = tokio::spawn(async move { while server.write_all(&[1; 999]).await.is_ok() {} });

    let mut bounded = Bounded::new(client.expect("connected"), 10_000);
    let (mut read, mut buffer) = (0, [0; 100]);
    let end = loop {
        match bounded.read(&mut buffer).await {
            Ok(count) => read += count,
            Err(error) => break error,
        }
    };
    assert_eq!(end.kind(), io::ErrorKind::FileTooLarge);
    assert!((9_901..=10_000).contains(&read), "{read}");
    endless.abort();
}
