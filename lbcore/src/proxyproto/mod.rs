//! The PROXY protocol, versions 1 and 2: a few bytes before the data that tell whose connection it
//! is ([specification](https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt)).
//!
//! The writers fill small fixed buffers, which go out in one write before anything else. The reader
//! takes what has arrived so far. Whether a port speaks PROXY is configured, never guessed; only
//! which version it is shows in the first bytes.
//!
//! Addresses are told, and taken, in their plain form: an IPv4 address that stands in an IPv6 one
//! (`::ffff:a.b.c.d`) is IPv4. Where client and server differ in family, the IPv4 side is written
//! so mapped, because a header has room for one family only.

mod crc32c;
mod fault;
mod read;
mod v1;
mod v2;
mod write;

#[cfg(test)]
mod tests;

pub use fault::Malformed;
pub use read::{MAX_HEADER, Reading, Told, read};
pub use write::{Header, write_v1, write_v2};
