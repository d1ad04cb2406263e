//! Single requests as clients make them: curl, one TCP transfer, one datagram.

use crate::fnv::Fnv;
use crate::netns::Netns;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Stdio;
use std::time::{Duration, Instant};

/// A request that takes longer has failed. Above a TCP retransmission or two.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// What a real server said of itself and of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The server's name.
    pub server: String,
    /// The client it saw.
    pub peer: SocketAddr,
}

impl Identity {
    /// Reads `rs1 192.0.2.100:40000`.
    pub fn parse(line: &str) -> Option<Identity> {
        let (server, peer) = line.trim_end().split_once(' ')?;
        Some(Identity {
            server: server.to_owned(),
            peer: peer.parse().ok()?,
        })
    }
}

/// `count` requests by curl, one connection each, ten at a time: the answers.
///
/// # Panics
/// When curl cannot be run. Requests that failed are missing in what is returned.
pub fn curl(netns: &Netns, target: SocketAddr, count: usize) -> Vec<Identity> {
    let config: String = (0..count)
        .map(|_| format!("url = \"http://{target}/\"\nheader = \"Connection: close\"\n"))
        .collect();
    let mut child = netns
        .command("curl")
        .args([
            "--silent",
            "--show-error",
            "--no-progress-meter",
            "--max-time",
            "5",
        ])
        .args([
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "10",
            "--config",
            "-",
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("curl is needed");
    let mut stdin = child.stdin.take().expect("curl's stdin");
    let writer = std::thread::spawn(move || stdin.write_all(config.as_bytes()));
    let output = child.wait_with_output().expect("curl");
    let _ = writer.join();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(Identity::parse)
        .collect()
}

/// How many answers came from whom.
pub fn spread(answers: &[Identity]) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for answer in answers {
        *spread.entry(answer.server.clone()).or_default() += 1;
    }
    spread
}

/// One HTTP request from `source` (port 0: any).
///
/// # Errors
/// When there was no answer within [`REQUEST_TIMEOUT`], or not ours.
pub fn request(netns: &Netns, target: SocketAddr) -> std::io::Result<Identity> {
    request_within(netns, target, REQUEST_TIMEOUT)
}

/// As [`request`], with a time limit of its own for connecting and for the answer.
///
/// # Errors
/// As [`request`].
pub fn request_within(
    netns: &Netns,
    target: SocketAddr,
    limit: Duration,
) -> std::io::Result<Identity> {
    netns.run(|| {
        let mut stream = TcpStream::connect_timeout(&target, limit)?;
        stream.set_read_timeout(Some(limit))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {target}\r\n\r\n")?;
        let lines: Vec<String> = BufReader::new(stream).lines().collect::<Result<_, _>>()?;
        let body = lines.last().and_then(|line| Identity::parse(line));
        body.ok_or_else(|| std::io::Error::other(format!("{lines:?}")))
    })
}

/// One datagram there and back: who answered, if anybody did within `limit`.
///
/// # Errors
/// When no answer came, or another than expected.
pub fn datagram(
    netns: &Netns,
    target: SocketAddr,
    payload: &[u8],
    limit: Duration,
) -> std::io::Result<Identity> {
    netns.run(|| {
        let socket = UdpSocket::bind((any(target.ip()), 0))?;
        socket.connect(target)?;
        socket.set_read_timeout(Some(limit))?;
        socket.send(payload)?;
        let mut buffer = vec![0; 65536];
        let count = socket.recv(&mut buffer)?;
        let answer = &buffer[..count];
        let end = answer.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let identity = Identity::parse(&String::from_utf8_lossy(&answer[..end]));
        match identity {
            Some(identity) if &answer[end + 1..] == payload => Ok(identity),
            _ => Err(std::io::Error::other("an answer that is not the echo")),
        }
    })
}

/// The unspecified address of the same family.
pub fn any(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(_) => std::net::Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => std::net::Ipv6Addr::UNSPECIFIED.into(),
    }
}

/// What came of an upload.
#[derive(Clone, Copy, Debug)]
pub struct Upload {
    /// Bytes the server says it read.
    pub bytes: u64,
    /// Whether the server's hash is that of what was sent; true where none was asked for.
    pub intact: bool,
    /// From the connection to the server's answer.
    pub took: Duration,
}

impl Upload {
    /// Gigabits a second.
    pub fn gbit_per_s(&self) -> f64 {
        self.bytes as f64 * 8.0 / self.took.as_secs_f64() / 1e9
    }
}

/// Sends `bytes` bytes in one TCP connection. With `hashed` the server proves what it read; without
/// it, it only counts, and nothing but the network is measured.
///
/// # Errors
/// When the connection breaks or stalls for [`REQUEST_TIMEOUT`].
pub fn upload(
    netns: &Netns,
    target: SocketAddr,
    bytes: usize,
    hashed: bool,
) -> std::io::Result<Upload> {
    // No multiple of 256, so that a piece lost or doubled shows in the hash.
    let piece: Vec<u8> = (0..65_521u32).map(|i| ((i * 31) >> 3) as u8).collect();
    netns.run(|| {
        let mut stream = TcpStream::connect_timeout(&target, REQUEST_TIMEOUT)?;
        stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
        stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
        let start = Instant::now();
        stream.write_all(if hashed { b"SINK\n" } else { b"DISCARD\n" })?;
        let mut hash = Fnv::new();
        let mut left = bytes;
        while left > 0 {
            let now = &piece[..left.min(piece.len())];
            stream.write_all(now)?;
            if hashed {
                hash.update(now);
            }
            left -= now.len();
        }
        stream.shutdown(std::net::Shutdown::Write)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        let took = start.elapsed();
        let mut words = answer.split_whitespace();
        let read = words.next().and_then(|word| word.parse().ok());
        let read = read.ok_or_else(|| std::io::Error::other(format!("no count: {answer:?}")))?;
        let intact = !hashed || words.next() == Some(&format!("{:016x}", hash.finish()));
        Ok(Upload {
            bytes: read,
            intact,
            took,
        })
    })
}
