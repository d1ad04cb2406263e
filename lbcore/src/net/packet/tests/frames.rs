//! Frames for tests, from a router to us, from the client 198.51.100.7:40000 or 2001:db8:1::7 to
//! the VIP 192.0.2.10:443 or 2001:db8::10. Checksums are zero: nothing here looks at them.

use crate::net::{Addr, FlowKey, MacAddr, Protocol, ServiceKey};

pub const OURS: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
pub const ROUTER: MacAddr = MacAddr(2, 0, 0, 0, 0, 254);

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const SYN: u8 = 0x02;
pub const ACK: u8 = 0x10;

pub const CLIENT4: Addr = Addr::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 198, 51, 100, 7]);
pub const VIP4: Addr = Addr::v6([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 192, 0, 2, 10]);
pub const CLIENT6: Addr = Addr::v6([0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7]);
pub const VIP6: Addr = Addr::v6([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);

pub fn key4(protocol: Protocol) -> FlowKey {
    key(CLIENT4, VIP4, protocol)
}

pub fn key6(protocol: Protocol) -> FlowKey {
    key(CLIENT6, VIP6, protocol)
}

fn key(client: Addr, vip: Addr, protocol: Protocol) -> FlowKey {
    FlowKey {
        client,
        client_port: 40_000,
        service: ServiceKey {
            vip,
            port: 443,
            protocol,
        },
    }
}

pub fn patch(frame: &mut [u8], at: usize, bytes: &[u8]) {
    frame[at..at + bytes.len()].copy_from_slice(bytes);
}

pub fn ethernet(ethertype: u16, payload: &[u8]) -> Vec<u8> {
    [
        &OURS.octets()[..],
        &ROUTER.octets(),
        &ethertype.to_be_bytes(),
        payload,
    ]
    .concat()
}

pub fn tagged(frame: &[u8], tpid: u16, tci: u16) -> Vec<u8> {
    [
        &frame[..12],
        &tpid.to_be_bytes(),
        &tci.to_be_bytes(),
        &frame[12..],
    ]
    .concat()
}

pub fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x0800, &ipv4_packet(CLIENT4, VIP4, protocol, payload))
}

pub fn ipv4_packet(from: Addr, to: Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (20 + payload.len() as u16).to_be_bytes();
    let fixed = [0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0];
    [
        &fixed[..],
        &from.octets()[12..],
        &to.octets()[12..],
        payload,
    ]
    .concat()
}

/// Sets flags and fragment offset.
pub fn fragment4(mut frame: Vec<u8>, flags_and_offset: u16) -> Vec<u8> {
    patch(&mut frame, 14 + 6, &flags_and_offset.to_be_bytes());
    frame
}

pub fn ipv6(next: u8, payload: &[u8]) -> Vec<u8> {
    ethernet(0x86dd, &ipv6_packet(CLIENT6, VIP6, next, payload))
}

pub fn ipv6_packet(from: Addr, to: Addr, next: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = (payload.len() as u16).to_be_bytes();
    let fixed = [0x60, 0, 0, 0, high, low, next, 64];
    [&fixed[..], &from.octets(), &to.octets(), payload].concat()
}

/// A packet behind extension headers, each given by its number and its bytes, whose first byte is
/// set to the number of the next.
pub fn ipv6_behind(headers: &[(u8, Vec<u8>)], protocol: u8, payload: &[u8]) -> Vec<u8> {
    let numbers: Vec<u8> = headers
        .iter()
        .map(|header| header.0)
        .chain([protocol])
        .collect();
    let mut bytes = Vec::new();
    for ((_, header), next) in headers.iter().zip(&numbers[1..]) {
        bytes.push(*next);
        bytes.extend(&header[1..]);
    }
    bytes.extend(payload);
    ipv6(numbers[0], &bytes)
}

pub fn tcp(flags: u8) -> Vec<u8> {
    let mut header = vec![0; 20];
    patch(&mut header, 0, &ports(40_000, 443));
    patch(&mut header, 12, &[0x50, flags]);
    header
}

pub fn udp(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len() as u16).to_be_bytes();
    [&ports(40_000, 443)[..], &length, &[0, 0], payload].concat()
}

pub fn ports(from: u16, to: u16) -> [u8; 4] {
    let ([a, b], [c, d]) = (from.to_be_bytes(), to.to_be_bytes());
    [a, b, c, d]
}
