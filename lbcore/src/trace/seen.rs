//! What a frame says, taken down before it is rewritten.

use crate::net::packet::{self, Fault, Packet, Subject};
use crate::net::{Addr, FrameMeta, Protocol};
use std::net::IpAddr;

/// One frame as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The interface it came in by.
    pub ifindex: u32,
    /// Bytes of the frame.
    pub length: u32,
    /// What the director reads of it.
    pub parsed: Result<Packet, Fault>,
}

impl Seen {
    /// Of a frame, beginning at its Ethernet header.
    pub fn of(frame: &[u8], meta: &FrameMeta) -> Self {
        Seen {
            ifindex: meta.ifindex,
            length: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            parsed: packet::parse(frame, meta),
        }
    }

    /// Its transport, where it is a flow's own packet or an error about one.
    pub fn protocol(&self) -> Option<Protocol> {
        match self.parsed.ok()?.subject {
            Subject::Flow { key, .. } | Subject::IcmpError { key } => Some(key.service.protocol),
            Subject::Other => None,
        }
    }

    /// Whose it is.
    pub fn client(&self) -> Option<IpAddr> {
        let client = match &self.parsed {
            Ok(packet) => match packet.subject {
                Subject::Flow { key, .. } | Subject::IcmpError { key } => Some(key.client),
                Subject::Other => None,
            },
            Err(fault) => fault.source,
        };
        client.as_ref().map(Addr::ip)
    }
}
