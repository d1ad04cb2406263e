//! Sockets of probes that send one datagram and wait for others.

use super::{ProbeError, Question, Way};
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

/// A socket for UDP.
pub(super) fn udp(question: &Question) -> Result<UdpSocket, ProbeError> {
    connected(question, Type::DGRAM, Protocol::UDP).map_err(unreached)
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
