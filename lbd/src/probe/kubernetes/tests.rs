//! T33 and T34 over a real connection.

use crate::probe::{Answer, ProbeError, Question, Way};
use lbcore::config::{CheckKind, KubernetesCheck, NodeWeight};
use lbcore::health::kubernetes::ServiceName;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_millis(400);

fn question(to: SocketAddr) -> Question {
    Question {
        to,
        way: Way::Real,
        source: None,
        timeout: TIMEOUT,
        kind: CheckKind::Kubernetes(KubernetesCheck {
            path: "/healthz".to_owned(),
            service: Some(ServiceName {
                namespace: "default".to_owned(),
                name: "web".to_owned(),
            }),
            weight: NodeWeight::Endpoints,
        }),
        names: None,
    }
}

/// Asks a node that answers with `first` and then `again` without end; the request it saw.
async fn asked(first: String, again: &'static [u8]) -> (Answer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let to = listener.local_addr().expect("address");
    let node = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("a whole request"));
        }
        // It may hang up on us at any time.
        let mut going = stream.write_all(first.as_bytes()).await.is_ok() && !again.is_empty();
        while going {
            going = stream.write_all(again).await.is_ok();
        }
        String::from_utf8(head).expect("text")
    });
    let answer = question(to).ask_in_time().await;
    (answer, node.await.expect("the node"))
}

fn page(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\n\r\n{body}")
}

const TWO: &str = "{\n\t\"service\": {\n\t\t\"namespace\": \"default\",\n\t\t\"name\": \"web\"\n\t},\n\
                   \t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}";

#[tokio::test]
async fn t33_a_node_with_pods_passes_with_its_weight() {
    let weight = "X-Load-Balancing-Endpoint-Weight: 5\r\n";
    for (headers, expected) in [("", 2), (weight, 5)] {
        let (answer, request) = asked(page("200 OK", headers, TWO), b"").await;
        let found = answer.outcome.expect("it serves");
        assert_eq!(found.weight, Some(expected));
        assert!(
            request.starts_with("GET /healthz HTTP/1.1\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn t33_a_node_without_pods_drains() {
    let none = TWO.replace(": 2", ": 0");
    let (answer, _) = asked(page("503 Service Unavailable", "", &none), b"").await;
    assert!(matches!(answer.outcome, Err(ProbeError::Drains(_))));
}

#[tokio::test]
async fn t33_a_redirect_is_not_followed() {
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let to = elsewhere.local_addr().expect("address");
    let location = format!("location: http://{to}/healthz\r\n");
    let (answer, _) = asked(page("302 Found", &location, ""), b"").await;
    assert_eq!(answer.reason(), "http 302");
    let followed = tokio::time::timeout(Duration::from_millis(1), elsewhere.accept()).await;
    assert!(followed.is_err(), "nobody came");
}

#[tokio::test]
async fn t33_refused_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let to = listener.local_addr().expect("address");
    drop(listener);
    let answer = question(to).ask().await;
    assert_eq!(answer.reason(), "connection refused");
}

#[tokio::test]
async fn t33_trap_1_over_the_wire() {
    let (answer, _) = asked(page("200 OK", "", ""), b"").await;
    assert!(matches!(answer.outcome, Err(ProbeError::Wrong(_))));
}

/// T34: memory and time stay bounded whatever comes.
#[tokio::test]
async fn t34_hostile_nodes_fail_in_time() {
    let endless = "HTTP/1.1 200 OK\r\n\r\n".to_owned();
    let huge = "HTTP/1.1 200 OK\r\ncontent-length: 9223372036854775807\r\n\r\n".to_owned();
    let chunked = "HTTP/1.1 503 X\r\ntransfer-encoding: chunked\r\n\r\n".to_owned();
    for (first, again, too_long) in [
        (endless, &[b' '; 4096][..], true),
        (huge, b"{\"service\":", true),
        (chunked, b"1\r\n{\r\n", false),
        (String::new(), b"HTTP/1.1 100 Continue\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\n".to_owned(), b"a: b\r\n", false),
        (String::new(), &[0; 64], false),
    ] {
        let (answer, _) = asked(first.clone(), again).await;
        let error = answer.outcome.expect_err(&first);
        if too_long {
            assert!(matches!(error, ProbeError::TooLong(_)), "{first}: {error}");
        }
    }
}
