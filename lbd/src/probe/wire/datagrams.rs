//! Datagrams to a VIP in frames of our own.

use super::{Call, Heard, Road};
use crate::probe::ProbeError;
use lbcore::net::Protocol;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, UdpPacket, UdpRepr};
use std::io;

/// As a connected UDP socket: an ICMP error is an error of the next call.
#[derive(Debug)]
pub(in crate::probe) struct Datagrams(Call);

/// As many as any router would.
const HOPS: u8 = 64;

/// Bytes of a UDP header.
const HEADER: usize = 8;

impl Datagrams {
    pub(in crate::probe) fn open(road: Road) -> Result<Self, ProbeError> {
        Call::new(road, Protocol::Udp).map(Datagrams)
    }

    pub(in crate::probe) fn send(&self, payload: &[u8]) -> io::Result<()> {
        let Call { road, port, .. } = &self.0;
        let (source, vip) = (IpAddress::from(road.source), IpAddress::from(road.vip.ip()));
        let udp = UdpRepr {
            src_port: *port,
            dst_port: road.vip.port(),
        };
        let ip = IpRepr::new(source, vip, IpProtocol::Udp, HEADER + payload.len(), HOPS);
        if ip.buffer_len() > road.mtu {
            return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
        }
        let ethernet = road.header.len();
        let mut frame = vec![0; ethernet + ip.buffer_len()];
        frame[..ethernet].copy_from_slice(&road.header);
        let sums = ChecksumCapabilities::default();
        ip.emit(&mut frame[ethernet..], &sums);
        let mut packet = UdpPacket::new_unchecked(&mut frame[ethernet + ip.header_len()..]);
        let fill = |room: &mut [u8]| room.copy_from_slice(payload);
        udp.emit(&mut packet, &source, &vip, payload.len(), fill, &sums);
        road.ear.send(&frame)
    }

    /// The next datagram, and how long it is. Cancel safe.
    pub(in crate::probe) async fn receive(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(heard) = self.0.heard.recv().await {
            let Heard::Packet(packet, _room) = heard else {
                return Err(io::Error::from_raw_os_error(libc::ECONNREFUSED));
            };
            if let Some(payload) = payload(&packet) {
                let length = payload.len().min(buffer.len());
                buffer[..length].copy_from_slice(&payload[..length]);
                return Ok(length);
            }
        }
        // The sender of what is heard lives as long as the call.
        std::future::pending().await
    }
}

/// What an IP packet with UDP carries; its lengths have been looked at, and extension headers are
/// followed by nobody here.
fn payload(packet: &[u8]) -> Option<&[u8]> {
    let first = *packet.first()?;
    let header = match first >> 4 {
        4 => usize::from(first & 0xf) * 4,
        _ => 40,
    };
    let udp = packet.get(header..)?;
    let length = u16::from_be_bytes(*udp.get(4..)?.first_chunk()?);
    udp.get(HEADER..usize::from(length))
}
