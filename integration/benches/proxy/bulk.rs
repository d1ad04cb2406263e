//! Streams that never end, from the server to the client, which drops what comes without looking:
//! the proxy is what limits them.

use crate::network::Network;
use crate::process::Cpu;
use crate::server::STREAM_REQUEST;
use anyhow::Context;
use socket2::{SockRef, Socket};
use std::io::Write;
use std::mem::MaybeUninit;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Until windows have grown and the proxy has seen that this is bulk.
const WARM_UP: Duration = Duration::from_millis(500);

/// How much the client takes at once.
const CHUNK: usize = 1 << 20;

/// What was moved.
pub struct Moved {
    /// Payload, all streams together.
    pub gbit_per_second: f64,
    /// Of the proxy's processor time, per 10^9 bytes.
    pub cpu_seconds_per_gb: f64,
}

/// Runs `streams` at once for `span`.
///
/// # Errors
/// When a stream cannot be opened.
pub fn run(
    net: &Network,
    address: SocketAddr,
    streams: usize,
    span: Duration,
    cpu: impl Fn() -> Cpu,
) -> anyhow::Result<Moved> {
    let bytes = Arc::new(AtomicU64::new(0));
    let mut open = Vec::new();
    for _ in 0..streams {
        let stream = net.client.run(|| TcpStream::connect(address));
        let mut stream = stream.context("a stream")?;
        stream.write_all(STREAM_REQUEST)?;
        let socket = Socket::from(stream.try_clone()?);
        let bytes = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || drop_all(&socket, &bytes));
        open.push((stream, reader));
    }

    sleep(WARM_UP);
    let (start, cpu_before) = (Instant::now(), cpu());
    let bytes_before = bytes.load(Ordering::Relaxed);
    sleep(span);
    let (seconds, used) = (start.elapsed().as_secs_f64(), cpu().since(cpu_before));
    let moved = (bytes.load(Ordering::Relaxed) - bytes_before) as f64;

    for (stream, _) in &open {
        // The server streams on until it is reset.
        SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        let _ = stream.shutdown(Shutdown::Both);
    }
    for (stream, reader) in open {
        drop(stream);
        let _ = reader.join();
    }
    Ok(Moved {
        gbit_per_second: moved * 8.0 / seconds / 1e9,
        cpu_seconds_per_gb: used / (moved / 1e9),
    })
}

/// With MSG_TRUNC a TCP socket drops what it would have copied: tcp(7).
fn drop_all(socket: &Socket, bytes: &AtomicU64) {
    let mut chunk = vec![MaybeUninit::uninit(); CHUNK];
    while let Ok(n @ 1..) = socket.recv_with_flags(&mut chunk, libc::MSG_TRUNC) {
        bytes.fetch_add(n as u64, Ordering::Relaxed);
    }
}
