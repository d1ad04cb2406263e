//! The `icmp` check: the machine answers an echo request.

use super::{Found, ProbeError, Question, datagram};
use pnet::packet::icmp::checksum;
use pnet::packet::icmp::{IcmpPacket, IcmpTypes};
use pnet::packet::icmpv6::Icmpv6Types;
use socket2::Type;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::IpAddr;
use tokio::net::UdpSocket;

/// What we send and want back: nobody else's echo has these bytes.
const TOKEN: usize = 8;
const HEADER: usize = 8;

/// An IPv4 header with all its options, and then some.
const MOST: usize = 512;

/// Asks once.
pub(super) async fn probe(question: &Question) -> Result<Found, ProbeError> {
    let socket = open(question).map_err(datagram::unreached)?;
    let token = RandomState::new().build_hasher().finish().to_be_bytes();
    let request = request(question.to.ip(), token);
    socket.send(&request).await.map_err(ProbeError::Io)?;
    let mut buffer = [0; MOST];
    loop {
        let length = socket.recv(&mut buffer).await.map_err(ProbeError::Io)?;
        if is_reply(question.to.ip(), &buffer[..length], token) {
            return Ok("icmp echo".into());
        }
    }
}

/// A ping socket where this host allows it (`net.ipv4.ping_group_range`), else a raw one, for which
/// lbd has CAP_NET_RAW. Raw sockets get all ICMP messages of the real; ping sockets only ours.
fn open(question: &Question) -> io::Result<UdpSocket> {
    let protocol = datagram::icmp(question.to.ip());
    datagram::connected(question, Type::DGRAM, protocol).or_else(|error| {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => datagram::connected(question, Type::RAW, protocol),
            _ => Err(error),
        }
    })
}

/// An echo request (RFC 792, RFC 4443). Ping sockets and ICMPv6 sockets fill in the checksum, ping
/// sockets the identifier.
fn request(to: IpAddr, token: [u8; TOKEN]) -> Vec<u8> {
    let kind = match to {
        IpAddr::V4(_) => IcmpTypes::EchoRequest.0,
        IpAddr::V6(_) => Icmpv6Types::EchoRequest.0,
    };
    let mut request = vec![kind, 0, 0, 0, token[0], token[1], 0, 1];
    request.extend(token);
    if let (IpAddr::V4(_), Some(packet)) = (to, IcmpPacket::new(&request)) {
        let sum = checksum(&packet).to_be_bytes();
        request[2..4].copy_from_slice(&sum);
    }
    request
}

/// Whether these bytes, as a ping socket or a raw one gives them, are the answer to our request.
fn is_reply(from: IpAddr, packet: &[u8], token: [u8; TOKEN]) -> bool {
    let (kind, message) = match (from, packet.first()) {
        // Raw sockets of IPv4 give the IP header, too. No ICMP type is 0x45 to 0x4f.
        (IpAddr::V4(_), Some(first @ 0x45..=0x4f)) => {
            let header = usize::from(first & 0xf) * 4;
            (IcmpTypes::EchoReply.0, packet.get(header..))
        }
        (IpAddr::V4(_), _) => (IcmpTypes::EchoReply.0, Some(packet)),
        (IpAddr::V6(_), _) => (Icmpv6Types::EchoReply.0, Some(packet)),
    };
    message.is_some_and(|message| {
        message.first() == Some(&kind) && message.get(HEADER..).is_some_and(|data| data == token)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::Way;
    use lbcore::config::CheckKind;
    use std::net::SocketAddr;
    use std::time::Duration;

    const V4: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
    const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);
    const OURS: [u8; TOKEN] = [1, 2, 3, 4, 5, 6, 7, 8];

    #[test]
    fn requests_sum_up_to_zero() {
        let request = request(V4, OURS);
        let words = request
            .chunks(2)
            .map(|w| u32::from(w[0]) << 8 | u32::from(w[1]));
        let sum: u32 = words.sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn only_our_own_echo_is_the_reply() {
        let reply = |kind: u8, token: &[u8]| [&[kind, 0, 0, 0, 9, 9, 0, 1], token].concat();
        assert!(is_reply(V4, &reply(0, &OURS), OURS));
        assert!(is_reply(V6, &reply(129, &OURS), OURS));
        let behind_ip = [&[0x46; 24][..], &reply(0, &OURS)].concat();
        assert!(is_reply(V4, &behind_ip, OURS));
        for (from, other) in [
            (V4, reply(8, &OURS)),
            (V4, reply(0, &[0; 8])),
            (V4, reply(0, &OURS[..7])),
            (V4, vec![0x4f; 20]),
            (V6, reply(0, &OURS)),
            (V6, reply(128, &OURS)),
            (V6, vec![]),
        ] {
            assert!(!is_reply(from, &other, OURS), "{other:?}");
        }
    }

    /// Where this machine lets us ask at all.
    #[tokio::test]
    async fn this_host_answers_itself() {
        for ip in [V4, V6] {
            let question = Question {
                to: SocketAddr::new(ip, 80),
                way: Way::Real,
                source: None,
                timeout: Duration::from_secs(5),
                kind: CheckKind::Icmp,
                names: None,
            };
            let answer = question.ask().await;
            match &answer.outcome {
                Ok(found) => assert_eq!(found.words, "icmp echo"),
                Err(error) => assert!(error.is_own_trouble(), "{ip}: {error}"),
            }
        }
    }
}
