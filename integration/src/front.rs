//! A balancer in front of lbd, as far as lbd sees one: it dials from an address of its own, and what
//! it sends first is what the test says.

use crate::client::Identity;
use crate::dial::dial_from;
use crate::netns::Netns;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

/// A PROXY header, version 1.
pub fn line(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let family = if client.is_ipv4() { "TCP4" } else { "TCP6" };
    let (ip, port) = (client.ip(), client.port());
    let (to, to_port) = (destination.ip(), destination.port());
    format!("PROXY {family} {ip} {to} {port} {to_port}\r\n").into_bytes()
}

/// A PROXY header, version 2; both addresses of one family.
pub fn binary(client: SocketAddr, destination: SocketAddr) -> Vec<u8> {
    let octets = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    };
    let block = [
        octets(client),
        octets(destination),
        client.port().to_be_bytes().to_vec(),
        destination.port().to_be_bytes().to_vec(),
    ]
    .concat();
    let family = if client.is_ipv4() { 0x11 } else { 0x21 };
    command(0x21, family, &block)
}

/// A PROXY header, version 2, that tells nobody: the balancer's own health check.
pub fn local() -> Vec<u8> {
    command(0x20, 0x00, &[])
}

fn command(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let start = b"\r\n\r\n\0\r\nQUIT\n";
    let length = u16::try_from(block.len()).expect("addresses are short");
    [&start[..], &[command, family], &length.to_be_bytes(), block].concat()
}

/// What a server behind everything answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Who it is, and whom it saw.
    pub identity: Identity,
    head: String,
}

impl Answer {
    /// A header of the answer.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    /// Whom an ingress told the server.
    pub fn forwarded_for(&self) -> Option<IpAddr> {
        self.header("X-Forwarded-For")?.parse().ok()
    }
}

/// Sends `header` and one HTTP request, in one piece, and reads the answer.
///
/// # Errors
/// When the connection is refused or not answered in time, ends without an answer, or brings another than `whoami`'s.
pub fn request(
    netns: &Netns,
    source: IpAddr,
    target: SocketAddr,
    header: &[u8],
) -> std::io::Result<Answer> {
    let mut stream = dial_from(&netns.handle(), Some(SocketAddr::new(source, 0)), target)?;
    let request = format!("GET / HTTP/1.1\r\nHost: {target}\r\nConnection: close\r\n\r\n");
    stream.write_all(&[header, request.as_bytes()].concat())?;
    answer(stream)
}

/// Reads the answer to a request that was sent.
///
/// # Errors
/// As [`request`].
pub fn answer(mut stream: TcpStream) -> std::io::Result<Answer> {
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    answer
        .split_once("\r\n\r\n")
        .and_then(|(head, body)| {
            let identity = Identity::parse(body.lines().next()?)?;
            let head = head.to_owned();
            Some(Answer { identity, head })
        })
        .ok_or_else(|| Error::other(format!("not whoami's answer: {answer:?}")))
}
