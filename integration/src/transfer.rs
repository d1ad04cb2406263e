//! A bulk transfer both ways at once over one connection, compared byte for byte at both ends.

use crate::dial::dial;
use crate::netns::NetnsHandle;
use crate::pattern::Pattern;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub struct Transfer {
    /// Whether both ends got exactly what the other sent.
    pub same: bool,
    /// From the first byte to the last.
    pub took: Duration,
}

/// Sends `bytes` bytes to a `whoami` at `target` while it sends as many back. Each side ends its
/// own direction when it is done.
///
/// # Errors
/// When the connection breaks or stands still.
pub fn transfer(netns: &NetnsHandle, target: SocketAddr, bytes: u64) -> std::io::Result<Transfer> {
    let mut stream = dial(netns, target)?;
    let start = Instant::now();
    stream.write_all(format!("DUPLEX {bytes}\n").as_bytes())?;
    let mut writer = stream.try_clone()?;
    let sending = std::thread::spawn(move || send(&mut writer, bytes));
    let same_here = compare(&mut stream, bytes)?;
    sending
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    // What the server says of what it read comes behind its bytes, and then nothing.
    let mut verdict = String::new();
    stream.read_to_string(&mut verdict)?;
    Ok(Transfer {
        same: same_here && verdict == format!("{bytes} same\n"),
        took: start.elapsed(),
    })
}

fn send(stream: &mut TcpStream, bytes: u64) -> std::io::Result<()> {
    let pattern = Pattern::new();
    let mut at = 0;
    while at < bytes {
        let piece = pattern.piece(at, bytes - at);
        stream.write_all(piece)?;
        at += piece.len() as u64;
    }
    stream.shutdown(Shutdown::Write)
}

fn compare(stream: &mut TcpStream, bytes: u64) -> std::io::Result<bool> {
    let pattern = Pattern::new();
    let mut buffer = vec![0; 256 * 1024];
    let (mut at, mut same) = (0, true);
    while at < bytes {
        let room = buffer.len().min((bytes - at) as usize);
        match stream.read(&mut buffer[..room])? {
            0 => return Ok(false),
            count => {
                same &= pattern.is_at(at, &buffer[..count]);
                at += count as u64;
            }
        }
    }
    Ok(same)
}
