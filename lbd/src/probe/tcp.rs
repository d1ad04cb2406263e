//! The `tcp` check: a connection opens.

use super::{Found, ProbeError, Question, Way, wire};
use crate::sys::transparent;
use socket2::Domain;
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};

/// Opens a connection and closes it with a reset: nothing was said, so nothing can be lost, and
/// neither side keeps a socket in TIME_WAIT for every probe.
pub(super) async fn probe(question: &Question) -> Result<Found, ProbeError> {
    match question.road().await? {
        Some(road) => drop(wire::connect(road).await?),
        None => {
            let stream = dial(question).await?;
            stream.set_zero_linger().map_err(ProbeError::Io)?;
        }
    }
    Ok("connected".into())
}

/// A connection, whoever speaks TCP on our side.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects the way the question goes.
pub(super) async fn connect(question: &Question) -> Result<Box<dyn Stream>, ProbeError> {
    Ok(match question.road().await? {
        Some(road) => Box::new(wire::connect(road).await?),
        None => Box::new(dial(question).await?),
    })
}

/// Connects a socket of this host to the real, from the check's source address if it has one.
async fn dial(question: &Question) -> Result<TcpStream, ProbeError> {
    let socket = bound(question).map_err(ProbeError::Socket)?;
    socket.connect(question.to).await.map_err(ProbeError::Io)
}

fn bound(question: &Question) -> io::Result<TcpSocket> {
    if question.way == Way::Client {
        let domain = Domain::for_address(question.to);
        let socket = transparent::dial_from(question.source, domain)?;
        return Ok(TcpSocket::from_std_stream(socket.into()));
    }
    let socket = match question.to {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    if let Some(source) = question.source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbcore::config::CheckKind;
    use std::io::ErrorKind;
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    const HOME: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn question(to: SocketAddr) -> Question {
        Question {
            to,
            way: Way::Real,
            source: None,
            timeout: Duration::from_secs(5),
            kind: CheckKind::Tcp,
            names: None,
        }
    }

    #[tokio::test]
    async fn an_open_port_passes_and_sees_a_reset_from_the_source() {
        let listener = TcpListener::bind((HOME, 0)).await.expect("listener");
        let source = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77));
        let asked = Question {
            source: Some(source),
            ..question(listener.local_addr().expect("address"))
        };
        let (answer, accepted) = tokio::join!(asked.ask(), listener.accept());

        assert!(
            answer.reason().starts_with("connected in "),
            "{}",
            answer.reason()
        );
        let (mut stream, client) = accepted.expect("accepted");
        assert_eq!(client.ip(), source);
        let end = stream.read(&mut [0; 1]).await.map_err(|e| e.kind());
        assert_eq!(end, Err(ErrorKind::ConnectionReset));
    }

    #[tokio::test]
    async fn a_closed_port_is_refused() {
        let listener = TcpListener::bind((HOME, 0)).await.expect("listener");
        let address = listener.local_addr().expect("address");
        drop(listener);
        assert_eq!(question(address).ask().await.reason(), "connection refused");
    }

    #[tokio::test]
    async fn a_source_this_host_has_not_is_own_trouble() {
        let asked = Question {
            source: Some(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1))),
            ..question(SocketAddr::new(HOME, 9))
        };
        let answer = asked.ask().await;
        assert!(answer.outcome.is_err_and(|error| error.is_own_trouble()));
    }

    #[tokio::test]
    async fn silence_is_no_answer() {
        // A listener whose queue is full answers no further SYN.
        let socket = TcpSocket::new_v4().expect("socket");
        socket.bind(SocketAddr::new(HOME, 0)).expect("bind");
        let listener = socket.listen(1).expect("listen");
        let address = listener.local_addr().expect("address");
        let asked = Question {
            timeout: Duration::from_millis(100),
            ..question(address)
        };
        let mut held = Vec::new();
        while let Ok(stream) = tokio::time::timeout(asked.timeout, connect(&asked)).await {
            held.push(stream.expect("the listener is there"));
            assert!(held.len() < 10, "the queue never fills");
        }

        let answer = asked.ask_in_time().await;
        assert_eq!(answer.reason(), "no answer within 100ms");
    }
}
