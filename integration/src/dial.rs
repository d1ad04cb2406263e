//! Connections held by hand: from a chosen address and port, half-closed, reset.

use crate::client::{Identity, REQUEST_TIMEOUT};
use crate::netns::NetnsHandle;
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// Connects from inside `netns`; reads and writes give up after [`REQUEST_TIMEOUT`].
///
/// # Errors
/// When the connection is refused or takes longer than [`REQUEST_TIMEOUT`].
pub fn dial(netns: &NetnsHandle, target: SocketAddr) -> std::io::Result<TcpStream> {
    dial_from(netns, None, target)
}

/// As [`dial`], from `source`: an address, or an address and port that others may use too, for
/// other targets (SO_REUSEADDR).
///
/// # Errors
/// As [`dial`].
pub fn dial_from(
    netns: &NetnsHandle,
    source: Option<SocketAddr>,
    target: SocketAddr,
) -> std::io::Result<TcpStream> {
    netns.run(|| dial_here(source, target))
}

/// As [`dial_from`], from the namespace this thread is in.
///
/// # Errors
/// As [`dial`].
pub fn dial_here(source: Option<SocketAddr>, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(source) = source {
        socket.set_reuse_address(true)?;
        socket.bind(&source.into())?;
    }
    socket.connect_timeout(&target.into(), REQUEST_TIMEOUT)?;
    socket.set_tcp_nodelay(true)?;
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(Some(REQUEST_TIMEOUT))?;
    Ok(stream)
}

/// Connects and asks for an echo: the connection, and who answers it.
///
/// # Errors
/// As [`dial`], and when what answers is no `whoami`.
pub fn echo(netns: &NetnsHandle, target: SocketAddr) -> std::io::Result<(TcpStream, Identity)> {
    echo_over(dial(netns, target)?)
}

/// As [`echo`], over a connection that stands.
///
/// # Errors
/// As [`echo`].
pub fn echo_over(mut stream: TcpStream) -> std::io::Result<(TcpStream, Identity)> {
    stream.write_all(b"ECHO\n")?;
    let line = read_line(&mut stream)?;
    let identity = Identity::parse(&line).ok_or_else(|| std::io::Error::other(line))?;
    Ok((stream, identity))
}

/// One message there and back over a connection from [`echo`].
///
/// # Errors
/// When it breaks, or something else comes back.
pub fn round(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"round")?;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer)?;
    match &answer {
        b"round" => Ok(()),
        other => Err(std::io::Error::other(format!("{other:?} came back"))),
    }
}

/// Reads up to a newline, and not a byte more.
///
/// # Errors
/// When the connection breaks or ends before it.
pub fn read_line(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" {
        stream.read_exact(&mut byte)?;
        line.extend(byte);
    }
    Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
}

/// Closes by a reset.
pub fn reset(stream: TcpStream) {
    let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
}

/// How a connection ended, for who reads on until it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The other side was done.
    Closed,
    /// The other side reset it.
    Reset,
    /// It has not ended within the stream's patience.
    Open,
}

/// Reads on until the connection ends: how it did, and how many bytes still came.
pub fn read_to_end(stream: &mut TcpStream) -> (End, u64) {
    let mut buffer = vec![0; 256 * 1024];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return (End::Closed, total),
            Ok(count) => total += count as u64,
            Err(error) if is_reset(&error) => return (End::Reset, total),
            Err(_) => return (End::Open, total),
        }
    }
}

/// Asks for an echo where there shall be none: how the connection ended instead, and after how long.
/// `None` when an answer came.
pub fn refused(netns: &NetnsHandle, target: SocketAddr) -> Option<(End, Duration)> {
    let start = Instant::now();
    let end = match dial(netns, target) {
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => End::Reset,
        Err(error) if is_reset(&error) => End::Reset,
        Err(_) => End::Open,
        Ok(mut stream) => {
            match stream.write_all(b"ECHO\n") {
                // Whoever is told of a reset first is told alone.
                Err(error) if is_reset(&error) => End::Reset,
                _ => match read_to_end(&mut stream) {
                    (end, 0) => end,
                    _ => return None,
                },
            }
        }
    };
    Some((end, start.elapsed()))
}

fn is_reset(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionReset};
    matches!(error.kind(), ConnectionReset | BrokenPipe)
}
