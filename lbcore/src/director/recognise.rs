//! Before the first step: what a frame is by its bytes and the snapshot alone. Nothing that packets change
//! is looked at, so a worker may recognise several frames before it decides about the first of them, and
//! have the memory fetched meanwhile that they will be looked up in.

use super::{DropReason, Verdict};
use crate::config::Mode;
use crate::net::packet::{self, Fault, Packet, Reason, Subject};
use crate::net::{FlowHash, FrameMeta, MacAddr};
use crate::service::ServiceTable;

/// The group bit of a MAC address (IEEE 802) in [`mac_word`].
pub(super) const MULTICAST: u64 = 1;

/// A frame, recognised. It speaks of the snapshot it was recognised with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recognised {
    /// What the frame says; or what becomes of it without a closer look.
    pub(super) packet: Result<Packet, Verdict>,
    /// Where its flow belongs; `None`: to the host.
    pub(super) place: Option<Place>,
}

/// Where a flow belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Index of its service.
    pub index: usize,
    /// The tuple's hash.
    pub hash: FlowHash,
}

impl Recognised {
    /// The hash that the flow table is asked for, if it is asked.
    #[inline]
    pub fn hash(&self) -> Option<FlowHash> {
        self.place.map(|place| place.hash)
    }
}

/// Recognises one frame, beginning at its Ethernet header.
#[inline]
pub fn recognise(frame: &[u8], meta: &FrameMeta, table: &ServiceTable) -> Recognised {
    let settled = |verdict| Recognised {
        packet: Err(verdict),
        place: None,
    };
    let parsed = packet::parse(frame, meta);
    let packet = match &parsed {
        Ok(packet) => packet,
        Err(fault) => return settled(faulty(fault, meta, table)),
    };
    // Frames for other machines, broadcast and multicast are the host's business. A frame that we
    // forwarded and that comes back is addressed to the real, not to us, so it ends here too.
    match table.interface(meta.ifindex) {
        Some(interface) if mac_word(interface.mac) == mac_word(packet.dst_mac) => {}
        _ => return settled(Verdict::Pass),
    }
    Recognised {
        packet: Ok(*packet),
        place: place(&packet.subject, table),
    }
}

/// A fault in a frame to us and for a VIP is ours to drop; in any other frame it is the host's
/// business.
#[cold]
fn faulty(fault: &Fault, meta: &FrameMeta, table: &ServiceTable) -> Verdict {
    let to_us = table
        .interface(meta.ifindex)
        .is_some_and(|i| i.mac == fault.dst_mac);
    match fault.destination {
        Some(addr) if to_us && table.is_vip(&addr) => Verdict::Drop(match fault.reason {
            Reason::Malformed(_) => DropReason::Malformed,
            Reason::Fragment => DropReason::Fragment,
            Reason::IpOptions => DropReason::IpOptions,
            Reason::Martian => DropReason::Martian,
        }),
        _ => Verdict::Pass,
    }
}

/// The service of mode dr that a frame's flow belongs to. What a proxy has, the host's stack brings to the
/// proxy's own sockets.
#[inline]
pub(super) fn place(subject: &Subject, table: &ServiceTable) -> Option<Place> {
    let key = match subject {
        Subject::Flow { key, .. } | Subject::IcmpError { key } => key,
        Subject::Other => return None,
    };
    let (index, service) = table.service(&key.service)?;
    (service.mode == Mode::Dr).then(|| Place {
        index,
        hash: table.key.flow(key),
    })
}

/// The six bytes as one number: compared at once, not byte by byte.
#[inline]
pub(super) fn mac_word(mac: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = mac.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}
