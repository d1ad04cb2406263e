//! Why a header is refused.

use crate::net::Protocol;
use std::net::IpAddr;
use thiserror::Error;

/// What is wrong with a PROXY header. Its sender is told nothing: the connection is reset, or the
/// datagram dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// Neither version begins so.
    #[error("it does not begin with a PROXY header")]
    NotProxy,
    /// Version 1 exists for TCP only.
    #[error("a PROXY version 1 header in a UDP datagram")]
    LineOverUdp,
    /// The second word of the line.
    #[error("PROXY line for a protocol other than TCP4, TCP6 and UNKNOWN")]
    LineProtocol,
    /// No CRLF in the first 107 bytes.
    #[error("PROXY line without an end in its first 107 bytes")]
    LineTooLong,
    /// A CR without LF, or a LF without CR.
    #[error("PROXY line with a bare CR or LF")]
    LineEnd,
    /// Not four fields with one space between each.
    #[error("PROXY line without exactly two addresses and two ports, single spaces between them")]
    LineFields,
    /// An address that is none of the line's family.
    #[error("PROXY line with an address that is not of its family, or not in canonical form")]
    LineAddress,
    /// A port that is no number from 0 to 65535, or begins with a needless zero.
    #[error("PROXY line with a port that is not a plain number from 0 to 65535")]
    LinePort,
    /// The version in byte 13.
    #[error("PROXY binary header of version {0}, not 2")]
    Version(u8),
    /// The command in byte 13.
    #[error("PROXY binary header with the unknown command {0}")]
    Command(u8),
    /// The address family in byte 14.
    #[error("PROXY binary header with the unknown address family {0}")]
    Family(u8),
    /// The transport in byte 14.
    #[error("PROXY binary header with the unknown transport {0}")]
    Transport(u8),
    /// Longer than any honest sender's.
    #[error("PROXY binary header of {0} bytes, more than 4096")]
    TooLong(usize),
    /// The length leaves no room for the addresses of the family.
    #[error("PROXY binary header with {got} bytes for addresses that take {needed}")]
    Addresses {
        /// Bytes after the first 16.
        got: usize,
        /// Bytes the family's addresses take.
        needed: usize,
    },
    /// A type-length-value field that reaches beyond the header.
    #[error("PROXY binary header with a field that reaches beyond its end")]
    Field,
    /// A checksum field that is not of 4 bytes.
    #[error("PROXY binary header with a checksum field of {0} bytes, not 4")]
    ChecksumLength(usize),
    /// More than one checksum: which of them to leave out of the sum is not defined.
    #[error("PROXY binary header with two checksums")]
    TwoChecksums,
    /// The checksum does not match.
    #[error("PROXY binary header with the checksum {told:08x}, but it is {found:08x}")]
    Checksum {
        /// As the header says.
        told: u32,
        /// As its bytes say.
        found: u32,
    },
    /// A datagram told on a connection, or the other way round.
    #[error("PROXY header that speaks of another transport than the {0} it came over")]
    OtherTransport(Protocol),
    /// An address that no client can have: unspecified, multicast or broadcast.
    #[error("PROXY header with a client {0}, which is nobody's address")]
    Nobody(IpAddr),
}
