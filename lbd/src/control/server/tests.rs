//! The control socket under friends, strangers and vandals (T60a, T60b).
#![allow(clippy::unwrap_used)]

use super::*;
use crate::control::{EventStream, Following};
use lbcore::api::{How, Request, Response, ServicesView};
use std::os::unix::fs::symlink;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Everything that happens here happens at once; a machine under load gets this long.
const DEADLINE: Duration = Duration::from_secs(20);

fn root() -> Peer {
    Peer {
        uid: 0,
        pid: 1,
        groups: vec![0],
    }
}

fn stranger() -> Peer {
    Peer {
        uid: 65534,
        pid: 1,
        groups: vec![65534],
    }
}

/// Nobody is in a group this host does not have; who asks must be root or run these tests.
fn access(read_group: Option<&str>) -> Arc<Access> {
    Arc::new(Access::new("no-such-group", read_group).0)
}

/// A daemon that has no services, agrees to everything, and keeps what it was asked.
fn agreeable_daemon() -> (mpsc::Sender<Ask>, mpsc::UnboundedReceiver<Request>) {
    let (asks, mut queue) = mpsc::channel(super::super::ASK_QUEUE);
    let (heard, hearing) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(ask) = queue.recv().await {
            if let Ask::Request { request, reply, .. } = ask {
                let _ = heard.send(request);
                let _ = reply.send(Ok(Response::Services(ServicesView { services: vec![] })));
            }
        }
    });
    (asks, hearing)
}

/// Serves one connection of `peer` on a pipe in memory.
fn connection(peer: Peer, access: Arc<Access>, asks: mpsc::Sender<Ask>) -> DuplexStream {
    let (client, server) = duplex(16 * 1024);
    tokio::spawn(serve(server, peer, access, asks));
    client
}

/// Sends `request`, half-closes nothing, and reads until the other side closes.
async fn exchange(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> String {
    // A server that has heard enough closes before everything was sent.
    let _ = stream.write_all(request).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: lbd\r\n\r\n").into_bytes()
}

fn with_body(method: &str, path: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("{method} {path} HTTP/1.1\r\nhost: lbd\r\ncontent-length: {length}\r\n\r\n{body}")
        .into_bytes()
}

const DRAIN: &str = r#"{"admin":"drain"}"#;

#[tokio::test]
async fn requests_reach_the_daemon_and_answers_come_back() {
    let (asks, mut heard) = agreeable_daemon();
    let stream = connection(root(), access(None), asks.clone());
    let answer = exchange(stream, &get("/v1/services")).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(
        answer.contains("content-type: application/json\r\n"),
        "{answer}"
    );
    assert!(
        answer.ends_with(r#"{"api_version":"v1","services":[]}"#),
        "{answer}"
    );
    assert_eq!(heard.recv().await, Some(Request::Services));

    let stream = connection(root(), access(None), asks.clone());
    exchange(
        stream,
        &with_body("PATCH", "/v1/services/web/reals/192.0.2.21", DRAIN),
    )
    .await;
    let Some(Request::SetReal {
        service,
        real,
        keys,
        how,
    }) = heard.recv().await
    else {
        panic!("no change was asked");
    };
    assert_eq!((service, real), ("web".into(), "192.0.2.21".into()));
    assert_eq!((keys.len(), &keys["admin"]), (1, &"drain".into()));
    assert_eq!(how, How::default());
}

#[tokio::test]
async fn wrong_paths_and_methods_are_told_the_right_ones() {
    let (asks, mut heard) = agreeable_daemon();
    for (request, status, words) in [
        (get("/"), "404", "GET /v1/status"),
        (get("/v1/reload"), "405", "knows POST"),
        (
            with_body("PATCH", "/v1/services/a/reals/b", "{"),
            "400",
            "the body is not as expected",
        ),
    ] {
        let stream = connection(root(), access(None), asks.clone());
        let answer = exchange(stream, &request).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{answer}"
        );
        assert!(answer.contains(words), "{answer}");
        assert!(
            answer.contains(r#"{"api_version":"v1","error":{"code":""#),
            "{answer}"
        );
        assert_eq!(answer.contains("allow: "), status == "405", "{answer}");
    }
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn t60a_strangers_look_only_where_they_may_and_change_nothing() {
    let (asks, mut heard) = agreeable_daemon();
    let patch = with_body("PATCH", "/v1/services/web/reals/rs1", DRAIN);
    let reload = with_body("POST", "/v1/reload", "");
    for (peer, readers, request, allowed) in [
        (stranger(), None, get("/v1/status"), true),
        (
            stranger(),
            None,
            with_body("POST", "/v1/reload", r#"{"dry_run":true}"#),
            false,
        ),
        (stranger(), None, patch.clone(), false),
        (stranger(), None, reload.clone(), false),
        (
            stranger(),
            None,
            with_body("POST", "/v1/vips/192.0.2.1/release", ""),
            false,
        ),
        (
            stranger(),
            Some("no-such-readers"),
            get("/v1/status"),
            false,
        ),
        (root(), Some("no-such-readers"), get("/v1/status"), true),
        (root(), None, patch, true),
        (root(), None, reload, true),
    ] {
        let stream = connection(peer.clone(), access(readers), asks.clone());
        let answer = exchange(stream, &request).await;
        let refused = answer.starts_with("HTTP/1.1 403 Forbidden\r\n");
        assert_eq!(!refused, allowed, "{peer:?} {answer}");
        assert_eq!(heard.try_recv().is_ok(), allowed, "{peer:?} {answer}");
    }
}

#[tokio::test]
async fn t60b_headers_and_bodies_are_bounded() {
    let (asks, mut heard) = agreeable_daemon();
    let long_line = [b"GET /".as_slice(), &vec![b'a'; 1 << 20]].concat();
    let many_headers = format!(
        "GET /v1/status HTTP/1.1\r\n{}",
        "x-filler: 0123456789\r\n".repeat(100_000)
    );
    let large_body = format!(
        "PATCH /v1/services/a/reals/b HTTP/1.1\r\nhost: lbd\r\ncontent-length: {}\r\n\r\n{}",
        1 << 20,
        "x".repeat(1 << 20)
    );
    let large_chunks = format!(
        "PATCH /v1/services/a/reals/b HTTP/1.1\r\nhost: lbd\r\ntransfer-encoding: chunked\r\n\r\n{}",
        format!("1000\r\n{}\r\n", "x".repeat(0x1000)).repeat(100)
    );
    let bad_chunks = "PATCH /v1/services/a/reals/b HTTP/1.1\r\nhost: lbd\r\n\
                      transfer-encoding: chunked\r\n\r\nzz\r\n";
    for (name, request, statuses) in [
        ("no newline", long_line, &["414", "431"][..]),
        ("endless headers", many_headers.into_bytes(), &["431"]),
        ("large body", large_body.into_bytes(), &["413"]),
        ("large chunked body", large_chunks.into_bytes(), &["413"]),
        ("bad chunking", bad_chunks.as_bytes().to_vec(), &["400"]),
        (
            "no HTTP at all",
            b"\x16\x03\x01\x00\xa5\x01\x00\r\n\r\n".to_vec(),
            &["400"],
        ),
    ] {
        let stream = connection(root(), access(None), asks.clone());
        let answer = timeout(DEADLINE, exchange(stream, &request))
            .await
            .expect(name);
        let status = answer.get(9..12).unwrap_or_default();
        assert!(statuses.contains(&status), "{name}: {answer}");
        // What comes next is served as if nothing had been.
        let stream = connection(root(), access(None), asks.clone());
        assert!(
            exchange(stream, &get("/v1/status")).await.contains(" 200 "),
            "{name}"
        );
        assert!(
            heard.try_recv().is_ok() && heard.try_recv().is_err(),
            "{name}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn t60b_silence_ends_the_connection() {
    let (asks, _heard) = agreeable_daemon();
    for (name, sent, status, within) in [
        ("nothing", &b""[..], "", HEADER_TIMEOUT),
        ("half a request", b"GET /v1/sta", "", HEADER_TIMEOUT),
        (
            "half a body",
            b"POST /v1/reload HTTP/1.1\r\nhost: lbd\r\ncontent-length: 9\r\n\r\n{",
            "400",
            Duration::from_secs(5),
        ),
    ] {
        let began = Instant::now();
        let stream = connection(root(), access(None), asks.clone());
        let answer = exchange(stream, sent).await;
        assert_eq!(
            answer.get(9..12).unwrap_or_default(),
            status,
            "{name}: {answer}"
        );
        let took = began.elapsed();
        assert!(
            took >= within && took < within + Duration::from_secs(1),
            "{name}: {took:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn t60b_who_does_not_read_the_answer_is_left() {
    let (asks, _heard) = agreeable_daemon();
    let (mut client, server) = duplex(16);
    let serving = tokio::spawn(serve(server, root(), access(None), asks));
    client.write_all(&get("/v1/services")).await.unwrap();
    timeout(CONNECTION_TIMEOUT + Duration::from_secs(1), serving)
        .await
        .unwrap()
        .unwrap();
}

/// A daemon whose events the test sends itself, and one connection that follows them.
async fn following(pipe: usize) -> (DuplexStream, JoinHandle<()>, mpsc::Sender<String>, Cut) {
    let (asks, mut queue) = mpsc::channel(1);
    let (mut client, server) = duplex(pipe);
    let serving = tokio::spawn(serve(server, root(), access(None), asks));
    client.write_all(&get("/v1/events?follow")).await.unwrap();
    let Some(Ask::Events { follow, reply }) = queue.recv().await else {
        panic!("events are asked for");
    };
    assert!(follow);
    let (lines, to_come) = mpsc::channel(8);
    let (cut, until) = watch::channel(());
    let stream = EventStream {
        past: "past\n".into(),
        following: Some(Following {
            lines: to_come,
            cut: until,
        }),
    };
    reply.send(Ok(stream)).unwrap();
    (client, serving, lines, cut)
}

type Cut = watch::Sender<()>;

#[tokio::test(start_paused = true)]
async fn a_stream_outlasts_the_limit_and_ends_with_the_daemon() {
    let (mut client, serving, lines, cut) = following(16 * 1024).await;
    tokio::time::sleep(CONNECTION_TIMEOUT * 3).await;
    lines.send("late\n".into()).await.unwrap();
    drop((lines, cut));
    let mut heard = String::new();
    client.read_to_string(&mut heard).await.unwrap();
    serving.await.unwrap();
    assert!(heard.contains("application/x-ndjson"), "{heard}");
    assert!(
        heard.contains("past\n") && heard.contains("late\n"),
        "{heard}"
    );
    assert!(heard.ends_with("0\r\n\r\n"), "a whole answer: {heard}");
}

#[tokio::test(start_paused = true)]
async fn t60b_who_follows_and_does_not_read_is_left_once_cut_off() {
    let (_client, serving, lines, cut) = following(16).await;
    while lines
        .try_send("more than anybody reads\n".repeat(20))
        .is_ok()
    {}
    tokio::time::sleep(CONNECTION_TIMEOUT * 2).await;
    assert!(!serving.is_finished());
    drop((lines, cut));
    let limit = CONNECTION_TIMEOUT + Duration::from_secs(10);
    timeout(limit, serving).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_follows_and_goes_is_noticed() {
    let (client, serving, lines, _cut) = following(16 * 1024).await;
    drop(client);
    timeout(DEADLINE, lines.closed()).await.unwrap();
    timeout(DEADLINE, serving).await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_daemon_is_a_timeout_and_a_dead_one_is_gone() {
    let (asks, queue) = mpsc::channel(1);
    let stream = connection(root(), access(None), asks.clone());
    let answer = exchange(stream, &get("/v1/status")).await;
    assert!(answer.starts_with("HTTP/1.1 504 "), "{answer}");
    drop(queue);
    let stream = connection(root(), access(None), asks);
    let answer = exchange(stream, &get("/v1/status")).await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
}

/// A served socket in a directory of its own.
struct Served {
    directory: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
    access: watch::Sender<Arc<Access>>,
}

impl Served {
    fn new(asks: mpsc::Sender<Ask>) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let server = Server::bind(&directory.path().join("lbd.sock"), &access(None)).unwrap();
        let (keep, receiver) = watch::channel(access(None));
        Served {
            directory,
            task: tokio::spawn(server.run(receiver, asks)),
            access: keep,
        }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("lbd.sock")
    }

    async fn connect(&self) -> UnixStream {
        UnixStream::connect(self.path()).await.unwrap()
    }
}

#[tokio::test]
async fn the_socket_is_private_and_goes_away_with_the_server() {
    let (asks, _heard) = agreeable_daemon();
    let served = Served::new(asks);
    let there = fs::symlink_metadata(served.path()).unwrap();
    assert_eq!(there.permissions().mode() & 0o7777, 0o660);
    assert_eq!(fs::read_dir(served.directory.path()).unwrap().count(), 1);
    // These tests run as the user the server runs as, so they may change things.
    let answer = exchange(served.connect().await, &with_body("POST", "/v1/reload", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    served.task.abort();
    let _ = served.task.await;
    assert_eq!(fs::read_dir(served.directory.path()).unwrap().count(), 0);
}

/// A file has one group: where another may look, whoever connects is asked who it is.
#[tokio::test]
async fn a_group_of_readers_reaches_the_socket_from_when_it_is_named() {
    let (asks, _heard) = agreeable_daemon();
    let served = Served::new(asks);
    let mode = || {
        fs::symlink_metadata(served.path())
            .unwrap()
            .permissions()
            .mode()
            & 0o7777
    };
    for (read_group, expected) in [(Some("root"), 0o666), (Some("no-such-group"), 0o660)] {
        served.access.send_replace(access(read_group));
        // The next connection is accepted after the change was followed, or the one after it.
        for _ in 0..100 {
            exchange(
                served.connect().await,
                &with_body("GET", "/v1/services", ""),
            )
            .await;
            if mode() == expected {
                break;
            }
        }
        assert_eq!(mode(), expected);
    }
}

#[tokio::test]
async fn a_living_socket_is_kept_and_a_dead_one_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lbd.sock");
    let living = Server::bind(&path, &access(None)).unwrap();
    assert!(matches!(
        Server::bind(&path, &access(None)),
        Err(BindError::InUse(_))
    ));

    // A dead lbd leaves its socket file behind.
    let dead = std::os::unix::net::UnixListener::bind(directory.path().join("dead.sock")).unwrap();
    drop(dead);
    let dead = directory.path().join("dead.sock");
    let fresh = Server::bind(&dead, &access(None)).unwrap();

    // Whoever was replaced does not take the new one's file away.
    fs::rename(&dead, &path).unwrap();
    drop(living);
    assert!(path.exists());
    drop(fresh);
}

#[tokio::test]
async fn t60f_only_a_socket_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file.sock");
    fs::write(&file, "precious").unwrap();
    let link = directory.path().join("link.sock");
    symlink(&file, &link).unwrap();
    for path in [&file, &link] {
        assert!(matches!(
            Server::bind(path, &access(None)),
            Err(BindError::NotASocket(_))
        ));
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let nowhere = directory.path().join("missing/lbd.sock");
    let error = Server::bind(&nowhere, &access(None)).unwrap_err();
    assert!(error.to_string().contains("missing/lbd.sock"), "{error}");
}

#[tokio::test]
async fn t60b_connections_are_bounded_and_places_come_back() {
    let (asks, _heard) = agreeable_daemon();
    let served = Served::new(asks);
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        idle.push(served.connect().await);
    }
    let answer = exchange(served.connect().await, b"").await;
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(
        answer.contains("64 control connections are open"),
        "{answer}"
    );
    idle.clear();
    let next = async {
        loop {
            let answer = exchange(served.connect().await, &get("/v1/status")).await;
            if answer.starts_with("HTTP/1.1 200 ") {
                return;
            }
        }
    };
    timeout(DEADLINE, next).await.expect("places come back");
}

#[tokio::test]
async fn the_server_ends_with_the_daemon() {
    let (asks, queue) = mpsc::channel(1);
    let served = Served::new(asks);
    drop(queue);
    timeout(DEADLINE, served.task).await.unwrap().unwrap();
}
