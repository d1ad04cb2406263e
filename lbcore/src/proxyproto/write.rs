//! Headers as lbd sends them.

use super::v2::{DATAGRAM, Family, PROXY, SIGNATURE, STREAM};
use crate::net::Protocol;
use arrayvec::ArrayVec;
use std::fmt;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Room for the longest header written: version 1 with two IPv6 addresses in full. Version 2 takes
/// 28 or 52 bytes.
const LONGEST: usize = 104;

/// A header ready to be sent, without a heap.
pub type Header = ArrayVec<u8, LONGEST>;

/// A version 1 header: the line that says a TCP connection came from `client` to `server`.
pub fn write_v1(client: SocketAddr, server: SocketAddr) -> Header {
    let mut line = Header::new();
    let written = match Ends::of(client, server) {
        Ends::V4 { client, server } => write!(line, "PROXY TCP4 {client} {server}"),
        Ends::V6 { client, server } => {
            write!(line, "PROXY TCP6 {} {}", Hex(client), Hex(server))
        }
    };
    written
        .and_then(|()| write!(line, " {} {}\r\n", client.port(), server.port()))
        .expect("the longest line fits");
    line
}

/// A version 2 header that says a TCP connection, or a UDP datagram, came from `client` to
/// `server`. For UDP it begins every datagram: a receiver keeps nothing from one to the next.
pub fn write_v2(client: SocketAddr, server: SocketAddr, transport: Protocol) -> Header {
    let mut header = Header::new();
    let mut put = |bytes: &[u8]| {
        header
            .try_extend_from_slice(bytes)
            .expect("the longest header fits");
    };
    let start = |family: Family| {
        let transport = match transport {
            Protocol::Tcp => STREAM,
            Protocol::Udp => DATAGRAM,
        };
        let [high, low] = (family.address_length() as u16).to_be_bytes();
        [PROXY, (family as u8) << 4 | transport, high, low]
    };
    put(&SIGNATURE);
    match Ends::of(client, server) {
        Ends::V4 { client, server } => {
            put(&start(Family::Inet));
            put(&client.octets());
            put(&server.octets());
        }
        Ends::V6 { client, server } => {
            put(&start(Family::Inet6));
            put(&client.octets());
            put(&server.octets());
        }
    }
    put(&client.port().to_be_bytes());
    put(&server.port().to_be_bytes());
    header
}

/// Both addresses in the one family a header has room for: IPv4 if both are, else IPv6.
enum Ends {
    V4 { client: Ipv4Addr, server: Ipv4Addr },
    V6 { client: Ipv6Addr, server: Ipv6Addr },
}

impl Ends {
    fn of(client: SocketAddr, server: SocketAddr) -> Self {
        match (client.ip().to_canonical(), server.ip().to_canonical()) {
            (IpAddr::V4(client), IpAddr::V4(server)) => Ends::V4 { client, server },
            (client, server) => Ends::V6 {
                client: v6(client),
                server: v6(server),
            },
        }
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

/// An IPv6 address in hexadecimal groups only, as the specification has it: the standard library
/// writes mapped IPv4 in dots.
struct Hex(Ipv6Addr);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.segments() {
            [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "::ffff:{high:x}:{low:x}"),
            _ => self.0.fmt(f),
        }
    }
}
