//! Sockets of probes that send one datagram and wait for others.

use super::{ProbeError, Question, Way, wire};
use crate::sys::transparent;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;

/// A connected socket of this type and protocol: only what the real sends is heard, and an ICMP
/// error about what we sent is an error of the socket. In `send` and `recv` it is as a UDP socket.
pub(super) fn connected(
    question: &Question,
    kind: Type,
    protocol: Protocol,
) -> io::Result<UdpSocket> {
    let socket = match question.source {
        Some(source) if question.way == Way::Client => {
            transparent::udp_from(SocketAddr::new(source, 0))?
        }
        source => {
            let socket = Socket::new(Domain::for_address(question.to), kind, Some(protocol))?;
            socket.set_nonblocking(true)?;
            if let Some(source) = source {
                socket.bind(&SocketAddr::new(source, 0).into())?;
            }
            socket
        }
    };
    let to = if protocol == Protocol::UDP {
        question.to
    } else {
        SocketAddr::new(question.to.ip(), 0)
    };
    socket.connect(&to.into())?;
    UdpSocket::from_std(socket.into())
}

/// Datagrams to and from one place, whoever speaks UDP on our side. An ICMP error about what was
/// sent is an error of what follows.
pub(super) enum Datagrams {
    Socket(UdpSocket),
    Wire(wire::Datagrams),
}

/// The way the question goes.
pub(super) async fn udp(question: &Question) -> Result<Datagrams, ProbeError> {
    Ok(match question.road().await? {
        Some(road) => Datagrams::Wire(wire::Datagrams::open(road)?),
        None => {
            let socket = connected(question, Type::DGRAM, Protocol::UDP).map_err(unreached)?;
            Datagrams::Socket(socket)
        }
    })
}

impl Datagrams {
    pub(super) async fn send(&self, payload: &[u8]) -> Result<(), ProbeError> {
        match self {
            Datagrams::Socket(socket) => {
                let sent = socket.send(payload).await;
                sent.map(|_| ()).map_err(ProbeError::Io)
            }
            Datagrams::Wire(wire) => wire.send(payload).map_err(ProbeError::Socket),
        }
    }

    /// The length of the next one. Cancel safe.
    pub(super) async fn recv(&mut self, buffer: &mut [u8]) -> Result<usize, ProbeError> {
        match self {
            Datagrams::Socket(socket) => socket.recv(buffer).await,
            Datagrams::Wire(wire) => wire.receive(buffer).await,
        }
        .map_err(ProbeError::Io)
    }
}

/// Connecting needs a route: without one the real is out of reach, and nobody is at fault here.
pub(super) fn unreached(error: io::Error) -> ProbeError {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => ProbeError::Io(error),
        _ => ProbeError::Socket(error),
    }
}

/// The ICMP protocol of an address's family.
pub(super) fn icmp(address: IpAddr) -> Protocol {
    match address {
        IpAddr::V4(_) => Protocol::ICMPV4,
        IpAddr::V6(_) => Protocol::ICMPV6,
    }
}

/// A little less than the timeout, for probes to which silence says something.
pub(super) fn shortly_before(timeout: Duration) -> Duration {
    timeout - timeout / 20
}
