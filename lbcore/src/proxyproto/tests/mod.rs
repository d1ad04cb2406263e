#![allow(clippy::unwrap_used)]

mod golden;
mod laws;
mod refused;

use super::*;
use crate::net::Protocol::{Tcp, Udp};
use std::net::SocketAddr;

fn at(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn done(header_len: usize, told: Told) -> Result<Reading, Malformed> {
    Ok(Reading::Done { header_len, told })
}

fn from(client: &str, destination: &str) -> Told {
    Told::Addresses {
        client: at(client),
        destination: at(destination),
    }
}

/// A version 2 header with any two first bytes, and a length that is right.
fn binary(command: u8, kind: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap().to_be_bytes();
    [
        b"\r\n\r\n\0\r\nQUIT\n",
        &[command, kind][..],
        &length,
        block,
    ]
    .concat()
}

/// The addresses of TCP over IPv4, 12 bytes.
const INET: &[u8] = b"\xc6\x33\x64\x07\xc0\x00\x02\x0a\x9c\x41\x01\xbb";

/// A version 2 header over IPv4 with these fields after the addresses.
fn with_fields(fields: &[u8]) -> Vec<u8> {
    binary(0x21, 0x11, &[INET, fields].concat())
}
