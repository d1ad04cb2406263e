//! etherparse as an independent oracle.

use super::*;
use etherparse::{NetSlice, PacketBuilder, SlicedPacket, TransportSlice, VlanId};
use std::net::IpAddr;

/// What a client sends, as etherparse builds it.
#[derive(Clone, Debug)]
struct Sent {
    addresses: Addresses,
    vlan: Option<u16>,
    from: u16,
    to: u16,
    tcp: bool,
    payload: Vec<u8>,
    padding: usize,
}

#[derive(Clone, Debug)]
enum Addresses {
    V4([u8; 4], [u8; 4]),
    V6([u8; 16], [u8; 16]),
}

fn addresses() -> impl Strategy<Value = Addresses> {
    prop_oneof![
        any::<([u8; 4], [u8; 4])>().prop_map(|(from, to)| Addresses::V4(from, to)),
        any::<([u8; 16], [u8; 16])>().prop_map(|(from, to)| Addresses::V6(from, to)),
    ]
}

prop_compose! {
    fn sent()(
        addresses in addresses(),
        vlan in prop::option::of(0u16..4096),
        (from, to, tcp) in any::<(u16, u16, bool)>(),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        padding in 0usize..20,
    ) -> Sent {
        Sent { addresses, vlan, from, to, tcp, payload, padding }
    }
}

impl Sent {
    fn frame(&self) -> Vec<u8> {
        let mut frame = Vec::new();
        let ethernet = PacketBuilder::ethernet2(ROUTER.octets(), OURS.octets());
        let ip = match (
            &self.addresses,
            self.vlan.map(|id| VlanId::try_new(id).unwrap()),
        ) {
            (Addresses::V4(from, to), None) => ethernet.ipv4(*from, *to, 64),
            (Addresses::V6(from, to), None) => ethernet.ipv6(*from, *to, 64),
            (Addresses::V4(from, to), Some(id)) => ethernet.single_vlan(id).ipv4(*from, *to, 64),
            (Addresses::V6(from, to), Some(id)) => ethernet.single_vlan(id).ipv6(*from, *to, 64),
        };
        if self.tcp {
            ip.tcp(self.from, self.to, 1, 64_000)
                .ack(1)
                .write(&mut frame, &self.payload)
                .unwrap();
        } else {
            ip.udp(self.from, self.to)
                .write(&mut frame, &self.payload)
                .unwrap();
        }
        frame.resize(frame.len() + self.padding, 0);
        frame
    }

    fn key(&self) -> FlowKey {
        let (client, vip) = match self.addresses {
            Addresses::V4(from, to) => (Addr::v4(from), Addr::v4(to)),
            Addresses::V6(from, to) => (Addr::v6(from), Addr::v6(to)),
        };
        let protocol = if self.tcp {
            Protocol::Tcp
        } else {
            Protocol::Udp
        };
        let service = ServiceKey {
            vip,
            port: self.to,
            protocol,
        };
        FlowKey {
            client,
            client_port: self.from,
            service,
        }
    }

    fn wire_bytes(&self) -> usize {
        let ip = if matches!(self.addresses, Addresses::V4(..)) {
            20
        } else {
            40
        };
        ip + if self.tcp { 20 } else { 8 } + self.payload.len()
    }
}

/// The flow that etherparse sees in a frame, if it sees one whole packet of TCP or UDP.
fn seen_by_etherparse(frame: &[u8]) -> Option<FlowKey> {
    let sliced = SlicedPacket::from_ethernet(frame).ok()?;
    let (client, vip): (IpAddr, IpAddr) = match sliced.net? {
        NetSlice::Ipv4(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Ipv6(ip) => (
            ip.header().source_addr().into(),
            ip.header().destination_addr().into(),
        ),
        NetSlice::Arp(_) => return None,
    };
    let (client_port, port, protocol) = match sliced.transport? {
        TransportSlice::Tcp(tcp) => (tcp.source_port(), tcp.destination_port(), Protocol::Tcp),
        TransportSlice::Udp(udp) => (udp.source_port(), udp.destination_port(), Protocol::Udp),
        _ => return None,
    };
    let service = ServiceKey {
        vip: vip.into(),
        port,
        protocol,
    };
    Some(FlowKey {
        client: client.into(),
        client_port,
        service,
    })
}

proptest! {
    /// Whatever etherparse builds between addresses that can be is the flow it was built as.
    #[test]
    fn valid_packets_are_understood(sent in sent()) {
        match parsed(&sent.frame()) {
            Ok(packet) => {
                prop_assert_eq!(packet.wire_bytes, sent.wire_bytes() as u64);
                let is_the_flow = matches!(packet.subject, Subject::Flow { key, .. } if key == sent.key());
                prop_assert!(is_the_flow, "{:?}", packet);
            }
            Err(fault) => {
                prop_assert_eq!(fault.reason, Reason::Martian);
                let unusual = match sent.addresses {
                    Addresses::V4(from, to) => from == to || from[0] == 0 || from[0] == 127 || from[0] >= 224,
                    Addresses::V6(from, _) => from[0] == 0xff,
                };
                prop_assert!(unusual, "{:?}", fault);
            }
        }
    }

    /// However a valid frame is damaged: where both see a flow it is the same one.
    #[test]
    fn damaged_packets_are_never_another_flow(
        sent in sent(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut frame = sent.frame();
        for (at, byte) in damage {
            let at = at.index(frame.len().min(80));
            frame[at] = byte;
        }
        if let Ok(Packet { subject: Subject::Flow { key, .. }, .. }) = parsed(&frame)
            && let Some(seen) = seen_by_etherparse(&frame)
        {
            prop_assert_eq!(key, seen);
        }
    }
}
