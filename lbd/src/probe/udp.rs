//! The `udp` check: a datagram is not refused; where the check expects an answer, that comes.

use super::{Found, ProbeError, Question, datagram};
use lbcore::config::UdpCheck;
use tokio::time::Instant;

/// Of an answer so much is looked at: no datagram is longer.
const MOST: usize = 65_535;

/// Asks once. Without `expect` any answer passes, and so does silence, since most UDP services
/// answer only what they understand; an ICMP error (nobody listens there) is a failure.
pub(super) async fn probe(question: &Question, check: &UdpCheck) -> Result<Found, ProbeError> {
    // The way there may take a part of the time: a MAC address has to be asked for.
    let shortly_before_the_end = Instant::now() + datagram::shortly_before(question.timeout);
    let mut socket = datagram::udp(question).await?;
    let send = check.send.as_bytes();
    socket.send(send).await?;
    let mut buffer = vec![0; MOST];
    match &check.expect {
        Some(expect) => {
            let length = socket.recv(&mut buffer).await?;
            let answer = &buffer[..length];
            if contains(answer, expect.as_bytes()) {
                Ok("udp answer".into())
            } else {
                let words = format!("udp answer of {length} bytes, but it lacks {expect:?}");
                Err(ProbeError::SaysNo(words))
            }
        }
        None => {
            let answer = socket.recv(&mut buffer);
            match tokio::time::timeout_at(shortly_before_the_end, answer).await {
                Ok(Ok(_)) => Ok("udp answer".into()),
                Ok(Err(error)) => Err(error),
                Err(_) => Ok("not refused".into()),
            }
        }
    }
}

fn contains(answer: &[u8], wanted: &[u8]) -> bool {
    wanted.is_empty() || answer.windows(wanted.len()).any(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Way;
    use lbcore::config::CheckKind;
    use std::net::SocketAddr;
    use std::time::Duration;
    use tokio::net::UdpSocket;

    fn question(to: SocketAddr, send: &str, expect: Option<&str>) -> Question {
        let (send, expect) = (send.to_owned(), expect.map(str::to_owned));
        Question {
            to,
            way: Way::Real,
            source: None,
            timeout: Duration::from_millis(300),
            kind: CheckKind::Udp(UdpCheck { send, expect }),
            names: None,
        }
    }

    /// A server that answers one datagram so, or not at all.
    async fn server(at: &str, answer: Option<&'static [u8]>) -> SocketAddr {
        let socket = UdpSocket::bind(at).await.expect("bind");
        let address = socket.local_addr().expect("address");
        tokio::spawn(async move {
            let mut buffer = [0; 100];
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a datagram");
            assert_eq!(&buffer[..length], b"ping");
            if let Some(answer) = answer {
                socket.send_to(answer, from).await.expect("sent");
            }
            // Else it listens on in silence.
            socket.recv_from(&mut buffer).await
        });
        address
    }

    async fn reason(to: SocketAddr, expect: Option<&str>) -> String {
        let answer = question(to, "ping", expect).ask().await;
        let mark = if answer.outcome.is_ok() { "+" } else { "-" };
        let reason = answer.reason();
        let words = reason.split(" in ").next().expect("words");
        format!("{mark} {words}")
    }

    #[tokio::test]
    async fn answers() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let good = server(at, Some(b"-pong-")).await;
            assert_eq!(reason(good, Some("pong")).await, "+ udp answer");
            let other = server(at, Some(b"what?")).await;
            let lacks = "- udp answer of 5 bytes, but it lacks \"pong\"";
            assert_eq!(reason(other, Some("pong")).await, lacks);
            let any = server(at, Some(b"")).await;
            assert_eq!(reason(any, None).await, "+ udp answer");
        }
    }

    #[tokio::test]
    async fn silence_passes_only_where_nothing_is_expected() {
        let to = server("127.0.0.1:0", None).await;
        assert_eq!(reason(to, None).await, "+ not refused");
        let to = server("127.0.0.1:0", None).await;
        let answer = question(to, "ping", Some("pong")).ask().await;
        assert_eq!(answer.reason(), "no answer within 300ms");
    }

    #[tokio::test]
    async fn an_icmp_error_is_a_failure() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let closed = std::net::UdpSocket::bind(at).expect("bind");
            let to = closed.local_addr().expect("address");
            drop(closed);
            for expect in [None, Some("pong")] {
                assert_eq!(reason(to, expect).await, "- connection refused");
            }
        }
    }

    #[tokio::test]
    async fn a_wrong_answer_is_a_no_and_not_a_failure() {
        let to = server("127.0.0.1:0", Some(b"what?")).await;
        let answer = question(to, "ping", Some("pong")).ask().await;
        assert!(answer.outcome.is_err_and(|error| error.declines()));
    }
}
