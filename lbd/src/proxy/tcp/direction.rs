//! One direction of a relayed connection: from a source to a destination.
//!
//! ```text
//!            short exchanges: recv into the worker's one buffer, send
//!   source ------------------------------------------------------------> destination
//!            256 KiB on end: splice through a pipe of its own, until it idles
//! ```
//!
//! Nothing is allocated until a write is short; then what is left over is kept (at most one
//! [`CHUNK`]), and nothing more is read before it is gone. Sockets are watched by edges, so every
//! turn ends for one of two reasons the kernel will report the end of: the source is empty, or the
//! destination is full. A turn that ends for fairness says so and is taken up again.

use super::pipe::{Moved, Pipe, Pipes};
use crate::proxy::poller::Flags;
use lbcore::time::Tick;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::os::fd::BorrowedFd;

/// Bytes read at once, and the most a destination that does not read can cost: what is left of them
/// is kept.
pub const CHUNK: usize = 32 << 10;

/// The worker's buffer: one chunk behind the longest header that may go before it.
pub const BUFFER: usize = CHUNK + HEADER_ROOM;

/// Room for what is sent before the first bytes: a PROXY protocol header.
pub const HEADER_ROOM: usize = 256;

/// Full reads on end that make a direction splice: less than this, a copy is cheaper than the
/// system calls that make a pipe.
const SPLICE_AFTER: u32 = 256 << 10;

/// Bytes copied in a turn before others have theirs: about a tenth of a millisecond.
const COPY_TURN: u64 = 256 << 10;

/// Bytes spliced in a turn, which takes no longer.
const SPLICE_TURN: u64 = 1 << 20;

/// A spliced direction that moves less than this between two looks (a second) goes back to copying.
const IDLE_BELOW: u64 = 256 << 10;

/// What a worker lends to the directions it turns.
#[derive(Debug)]
pub struct Tools {
    /// [`BUFFER`] bytes.
    pub buffer: Box<[u8]>,
    /// Its pipes.
    pub pipes: Pipes,
    /// The time of this turn of the loop.
    pub now: Tick,
}

impl Tools {
    /// With these pipes.
    pub fn new(pipes: Pipes) -> Self {
        Tools {
            buffer: vec![0; BUFFER].into(),
            pipes,
            now: Tick(0),
        }
    }
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The source is empty.
    Waiting,
    /// The destination is full: it must be watched for room.
    Blocked,
    /// There may be more to do at once: others first.
    Unfinished,
    /// The source has ended, and all it sent is delivered.
    Ended,
}

/// A socket has failed: a reset, mostly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Reading.
    Source(Errno),
    /// Writing.
    Destination(Errno),
}

/// One direction.
#[derive(Debug, Default)]
pub struct Direction {
    carry: Carry,
    /// Bytes delivered.
    bytes: u64,
    /// [`Direction::bytes`] at the last look.
    looked: u64,
    /// Bytes read on end without a short read.
    streak: u32,
    end: End,
    /// The destination was full, and has not said that it has room.
    blocked: bool,
    /// Its last turn ended for fairness.
    unfinished: bool,
    /// A short read does not mean that the source is empty: an error or urgent data is behind it.
    wary: bool,
}

/// What was read and not written yet.
#[derive(Debug, Default)]
enum Carry {
    #[default]
    Nothing,
    /// What a short write left over, and how much of it has gone since.
    Bytes(Box<[u8]>, usize),
    /// The direction is spliced.
    Pipe(Pipe),
}

/// What is known of the source's end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    #[default]
    Open,
    /// Its FIN is in: everything it will ever send can be read.
    Announced,
    /// Everything was read.
    Reached,
}

impl Direction {
    /// Bytes delivered.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether all of it is delivered, and nothing will come.
    pub fn has_ended(&self) -> bool {
        self.end == End::Reached && self.is_empty()
    }

    /// Whether it waits for its destination.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether its last turn ended for fairness.
    pub fn is_unfinished(&self) -> bool {
        self.unfinished
    }

    fn is_empty(&self) -> bool {
        match &self.carry {
            Carry::Nothing => true,
            Carry::Bytes(..) => false,
            Carry::Pipe(pipe) => pipe.held() == 0,
        }
    }

    /// What the poller said of the source.
    pub fn source_says(&mut self, flags: Flags) {
        if flags.intersects(Flags::ERR | Flags::PRI) {
            self.wary = true;
        }
        if flags.contains(Flags::RDHUP) && self.end == End::Open {
            self.end = End::Announced;
        }
    }

    /// The poller said that the destination has room.
    pub fn destination_has_room(&mut self) {
        self.blocked = false;
    }

    /// Moves what can be moved.
    ///
    /// # Errors
    /// Which side failed. What the source had sent before it failed is delivered as far as the
    /// destination takes it.
    pub fn turn(
        &mut self,
        source: BorrowedFd<'_>,
        destination: BorrowedFd<'_>,
        tools: &mut Tools,
    ) -> Result<Turn, Broken> {
        self.unfinished = false;
        if self.has_ended() {
            return Ok(Turn::Ended);
        }
        let before = self.bytes;
        loop {
            let (turn, enough) = match &self.carry {
                Carry::Pipe(_) => (self.splice(source, destination, tools)?, SPLICE_TURN),
                _ => (self.copy(source, destination, tools, 0)?, COPY_TURN),
            };
            if turn != Turn::Unfinished {
                return Ok(turn);
            }
            if self.bytes - before >= enough {
                self.unfinished = true;
                return Ok(Turn::Unfinished);
            }
        }
    }

    /// The first turn: the first `header` bytes of the worker's buffer go before everything else, in
    /// one write with what the source has sent so far, or alone if it has sent nothing.
    pub fn begin(
        &mut self,
        source: BorrowedFd<'_>,
        destination: BorrowedFd<'_>,
        tools: &mut Tools,
        header: usize,
    ) -> Result<Turn, Broken> {
        match self.copy(source, destination, tools, header)? {
            Turn::Unfinished => self.turn(source, destination, tools),
            turn => Ok(turn),
        }
    }

    fn copy(
        &mut self,
        source: BorrowedFd<'_>,
        destination: BorrowedFd<'_>,
        tools: &mut Tools,
        header: usize,
    ) -> Result<Turn, Broken> {
        if !self.deliver_left_over(destination)? {
            return Ok(Turn::Blocked);
        }
        if self.end == End::Reached {
            return Ok(Turn::Ended);
        }
        let buffer = &mut tools.buffer[..header + CHUNK];
        let read = match recv(source, &mut buffer[header..], RecvFlags::empty()) {
            Ok((_, read)) => Some(read),
            Err(Errno::AGAIN) => None,
            Err(error) => return Err(Broken::Source(error)),
        };
        let drained = match read {
            Some(0) => {
                self.end = End::Reached;
                true
            }
            Some(CHUNK) => false,
            Some(_) if self.wary => false,
            Some(_) if self.end == End::Announced => {
                self.end = End::Reached;
                true
            }
            _ => true,
        };
        let full = read == Some(CHUNK);
        let fresh = header + read.unwrap_or(0);
        if fresh > 0 {
            // The FIN that follows goes into the last segment.
            let last = self.end == End::Reached;
            let sent = write(destination, &buffer[..fresh], last)?;
            self.bytes += sent.saturating_sub(header) as u64;
            if sent < fresh {
                self.carry = Carry::Bytes(buffer[sent..fresh].into(), 0);
                self.blocked = true;
                return Ok(Turn::Blocked);
            }
        }
        self.streak = if full {
            self.streak.saturating_add(CHUNK as u32)
        } else {
            0
        };
        if self.streak >= SPLICE_AFTER {
            self.streak = 0;
            if let Some(pipe) = tools.pipes.take(tools.now) {
                self.carry = Carry::Pipe(pipe);
            }
        }
        Ok(match (self.end, drained) {
            (End::Reached, _) => Turn::Ended,
            (_, true) => Turn::Waiting,
            _ => Turn::Unfinished,
        })
    }

    /// False while some of it stays.
    fn deliver_left_over(&mut self, destination: BorrowedFd<'_>) -> Result<bool, Broken> {
        let Carry::Bytes(bytes, gone) = &mut self.carry else {
            return Ok(true);
        };
        if self.blocked {
            return Ok(false);
        }
        let sent = write(destination, &bytes[*gone..], false)?;
        *gone += sent;
        self.bytes += sent as u64;
        if *gone < bytes.len() {
            self.blocked = true;
            return Ok(false);
        }
        self.carry = Carry::Nothing;
        Ok(true)
    }

    /// EAGAIN from a splice into the pipe means that the source is empty or that the pipe has no slot
    /// left; only with an empty pipe it is surely the former. So the pipe is emptied first, and the
    /// source asked again.
    ///
    /// Before urgent data splice(2) stops for good: it says that nothing is there, or that the source
    /// has ended where only its FIN is in. recv(2) goes on behind it, so it has the last word.
    fn splice(
        &mut self,
        source: BorrowedFd<'_>,
        destination: BorrowedFd<'_>,
        tools: &mut Tools,
    ) -> Result<Turn, Broken> {
        let Carry::Pipe(pipe) = &mut self.carry else {
            return Ok(Turn::Unfinished);
        };
        let was_empty = pipe.held() == 0;
        let mut filled = Moved::NotNow;
        if !pipe.is_full() {
            filled = pipe.fill(source).map_err(Broken::Source)?;
        }
        while pipe.held() > 0 && !self.blocked {
            match pipe.drain(destination).map_err(Broken::Destination)? {
                Moved::Bytes(n) => self.bytes += n as u64,
                Moved::End | Moved::NotNow => self.blocked = true,
            }
        }
        if pipe.held() > 0 {
            return Ok(Turn::Blocked);
        }
        let is_drained = was_empty && filled == Moved::NotNow;
        if filled == Moved::End || is_drained && self.wary {
            self.close(&mut tools.pipes);
            return Ok(Turn::Unfinished);
        }
        Ok(if is_drained {
            Turn::Waiting
        } else {
            Turn::Unfinished
        })
    }

    /// The worker's look, once a second: whether anything was delivered since the last one. A
    /// spliced direction that idles gives its pipe back.
    pub fn look(&mut self, pipes: &mut Pipes) -> u64 {
        let moved = self.bytes - self.looked;
        self.looked = self.bytes;
        let idles = moved < IDLE_BELOW && self.is_empty();
        if idles {
            self.close(pipes);
        }
        moved
    }

    /// Gives its pipe back, where it has one.
    pub fn close(&mut self, pipes: &mut Pipes) {
        if let Carry::Pipe(pipe) = std::mem::take(&mut self.carry) {
            pipes.give(pipe);
        }
    }
}

/// Bytes taken; 0 if there is no room. With `held_back` an incomplete last segment stays until the
/// next write or the end, which must follow at once.
fn write(destination: BorrowedFd<'_>, bytes: &[u8], held_back: bool) -> Result<usize, Broken> {
    let mut flags = SendFlags::NOSIGNAL;
    flags.set(SendFlags::MORE, held_back);
    match send(destination, bytes, flags) {
        Ok(sent) => Ok(sent),
        Err(Errno::AGAIN) => Ok(0),
        Err(error) => Err(Broken::Destination(error)),
    }
}

#[cfg(test)]
mod tests;
