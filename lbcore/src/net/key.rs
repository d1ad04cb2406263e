//! What names a flow, what names a service, and the one keyed hash of a packet.

use super::Addr;
use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher13;
use std::fmt;
use std::hash::Hasher;

/// The transport protocols lbd balances.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 9293.
    Tcp,
    /// RFC 768.
    Udp,
}

impl Protocol {
    /// The IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
        }
    }

    /// The protocol of an IP protocol number, if it is one of ours.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// What clients dial: VIP, port and protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceKey {
    /// The VIP.
    pub vip: Addr,
    /// Its port.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
}

/// A flow's 5-tuple, seen from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The client's address.
    pub client: Addr,
    /// The client's port.
    pub client_port: u16,
    /// What it dialled.
    pub service: ServiceKey,
}

/// The secret 16 bytes behind every hash: two lbds with the same key and set choose alike, and
/// nobody without it can craft collisions.
#[derive(Clone, PartialEq, Eq)]
pub struct HashKey([u8; 16]);

/// The one hash of a packet: it feeds the flow table's signature and buckets and the ring slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowHash(pub u64);

impl HashKey {
    /// From the 16 bytes of `hash_key_file`.
    pub fn new(bytes: [u8; 16]) -> Self {
        HashKey(bytes)
    }

    /// The key as SipHash reads it: two little-endian words.
    pub fn words(&self) -> [u64; 2] {
        let (low, high) = self.0.split_at(8);
        [low, high].map(|half| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(half);
            u64::from_le_bytes(bytes)
        })
    }

    fn hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }

    /// SipHash-1-3 of the tuple: of 13 bytes for IPv4, of 37 for IPv6. SipHash takes in the length, so
    /// the two never meet.
    pub fn flow(&self, key: &FlowKey) -> FlowHash {
        if key.client.is_v4() && key.service.vip.is_v4() {
            let mut bytes = [0u8; 13];
            bytes[..4].copy_from_slice(&key.client.octets()[12..]);
            bytes[4..8].copy_from_slice(&key.service.vip.octets()[12..]);
            bytes[8..10].copy_from_slice(&key.client_port.to_be_bytes());
            bytes[10..12].copy_from_slice(&key.service.port.to_be_bytes());
            bytes[12] = key.service.protocol.number();
            return FlowHash(self.bytes(&bytes));
        }
        let mut bytes = [0u8; 37];
        bytes[..16].copy_from_slice(&key.client.octets());
        bytes[16..32].copy_from_slice(&key.service.vip.octets());
        bytes[32..34].copy_from_slice(&key.client_port.to_be_bytes());
        bytes[34..36].copy_from_slice(&key.service.port.to_be_bytes());
        bytes[36] = key.service.protocol.number();
        FlowHash(self.bytes(&bytes))
    }

    /// SipHash-1-3 of the client's address alone (scheduler `sh`).
    pub fn source(&self, client: &Addr) -> FlowHash {
        FlowHash(self.bytes(&client.octets()))
    }

    /// SipHash-1-3 of any bytes.
    pub fn bytes(&self, bytes: &[u8]) -> u64 {
        let mut hasher = self.hasher();
        hasher.write(bytes);
        hasher.finish()
    }

    /// Sixteen hex digits that tell whether two lbds share a key, and nothing else about it.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.bytes(b"lbd key fingerprint"))
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HashKey({})", self.fingerprint())
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = std::net::SocketAddr::new(self.vip.ip(), self.port);
        write!(f, "{address}/{}", self.protocol)
    }
}
