//! Reading a header as its bytes arrive.

use super::{Malformed, v1, v2};
use crate::net::Protocol;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The longest header read, in bytes: as much as nginx reads. Addresses and the fields that clouds
/// add take some hundred; a client certificate in a TLS field takes the rest.
pub const MAX_HEADER: usize = 4096;

/// What a header tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The sender speaks for itself, as for a health check: the real endpoints count.
    Local,
    /// The sender cannot say, or says it in a family that is not IP: the real endpoints count.
    Unknown,
    /// Whose connection it is; IPv4-mapped addresses come as IPv4.
    Addresses {
        /// Where it comes from.
        client: SocketAddr,
        /// What the client dialled.
        destination: SocketAddr,
    },
}

/// How far the bytes so far go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// They are the beginning of a header; ask again when there are `at_least` of them in all.
    /// Never more than the header has: who reads just so many takes no byte of what follows.
    NeedMore {
        /// Bytes from the first on.
        at_least: usize,
    },
    /// A whole header; what follows is the client's own.
    Done {
        /// Its bytes.
        header_len: usize,
        /// What it says.
        told: Told,
    },
}

/// Reads the header at the beginning of `bytes`, all that has come over `transport` so far: of a
/// TCP stream a growing prefix, of UDP a whole datagram, where [`Reading::NeedMore`] means that it
/// was cut short.
///
/// Looks at no more than [`MAX_HEADER`] bytes, and allocates nothing.
pub fn read(bytes: &[u8], transport: Protocol) -> Result<Reading, Malformed> {
    let reading = match bytes.first() {
        None => {
            return Ok(Reading::NeedMore {
                at_least: v1::SHORTEST,
            });
        }
        Some(&byte) if byte == v2::SIGNATURE[0] => v2::read(bytes, transport)?,
        Some(_) => v1::read(bytes, transport)?,
    };
    match reading {
        Reading::Done {
            told: Told::Addresses { client, .. },
            ..
        } if nobody(client.ip()) => Err(Malformed::Nobody(client.ip())),
        _ => Ok(reading),
    }
}

/// Whether no client can have this address. It will be dialled from: the unspecified address would
/// let the host choose one of its own.
fn nobody(ip: IpAddr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST)
}

/// What a header with these addresses tells.
pub(super) fn addresses(client: (IpAddr, u16), destination: (IpAddr, u16)) -> Told {
    let plain = |(ip, port): (IpAddr, u16)| SocketAddr::new(ip.to_canonical(), port);
    Told::Addresses {
        client: plain(client),
        destination: plain(destination),
    }
}
