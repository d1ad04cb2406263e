//! Version 1: one line of text (section 2.1 of the specification).

use super::read::addresses;
use super::{Malformed, Reading, Told};
use crate::net::Protocol;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::{self, FromStr};

/// `PROXY UNKNOWN\r\n`.
pub(super) const SHORTEST: usize = 15;

/// The longest line, with its CRLF.
const LONGEST: usize = 107;

const TCP4: &[u8] = b"PROXY TCP4 ";
const TCP6: &[u8] = b"PROXY TCP6 ";

/// How a line can begin.
const OPENINGS: [&[u8]; 4] = [TCP4, TCP6, b"PROXY UNKNOWN ", b"PROXY UNKNOWN\r"];

/// Reads a line; its fields only once all of it is there.
pub(super) fn read(bytes: &[u8], transport: Protocol) -> Result<Reading, Malformed> {
    if !OPENINGS.iter().any(|opening| agree(bytes, opening)) {
        return Err(if agree(bytes, b"PROXY ") {
            Malformed::LineProtocol
        } else {
            Malformed::NotProxy
        });
    }
    if transport == Protocol::Udp {
        return Err(Malformed::LineOverUdp);
    }
    let Some(line) = line(bytes)? else {
        let end = if bytes.ends_with(b"\r") { 1 } else { 2 };
        let at_least = SHORTEST.max(bytes.len() + end);
        return if at_least > LONGEST {
            Err(Malformed::LineTooLong)
        } else {
            Ok(Reading::NeedMore { at_least })
        };
    };
    let told = if let Some(fields) = line.strip_prefix(TCP4) {
        told::<Ipv4Addr>(fields)?
    } else if let Some(fields) = line.strip_prefix(TCP6) {
        told::<Ipv6Addr>(fields)?
    } else {
        // Whatever else stands in the line is to be ignored.
        Told::Unknown
    };
    let header_len = line.len() + 2;
    Ok(Reading::Done { header_len, told })
}

/// Whether two texts are the same as far as both go.
fn agree(a: &[u8], b: &[u8]) -> bool {
    a.iter().zip(b).all(|(a, b)| a == b)
}

/// The line without its CRLF; none if its end has not come.
fn line(bytes: &[u8]) -> Result<Option<&[u8]>, Malformed> {
    let bytes = &bytes[..bytes.len().min(LONGEST)];
    let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
        return Ok(None);
    };
    match &bytes[end..] {
        [b'\r', b'\n', ..] => Ok(Some(&bytes[..end])),
        [b'\r'] => Ok(None),
        _ => Err(Malformed::LineEnd),
    }
}

fn told<A: FromStr + Into<IpAddr>>(fields: &[u8]) -> Result<Told, Malformed> {
    let mut fields = fields.split(|byte| *byte == b' ');
    let mut next = || fields.next().ok_or(Malformed::LineFields);
    let (client, destination, client_port, port) = (next()?, next()?, next()?, next()?);
    if fields.next().is_some() {
        return Err(Malformed::LineFields);
    }
    Ok(addresses(
        (address::<A>(client)?, self::port(client_port)?),
        (address::<A>(destination)?, self::port(port)?),
    ))
}

/// The standard library reads canonical forms only: no leading zeros, no zone, no netmask.
fn address<A: FromStr + Into<IpAddr>>(field: &[u8]) -> Result<IpAddr, Malformed> {
    let text = str::from_utf8(field).map_err(|_| Malformed::LineAddress)?;
    let address = text.parse::<A>().map_err(|_| Malformed::LineAddress)?;
    Ok(address.into())
}

fn port(field: &[u8]) -> Result<u16, Malformed> {
    match field {
        [b'0'] => Ok(0),
        // A number of digits only: parsing alone would take a sign, too.
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => str::from_utf8(field)
            .ok()
            .and_then(|text| text.parse().ok())
            .ok_or(Malformed::LinePort),
        _ => Err(Malformed::LinePort),
    }
}
