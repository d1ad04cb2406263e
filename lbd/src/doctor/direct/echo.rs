//! Do packets of full size get to a machine? It is pinged with two sizes, in one piece each.

use pnet::packet::icmp::{IcmpPacket, IcmpTypes, checksum};
use pnet::packet::icmpv6::Icmpv6Types;
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, Type};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// A request or its answer can get lost: what is unanswered is asked again, once.
const TIMES: u32 = 2;

/// So long an answer may take: neighbours answer within milliseconds.
const ROUND: Duration = Duration::from_millis(500);

/// The small packet, with its IP header: every network has room for it (RFC 791, 3.2).
const SMALL: usize = 68;

/// The largest IP packet.
const LARGEST: usize = 65_535;

const HEADER: usize = 8;
const TOKEN: usize = 8;

/// Which sizes were answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) small: bool,
    pub(super) large: bool,
}

/// Pings `to` with packets of `mtu` bytes and small ones, none of which may be fragmented on the
/// way.
///
/// # Errors
/// No socket, or no way to send: this host's own trouble.
pub(super) async fn ask(to: IpAddr, mtu: u32) -> io::Result<Answered> {
    let socket = open(to)?;
    let large = usize::try_from(mtu)
        .unwrap_or(LARGEST)
        .clamp(SMALL, LARGEST);
    let token = RandomState::new().build_hasher().finish().to_be_bytes();
    let sizes = [large, SMALL];
    let mut answered = [false; 2];
    let mut buffer = vec![0; LARGEST];
    for _ in 0..TIMES {
        for (number, size) in (0..).zip(sizes) {
            if !answered[usize::from(number)] {
                let sent = socket.send(&request(to, size, number, token)).await;
                sent.map(drop).or_else(lost)?;
            }
        }
        let end = Instant::now() + ROUND;
        while answered.contains(&false) {
            // An ICMP error, say, is an answer of a kind, but not the one that was wanted.
            let Ok(Ok(length)) = timeout_at(end, socket.recv(&mut buffer)).await else {
                break;
            };
            let number = reply(to, &buffer[..length], token);
            if let Some(answered) = number.and_then(|n| answered.get_mut(usize::from(n))) {
                *answered = true;
            }
        }
    }
    let [large, small] = answered;
    Ok(Answered { small, large })
}

/// The interface dropped it at once, as a veth does whose other end takes less: lost like any other.
fn lost(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENOBUFS) => Ok(()),
        _ => Err(error),
    }
}

/// A raw socket that hears ICMP of `to` alone. What it sends must not be fragmented, and what the
/// host believes of the way (its path MTU cache) does not count (ip(7), IP_PMTUDISC_PROBE).
fn open(to: IpAddr) -> io::Result<UdpSocket> {
    let (domain, protocol) = match to {
        IpAddr::V4(_) => (Domain::IPV4, Protocol::ICMPV4),
        IpAddr::V6(_) => (Domain::IPV6, Protocol::ICMPV6),
    };
    let socket = Socket::new(domain, Type::RAW, Some(protocol))?;
    socket.set_nonblocking(true)?;
    match to {
        IpAddr::V4(_) => {
            sockopt::set_ip_mtu_discover(&socket, sockopt::Ipv4PathMtuDiscovery::PROBE)?;
        }
        IpAddr::V6(_) => {
            sockopt::set_ipv6_mtu_discover(&socket, sockopt::Ipv6PathMtuDiscovery::PROBE)?;
        }
    }
    socket.connect(&SocketAddr::new(to, 0).into())?;
    // In `send` and `recv` it is as a UDP socket.
    UdpSocket::from_std(socket.into())
}

/// An echo request (RFC 792, RFC 4443) that makes an IP packet of `size` bytes. The kernel fills in
/// ICMPv6's checksum.
fn request(to: IpAddr, size: usize, number: u16, token: [u8; TOKEN]) -> Vec<u8> {
    let (kind, ip) = match to {
        IpAddr::V4(_) => (IcmpTypes::EchoRequest.0, 20),
        IpAddr::V6(_) => (Icmpv6Types::EchoRequest.0, 40),
    };
    let mut request = vec![0; size - ip];
    request[0] = kind;
    request[4..6].copy_from_slice(&token[..2]);
    request[6..8].copy_from_slice(&number.to_be_bytes());
    request[HEADER..HEADER + TOKEN].copy_from_slice(&token);
    if let (IpAddr::V4(_), Some(packet)) = (to, IcmpPacket::new(&request)) {
        let sum = checksum(&packet).to_be_bytes();
        request[2..4].copy_from_slice(&sum);
    }
    request
}

/// The number of the request that this answers. Raw sockets of IPv4 give the IP header, too.
fn reply(from: IpAddr, packet: &[u8], token: [u8; TOKEN]) -> Option<u16> {
    let (kind, message) = match from {
        IpAddr::V4(_) => {
            let header = usize::from(packet.first()? & 0xf) * 4;
            (IcmpTypes::EchoReply.0, packet.get(header..)?)
        }
        IpAddr::V6(_) => (Icmpv6Types::EchoReply.0, packet),
    };
    let ours = *message.first()? == kind && message.get(HEADER..HEADER + TOKEN)? == token;
    let number = message.get(6..8)?.try_into().ok()?;
    ours.then(|| u16::from_be_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const OURS: [u8; TOKEN] = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn requests_fill_the_packet() {
        for size in [SMALL, 1500, 9000, LARGEST] {
            assert_eq!(request(V4, size, 0, OURS).len(), size - 20);
            assert_eq!(request(V6, size, 1, OURS).len(), size - 40);
        }
    }

    #[test]
    fn only_the_answer_to_a_request_of_ours_counts() {
        let answer = |ip: IpAddr, kind: u8, token: [u8; TOKEN]| {
            let mut message = request(ip, 1500, 1, token);
            message[0] = kind;
            match ip {
                IpAddr::V4(_) => [&[0x45; 20][..], &message].concat(),
                IpAddr::V6(_) => message,
            }
        };
        assert_eq!(reply(V4, &answer(V4, 0, OURS), OURS), Some(1));
        assert_eq!(reply(V6, &answer(V6, 129, OURS), OURS), Some(1));
        for (ip, other) in [
            (V4, answer(V4, 8, OURS)),
            (V4, answer(V4, 0, [0; TOKEN])),
            (V4, answer(V4, 0, OURS)[..30].to_vec()),
            (V4, vec![]),
            (V6, answer(V6, 128, OURS)),
            (V6, vec![129; 15]),
        ] {
            assert_eq!(reply(ip, &other, OURS), None, "{other:?}");
        }
    }
}
