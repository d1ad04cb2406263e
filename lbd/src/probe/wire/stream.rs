//! A connection over frames of our own, as a stream.

use super::Road;
use super::stack::Connection;
use crate::probe::ProbeError;
use smoltcp::socket::tcp::State;
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Bytes on their way between a probe and its connection.
const ROOM: usize = 8 * 1024;

/// Connects to the VIP at one real. The connection ends, with a reset, when the stream is dropped.
pub(in crate::probe) async fn connect(road: Road) -> Result<DuplexStream, ProbeError> {
    let mut connection = Connection::new(road)?;
    loop {
        connection.turn().map_err(ProbeError::Socket)?;
        match connection.socket().state() {
            _ if connection.is_refused() => break,
            State::SynSent => connection.wait().await,
            State::Closed => break,
            _ => {
                let (near, far) = tokio::io::duplex(ROOM);
                tokio::spawn(carry(connection, far));
                return Ok(near);
            }
        }
    }
    Err(ProbeError::Io(io::Error::from_raw_os_error(
        libc::ECONNREFUSED,
    )))
}

/// Moves bytes both ways until either side has ended.
async fn carry(mut connection: Connection, mut far: DuplexStream) {
    let (mut from_real, mut from_probe) = ([0; 4096], [0; 4096]);
    while connection.turn().is_ok() {
        let socket = connection.socket();
        if let Ok(length @ 1..) = socket.recv_slice(&mut from_real) {
            if far.write_all(&from_real[..length]).await.is_err() {
                return;
            }
            // The window has opened: say so, and read on.
            continue;
        }
        if !socket.may_recv() {
            // Nothing more comes; what the probe still says would be read by nobody.
            return;
        }
        let can_send = (socket.send_capacity() - socket.send_queue()).min(from_probe.len());
        tokio::select! {
            read = far.read(&mut from_probe[..can_send]), if can_send > 0 => match read {
                Ok(length @ 1..) => {
                    // There is room for all of it, and a connection that has gone shows in a turn.
                    let _ = connection.socket().send_slice(&from_probe[..length]);
                }
                Ok(0) | Err(_) => return,
            },
            () = connection.wait() => {}
        }
    }
}
