//! Kinds of link whose frames can be replayed, and how they become Ethernet frames.

use super::{CaptureError, Frame, Record};

/// Bytes of an Ethernet header.
const ETHERNET: usize = 14;

/// Bytes of the header of a cooked frame.
const COOKED: usize = 16;
const COOKED_2: usize = 20;

/// Stands for a sender whose link has no MAC addresses.
const NO_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xfe];

/// What the header of a frame looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// LINKTYPE_LINUX_SLL: `tcpdump -i any`.
    Cooked,
    /// LINKTYPE_LINUX_SLL2: the same of newer versions.
    Cooked2,
}

/// Whom a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Its destination MAC says.
    Mac,
    /// The host that captured it: its own MAC was not kept, and stands as zeros.
    Us,
    /// Others: sent by that host, or not meant for it. Zeros stand for the MAC.
    Others,
}

impl Link {
    /// By its number (<https://www.tcpdump.org/linktypes.html>).
    pub fn of(number: u32) -> Result<Self, CaptureError> {
        match number {
            1 => Ok(Link::Ethernet),
            113 => Ok(Link::Cooked),
            276 => Ok(Link::Cooked2),
            other => Err(CaptureError::Link(other)),
        }
    }

    /// The frame of a record; one that is made anew lies in `made`.
    pub fn frame<'a>(self, record: Record<'a>, made: &'a mut Vec<u8>) -> Frame<'a> {
        let length = record.length.max(record.bytes.len());
        let cooked = match self {
            Link::Ethernet => {
                return Frame {
                    at: record.at,
                    bytes: record.bytes,
                    length,
                    to: To::Mac,
                };
            }
            Link::Cooked => first(record.bytes),
            Link::Cooked2 => second(record.bytes),
        };
        made.clear();
        let (to, length) = match cooked {
            Some(cooked) => {
                made.extend([0; 6]);
                made.extend(cooked.sender);
                made.extend(cooked.protocol);
                made.extend(cooked.payload);
                let header = record.bytes.len() - cooked.payload.len();
                (cooked.to, length - header + ETHERNET)
            }
            // Cut off within its header: nobody's.
            None => (To::Others, length),
        };
        Frame {
            at: record.at,
            bytes: made,
            length: length.max(made.len()),
            to,
        }
    }
}

struct Cooked<'a> {
    to: To,
    sender: [u8; 6],
    protocol: [u8; 2],
    payload: &'a [u8],
}

/// Packet type, ARPHRD, address length, address, protocol.
fn first(bytes: &[u8]) -> Option<Cooked<'_>> {
    let (header, payload) = bytes.split_first_chunk::<COOKED>()?;
    Some(Cooked {
        to: to(u16::from_be_bytes([header[0], header[1]])),
        sender: sender(u16::from_be_bytes([header[4], header[5]]), &header[6..]),
        protocol: [header[14], header[15]],
        payload,
    })
}

/// Protocol, reserved, interface, ARPHRD, packet type, address length, address.
fn second(bytes: &[u8]) -> Option<Cooked<'_>> {
    let (header, payload) = bytes.split_first_chunk::<COOKED_2>()?;
    Some(Cooked {
        to: to(header[10].into()),
        sender: sender(header[11].into(), &header[12..]),
        protocol: [header[0], header[1]],
        payload,
    })
}

/// packet(7), PACKET_HOST: everything else is broadcast, for others, or our own.
fn to(packet_type: u16) -> To {
    match packet_type {
        0 => To::Us,
        _ => To::Others,
    }
}

fn sender(length: u16, address: &[u8]) -> [u8; 6] {
    match (length, address.first_chunk()) {
        (6, Some(mac)) => *mac,
        _ => NO_MAC,
    }
}

/// The name of a kind of link that people meet, with a blank before it.
pub(super) fn name(number: u32) -> &'static str {
    match number {
        0 | 108 => " (loopback)",
        101 | 228 | 229 => " (IP without a link header: a tunnel)",
        105 | 127 => " (wireless)",
        192 => " (per-packet information)",
        239 => " (netfilter log)",
        _ => "",
    }
}
