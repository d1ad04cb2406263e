//! Version 2: a binary header (section 2.2 of the specification).

use super::crc32c::crc32c;
use super::read::{MAX_HEADER, addresses};
use super::{Malformed, Reading, Told};
use crate::net::Protocol;
use std::net::IpAddr;

/// What every header begins with.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length of the rest.
const FIXED: usize = 16;

/// The type of the field that holds a checksum of the header.
const CHECKSUM: u8 = 0x03;

/// Version 2, command PROXY.
pub(super) const PROXY: u8 = 0x21;

/// Transports by their numbers in the header.
pub(super) const STREAM: u8 = 1;
pub(super) const DATAGRAM: u8 = 2;

/// Address families by their numbers in the header.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    Unspecified = 0,
    Inet = 1,
    Inet6 = 2,
    Unix = 3,
}

impl Family {
    /// Bytes that two addresses of this family take, ports included.
    pub(super) fn address_length(self) -> usize {
        match self {
            Family::Unspecified => 0,
            Family::Inet => 2 * 4 + 2 * 2,
            Family::Inet6 => 2 * 16 + 2 * 2,
            Family::Unix => 2 * 108,
        }
    }
}

/// What the bytes after the first sixteen are.
#[derive(Clone, Copy)]
enum Block {
    /// Not to be looked at: of a health check everything is to be ignored, and of a transport or
    /// family left unspecified nobody knows where the addresses end.
    Opaque(Told),
    /// Addresses, then fields.
    Addresses(Family),
}

/// Reads a header. What is wrong in its first sixteen bytes is found as they come, the rest only
/// once all of it is there.
pub(super) fn read(bytes: &[u8], transport: Protocol) -> Result<Reading, Malformed> {
    if bytes.iter().zip(SIGNATURE).any(|(a, b)| *a != b) {
        return Err(Malformed::NotProxy);
    }
    let block = block(bytes.get(12), bytes.get(13), transport)?;
    let length = bytes.get(14..).and_then(<[u8]>::first_chunk);
    let (Some(block), Some(length)) = (block, length) else {
        return Ok(Reading::NeedMore { at_least: FIXED });
    };
    let length = usize::from(u16::from_be_bytes(*length));
    let header_len = FIXED + length;
    if header_len > MAX_HEADER {
        return Err(Malformed::TooLong(header_len));
    }
    if let Block::Addresses(family) = block
        && length < family.address_length()
    {
        return Err(Malformed::Addresses {
            got: length,
            needed: family.address_length(),
        });
    }
    let Some(header) = bytes.get(..header_len) else {
        return Ok(Reading::NeedMore {
            at_least: header_len,
        });
    };
    let told = match block {
        Block::Opaque(told) => told,
        Block::Addresses(family) => {
            verify_fields(header, FIXED + family.address_length())?;
            told(family, &header[FIXED..])
        }
    };
    Ok(Reading::Done { header_len, told })
}

/// Judges the bytes for version and command, and for family and transport, as far as they came.
fn block(
    command: Option<&u8>,
    kind: Option<&u8>,
    transport: Protocol,
) -> Result<Option<Block>, Malformed> {
    let Some(command) = command else {
        return Ok(None);
    };
    match (command >> 4, command & 0xf) {
        (2, 0) => return Ok(Some(Block::Opaque(Told::Local))),
        (2, 1) => {}
        (2, command) => return Err(Malformed::Command(command)),
        (version, _) => return Err(Malformed::Version(version)),
    }
    let Some(kind) = kind else {
        return Ok(None);
    };
    let family = match kind >> 4 {
        0 => Family::Unspecified,
        1 => Family::Inet,
        2 => Family::Inet6,
        3 => Family::Unix,
        family => return Err(Malformed::Family(family)),
    };
    match (family, kind & 0xf) {
        (Family::Unspecified, 0) => Ok(Some(Block::Addresses(family))),
        (Family::Unspecified, 1 | 2) | (_, 0) => Ok(Some(Block::Opaque(Told::Unknown))),
        (_, STREAM) if transport == Protocol::Tcp => Ok(Some(Block::Addresses(family))),
        (_, DATAGRAM) if transport == Protocol::Udp => Ok(Some(Block::Addresses(family))),
        (_, STREAM | DATAGRAM) => Err(Malformed::OtherTransport(transport)),
        (_, unknown) => Err(Malformed::Transport(unknown)),
    }
}

/// Walks the fields from `at` to the end of the header: none may reach beyond it, and a checksum
/// must be right. What else they say is of no use here.
fn verify_fields(header: &[u8], mut at: usize) -> Result<(), Malformed> {
    let mut checksum = None;
    while let Some(field) = header.get(at..).filter(|rest| !rest.is_empty()) {
        let [kind, high, low] = *field.first_chunk().ok_or(Malformed::Field)?;
        let length = usize::from(u16::from_be_bytes([high, low]));
        let value = field.get(3..3 + length).ok_or(Malformed::Field)?;
        if kind == CHECKSUM {
            let sum = value.try_into();
            let sum = u32::from_be_bytes(sum.map_err(|_| Malformed::ChecksumLength(length))?);
            if checksum.replace((at + 3, sum)).is_some() {
                return Err(Malformed::TwoChecksums);
            }
        }
        at += 3 + length;
    }
    let Some((at, told)) = checksum else {
        return Ok(());
    };
    // Summed up with zeros in its own place.
    let found = crc32c(&[&header[..at], &[0; 4], &header[at + 4..]]);
    if told == found {
        Ok(())
    } else {
        Err(Malformed::Checksum { told, found })
    }
}

fn told(family: Family, block: &[u8]) -> Told {
    match family {
        Family::Inet => ends::<4>(block),
        Family::Inet6 => ends::<16>(block),
        Family::Unspecified | Family::Unix => None,
    }
    .unwrap_or(Told::Unknown)
}

/// Two addresses of `N` bytes, then two ports.
fn ends<const N: usize>(block: &[u8]) -> Option<Told>
where
    IpAddr: From<[u8; N]>,
{
    let (client, rest) = block.split_first_chunk::<N>()?;
    let (destination, rest) = rest.split_first_chunk::<N>()?;
    let (client_port, rest) = rest.split_first_chunk()?;
    let port = rest.first_chunk()?;
    Some(addresses(
        (IpAddr::from(*client), u16::from_be_bytes(*client_port)),
        (IpAddr::from(*destination), u16::from_be_bytes(*port)),
    ))
}
