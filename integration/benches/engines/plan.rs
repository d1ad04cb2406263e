//! What the generator sends: a template of the frame, and the plan that bpf/wire.bpf.c follows.

use crate::wire::{GENERATOR_MAC, LB_MAC};
use integration::topology::{VIP, VIP6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of `struct plan`.
pub const PLAN_BYTES: usize = 80;

/// The client of flow 0; the network is RFC 2544's for benchmarks.
const CLIENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0xb, 0, 0, 0, 1);

/// Ports of the first services; further ones have the ports that follow.
pub const UDP_PORT: u16 = 5000;
/// See [`UDP_PORT`].
pub const TCP_PORT: u16 = 8000;

/// TCP flags of a segment in the middle of a flow.
pub const ACK: u8 = 0x10;
/// TCP flags of a flow's first segment.
pub const SYN: u8 = 0x02;

/// The protocol above IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// UDP.
    Udp,
    /// TCP, with these flags.
    Tcp(u8),
}

/// What is sent.
#[derive(Clone, Copy, Debug)]
pub struct Traffic {
    /// IPv6, not IPv4.
    pub v6: bool,
    /// UDP or TCP.
    pub transport: Transport,
    /// The number of the first flow.
    pub first: u64,
    /// How many flows, from `first` on.
    pub flows: u64,
    /// In random order, not one after another.
    pub random: bool,
    /// Over as many services.
    pub services: u32,
    /// One frame in so many has a checksum nobody has finished; 0: none.
    pub unfinished: u32,
}

impl Traffic {
    /// UDP over IPv4 to one service, so many flows in random order.
    pub fn udp(flows: u64) -> Traffic {
        Traffic {
            v6: false,
            transport: Transport::Udp,
            first: 0,
            flows,
            random: true,
            services: 1,
            unfinished: 0,
        }
    }

    /// Every flow once and in turn: how they are made known.
    pub fn in_turn(self) -> Traffic {
        Traffic {
            random: false,
            ..self
        }
    }
}

/// How it is sent.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Frames in all.
    pub frames: u64,
    /// From frame to frame, ns; 0: as fast as can be.
    pub gap_ns: u64,
    /// Each frame's way there and back is timed.
    pub timed: bool,
}

impl Pace {
    /// As fast as can be.
    pub fn flood(frames: u64) -> Pace {
        Pace {
            frames,
            gap_ns: 0,
            timed: false,
        }
    }

    /// So many frames a second.
    pub fn per_second(frames: u64, rate: u64) -> Pace {
        Pace {
            frames,
            gap_ns: 1_000_000_000 / rate,
            timed: false,
        }
    }
}

/// The frame all frames are made from, without what belongs to one flow.
pub fn template(traffic: &Traffic) -> Vec<u8> {
    let (segment, protocol) = segment(traffic.transport);
    let mut frame = [LB_MAC, GENERATOR_MAC].concat();
    if traffic.v6 {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((segment.len() as u16).to_be_bytes());
        frame.extend([protocol, 64]);
        frame.extend(CLIENT6.octets());
        frame.extend(VIP6.octets());
    } else {
        frame.extend([8, 0, 0x45, 0]);
        frame.extend((20 + segment.len() as u16).to_be_bytes());
        // Of one datagram, not to be cut.
        frame.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
        frame.extend([0; 4]);
        frame.extend(VIP.octets());
    }
    frame.extend(segment);
    frame
}

/// Header and payload, ports and checksum empty; frames of IPv4 are as short as Ethernet allows.
fn segment(transport: Transport) -> (Vec<u8>, u8) {
    match transport {
        Transport::Udp => {
            let mut udp = vec![0; 8 + 18];
            udp[5] = udp.len() as u8;
            (udp, 17)
        }
        Transport::Tcp(flags) => {
            let mut tcp = vec![0; 20 + 6];
            tcp[12] = 5 << 4;
            tcp[13] = flags;
            // A window.
            tcp[14] = 0x40;
            (tcp, 6)
        }
    }
}

/// `struct plan`.
pub fn record(traffic: &Traffic, pace: &Pace) -> [u8; PLAN_BYTES] {
    let (segment, protocol) = segment(traffic.transport);
    let frame = template(traffic);
    let (vip, client): (IpAddr, u32) = if traffic.v6 {
        let [.., a, b, c, d] = CLIENT6.octets();
        (VIP6.into(), u32::from_be_bytes([a, b, c, d]))
    } else {
        (VIP.into(), CLIENT.into())
    };
    let header_sum = if traffic.v6 { 0 } else { sum(&frame[14..34]) };
    let mut pseudo = match vip {
        IpAddr::V4(vip) => vip.octets().to_vec(),
        IpAddr::V6(vip) => [&vip.octets()[..], &CLIENT6.octets()[..12]].concat(),
    };
    pseudo.extend([0, protocol]);
    pseudo.extend((segment.len() as u16).to_be_bytes());
    let port = match traffic.transport {
        Transport::Udp => UDP_PORT,
        Transport::Tcp(_) => TCP_PORT,
    };

    let mut bytes = Vec::with_capacity(PLAN_BYTES);
    for word in [traffic.first, traffic.flows, pace.frames, pace.gap_ns] {
        bytes.extend(word.to_ne_bytes());
    }
    for word in [
        header_sum,
        sum(&pseudo),
        sum(&segment),
        client,
        port.into(),
        traffic.services,
        traffic.unfinished,
    ] {
        bytes.extend(word.to_ne_bytes());
    }
    let tcp = traffic.transport != Transport::Udp;
    bytes.extend([traffic.random, traffic.v6, tcp, pace.timed].map(u8::from));
    bytes.extend(&frame[..12]);
    bytes.extend([0; 4]);
    bytes.try_into().expect("as long as struct plan")
}

/// The sum of 16-bit words as they stand in memory.
fn sum(bytes: &[u8]) -> u32 {
    let words = bytes.chunks_exact(2);
    words
        .map(|word| u32::from(u16::from_ne_bytes([word[0], word[1]])))
        .sum()
}
