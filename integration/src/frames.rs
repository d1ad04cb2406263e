//! Frames byte by byte, built by a library lbd does not use.

use crate::topology::{CLIENT, CLIENT_MAC, CLIENT6, LB_MAC, VIP, VIP6};
use etherparse::{IpNumber, PacketBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `02:00:00:00:00:02`.
///
/// # Panics
/// When it is no MAC.
pub fn mac(text: &str) -> [u8; 6] {
    let bytes: Vec<u8> = text
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).expect("two hexadecimal digits"))
        .collect();
    bytes.try_into().expect("six bytes")
}

/// What stands in a frame's headers; the defaults are a client's frame for the VIP.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Source MAC.
    pub src_mac: [u8; 6],
    /// Destination MAC.
    pub dst_mac: [u8; 6],
    /// Source address.
    pub src: IpAddr,
    /// Destination address.
    pub dst: IpAddr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// TTL or hop limit.
    pub ttl: u8,
    /// DSCP and ECN: the whole byte.
    pub tos: u8,
}

impl Headers {
    /// IPv4, client to VIP.
    pub fn v4(src_port: u16, dst_port: u16) -> Headers {
        Headers {
            src_mac: mac(CLIENT_MAC),
            dst_mac: mac(LB_MAC),
            src: CLIENT.into(),
            dst: VIP.into(),
            src_port,
            dst_port,
            ttl: 64,
            tos: 0,
        }
    }

    /// IPv6, client to VIP.
    pub fn v6(src_port: u16, dst_port: u16) -> Headers {
        Headers {
            src: CLIENT6.into(),
            dst: VIP6.into(),
            ..Headers::v4(src_port, dst_port)
        }
    }

    fn ip(&self) -> etherparse::PacketBuilderStep<etherparse::IpHeaders> {
        let ethernet = PacketBuilder::ethernet2(self.src_mac, self.dst_mac);
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => ethernet.ip(v4_header(src, dst, self)),
            (IpAddr::V6(src), IpAddr::V6(dst)) => ethernet.ip(v6_header(src, dst, self)),
            mixed => panic!("one family, not {mixed:?}"),
        }
    }

    /// A UDP frame.
    pub fn udp(&self, payload: &[u8]) -> Vec<u8> {
        let builder = self.ip().udp(self.src_port, self.dst_port);
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut frame, payload).expect("a frame");
        frame
    }

    /// A TCP frame with the flags in `flags`, as in `"SA"`: S(YN), A(CK), F(IN), R(ST), P(SH).
    pub fn tcp(&self, flags: &str, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let mut builder = self
            .ip()
            .tcp(self.src_port, self.dst_port, sequence, 64_000);
        for flag in flags.chars() {
            builder = match flag {
                'S' => builder.syn(),
                'A' => builder.ack(sequence ^ 0x5555_5555),
                'F' => builder.fin(),
                'R' => builder.rst(),
                'P' => builder.psh(),
                other => panic!("no TCP flag {other}"),
            };
        }
        let mut frame = Vec::with_capacity(builder.size(payload.len()));
        builder.write(&mut frame, payload).expect("a frame");
        frame
    }
}

fn v4_header(src: Ipv4Addr, dst: Ipv4Addr, headers: &Headers) -> etherparse::IpHeaders {
    let mut header = etherparse::Ipv4Header {
        time_to_live: headers.ttl,
        protocol: IpNumber::UDP,
        source: src.octets(),
        destination: dst.octets(),
        identification: headers.src_port ^ 0xbeef,
        dont_fragment: true,
        ..etherparse::Ipv4Header::default()
    };
    header.dscp = (headers.tos >> 2).try_into().expect("six bits");
    header.ecn = (headers.tos & 3).try_into().expect("two bits");
    etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default())
}

fn v6_header(src: Ipv6Addr, dst: Ipv6Addr, headers: &Headers) -> etherparse::IpHeaders {
    let header = etherparse::Ipv6Header {
        traffic_class: headers.tos,
        hop_limit: headers.ttl,
        source: src.octets(),
        destination: dst.octets(),
        ..etherparse::Ipv6Header::default()
    };
    etherparse::IpHeaders::Ipv6(header, etherparse::Ipv6Extensions::default())
}

/// Whether only the two MAC addresses of a frame differ, and nothing behind them.
pub fn only_macs_differ(before: &[u8], after: &[u8]) -> bool {
    before.len() == after.len() && before.get(12..) == after.get(12..)
}

/// Destination MAC of a frame.
pub fn dst_mac(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(..6)?.try_into().ok()
}

/// Source MAC of a frame.
pub fn src_mac(frame: &[u8]) -> Option<[u8; 6]> {
    frame.get(6..12)?.try_into().ok()
}
