//! The `dns` check: a name server answers a question over UDP.

use super::{Found, ProbeError, Question, datagram};
use lbcore::config::DnsCheck;
use lbcore::health::dns::{self, MAX_ANSWER, Verdict};
use std::hash::{BuildHasher, Hasher, RandomState};

/// Asks once.
pub(super) async fn probe(question: &Question, check: &DnsCheck) -> Result<Found, ProbeError> {
    let mut socket = datagram::udp(question).await?;
    let id = RandomState::new().build_hasher().finish() as u16;
    let query = dns::query(id, &check.query, check.record);
    socket.send(&query).await?;
    let mut buffer = [0; MAX_ANSWER as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match dns::judge(&buffer[..length], id, &check.query, check.record) {
            Verdict::NotOurs => {}
            Verdict::Records(1) => return Ok(format!("dns answer, 1 {}", check.record).into()),
            Verdict::Records(n) => return Ok(format!("dns answer, {n} {}", check.record).into()),
            Verdict::SaysNo(why) => return Err(ProbeError::SaysNo(why)),
            Verdict::Malformed => {
                return Err(ProbeError::Wrong("not a valid dns answer".to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::{Answer, Way};
    use lbcore::config::CheckKind;
    use lbcore::health::dns::Record;
    use std::time::Duration;
    use tokio::net::UdpSocket;

    /// Asks a server that makes of each question these datagrams.
    async fn asked(answers: impl Fn(&[u8]) -> Vec<Vec<u8>> + Send + 'static) -> Answer {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("bind");
        let to = socket.local_addr().expect("address");
        let server = tokio::spawn(async move {
            let mut buffer = [0; 2_000];
            let (length, from) = socket.recv_from(&mut buffer).await.expect("a question");
            for answer in answers(&buffer[..length]) {
                socket.send_to(&answer, from).await.expect("sent");
            }
            socket.recv_from(&mut buffer).await
        });
        let check = DnsCheck {
            query: "shop.example".to_owned(),
            record: Record::A,
        };
        let question = Question {
            to,
            way: Way::Real,
            source: None,
            timeout: Duration::from_millis(300),
            kind: CheckKind::Dns(check),
            names: None,
        };
        let answer = question.ask().await;
        server.abort();
        answer
    }

    /// The question sent back as its own answer, with flags and records.
    fn reply(question: &[u8], flags: [u8; 2], records: &[&[u8]]) -> Vec<u8> {
        let mut reply = question[..question.len() - 11].to_vec();
        reply[2..4].copy_from_slice(&flags);
        reply[7] = records.len() as u8;
        reply[11] = 0;
        reply.extend(records.concat());
        reply
    }

    const A: &[u8] = &[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1];

    #[tokio::test]
    async fn a_record_passes_and_what_is_not_ours_is_waited_out() {
        let answer = asked(|question| {
            let good = reply(question, [0x81, 0x80], &[A]);
            let mut stray = good.clone();
            stray[0] ^= 1;
            vec![vec![], stray, question.to_vec(), good]
        });
        let reason = answer.await.reason();
        assert!(reason.starts_with("dns answer, 1 A in "), "{reason}");
    }

    #[tokio::test]
    async fn a_server_that_says_no_has_not_failed() {
        let answer = asked(|question| vec![reply(question, [0x81, 0x82], &[])]).await;
        assert_eq!(answer.reason(), "dns answer SERVFAIL");
        assert!(answer.outcome.is_err_and(|error| error.declines()));
    }

    #[tokio::test]
    async fn silence_and_garbage_are_failures() {
        let silent = asked(|_| vec![]).await;
        assert_eq!(silent.reason(), "no answer within 300ms");
        let broken = asked(|question| vec![reply(question, [0x81, 0x80], &[&A[..9]])]).await;
        assert_eq!(broken.reason(), "not a valid dns answer");
        assert!(broken.outcome.is_err_and(|error| !error.declines()));
    }
}
