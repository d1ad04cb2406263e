//! The engine on AF_XDP sockets, one a queue: frames that an XDP program redirects come without a socket
//! buffer, and go out of the same memory. It has plain TCP and UDP only; whatever else comes for a
//! VIP goes up the stack to the interface's raw-socket worker.
//!
//! A frame that leaves by another interface than it came in by goes out of a raw socket.

mod open;

pub use open::{CHUNKS, OpenError, Options, chunk_for, room_in, with_chunks};

use super::{Disposition, FrameHandler, FrameIo, IoFault, linger, send_failure};
use crate::sys::AHEAD;
use crate::sys::packet_send::{FrameSender, Outgoing};
use crate::sys::xsk::{self, Way, Xsk};
use lbcore::director::DropReason;
use lbcore::net::FrameMeta;
use std::io;
use std::mem;
use std::time::{Duration, Instant};

/// Frames per turn and queue, and per system call that sends: large, since such a call costs more than
/// on packet sockets.
const BATCH: usize = 256;

/// Bytes of an Ethernet header; no driver delivers less.
const ETHERNET: usize = 14;

/// How long frames that the kernel has not taken wait for the next try, when none is received.
const RETRY: Duration = Duration::from_millis(1);

/// The engine of one worker: some of the queues of one interface.
#[derive(Debug)]
pub struct AfXdp {
    ifindex: u32,
    queues: Vec<Queue>,
    elsewhere: Elsewhere,
    busy_poll: bool,
    /// The last turn had frames.
    busy: bool,
}

/// One queue.
#[derive(Debug)]
struct Queue {
    socket: Xsk,
    /// Frames handed over that are counted neither as sent nor as lost yet.
    uncounted: u32,
    /// Those the kernel dropped, of the uncounted.
    refused: u32,
    /// Drops told already.
    dropped: u64,
}

impl AfXdp {
    /// Opens sockets for queues of an interface; nothing arrives before a program redirects to them.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(options: &Options) -> Result<AfXdp, OpenError> {
        let (sockets, sender) = open::open(options)?;
        Ok(AfXdp {
            ifindex: options.ifindex,
            queues: sockets.into_iter().map(Queue::new).collect(),
            elsewhere: Elsewhere::new(sender),
            busy_poll: options.busy_poll > Duration::ZERO,
            busy: false,
        })
    }

    /// The interface they are on.
    pub fn ifindex(&self) -> u32 {
        self.ifindex
    }

    /// The sockets, for the program to redirect to.
    pub fn sockets(&self) -> impl Iterator<Item = &Xsk> {
        self.queues.iter().map(|queue| &queue.socket)
    }

    /// How frames come: [`Way::Copy`] as soon as one queue's do.
    pub fn way(&self) -> Way {
        let copies = self.sockets().any(|socket| socket.way() == Way::Copy);
        if copies { Way::Copy } else { Way::ZeroCopy }
    }

    /// Before the sockets go: what still waits to be sent is lost.
    pub fn give_up<H: FrameHandler>(&mut self, handler: &mut H) {
        for queue in &mut self.queues {
            queue.hand_over(self.ifindex, handler);
            for _ in 0..std::mem::take(&mut queue.uncounted) {
                handler.lost(self.ifindex, DropReason::SendFailed);
            }
        }
    }

    fn ready(&self) -> bool {
        self.sockets().any(Xsk::ready)
    }

    fn wait(&self, wait: Duration) -> io::Result<()> {
        let pending = self.queues.iter().any(|queue| queue.uncounted > 0);
        let wait = if pending { wait.min(RETRY) } else { wait };
        if !self.busy_poll {
            return xsk::wait(self.sockets(), wait);
        }
        let start = Instant::now();
        while !self.ready() && start.elapsed() < wait {
            self.sockets().for_each(Xsk::poll_card);
        }
        Ok(())
    }

    fn check_link(&self) -> Result<(), IoFault> {
        for socket in self.sockets() {
            match socket.take_error()? {
                None => {}
                Some(error) if error.raw_os_error() == Some(libc::ENETDOWN) => {
                    return Err(IoFault::Gone);
                }
                Some(error) => return Err(IoFault::Os(error)),
            }
        }
        Ok(())
    }
}

impl FrameIo for AfXdp {
    fn turn<H: FrameHandler>(&mut self, wait: Duration, handler: &mut H) -> Result<(), IoFault> {
        if mem::take(&mut self.busy) {
            linger(|| self.ready());
        }
        if !self.ready() {
            self.wait(wait)?;
        }
        if !self.ready() {
            for queue in &mut self.queues {
                queue.hand_over(self.ifindex, handler);
            }
            handler.idle();
            return self.check_link();
        }
        self.busy = true;
        handler.begin();
        for queue in &mut self.queues {
            queue.receive(self.ifindex, &mut self.elsewhere, handler);
            self.elsewhere.send(&queue.socket, handler);
            queue.hand_over(self.ifindex, handler);
        }
        handler.idle();
        Ok(())
    }

    fn ring_drops(&mut self) -> u64 {
        self.queues.iter_mut().map(Queue::new_drops).sum()
    }
}

impl Queue {
    fn new(socket: Xsk) -> Queue {
        Queue {
            socket,
            uncounted: 0,
            refused: 0,
            dropped: 0,
        }
    }

    fn receive<H: FrameHandler>(
        &mut self,
        ifindex: u32,
        elsewhere: &mut Elsewhere,
        handler: &mut H,
    ) {
        // A tag stays in the frame: the director reads over it, and so it goes out again.
        let meta = FrameMeta {
            ifindex,
            ..FrameMeta::default()
        };
        while self.socket.held() < BATCH {
            let first = self.socket.held();
            let group = self.take();
            if group == 0 {
                break;
            }
            let mut recognised = [const { None }; AHEAD];
            for (nth, place) in (first..first + group).zip(&mut recognised) {
                let frame = self.socket.frame(nth);
                let frame = frame.filter(|frame| frame.len() >= ETHERNET);
                *place = frame.map(|frame| handler.recognise(frame, &meta));
            }
            for (nth, recognised) in (first..first + group).zip(&recognised) {
                let (Some(frame), Some(recognised)) = (self.socket.frame_mut(nth), recognised)
                else {
                    handler.lost(ifindex, DropReason::Truncated);
                    continue;
                };
                match handler.frame(frame, &meta, recognised) {
                    Disposition::Release => {}
                    Disposition::Forward { ifindex: egress } if egress == ifindex => {
                        if self.socket.send(nth) {
                            self.uncounted += 1;
                        } else {
                            handler.lost(ifindex, DropReason::SendFailed);
                        }
                    }
                    Disposition::Forward { ifindex: egress } => {
                        elsewhere.frames.push((nth, egress));
                    }
                }
            }
        }
    }

    /// Takes up to [`AHEAD`] frames, and says how many.
    fn take(&mut self) -> usize {
        (0..AHEAD)
            .take_while(|_| self.socket.take().is_some())
            .count()
    }

    /// Gives the kernel room to receive first, then what is to be sent, and counts what it took.
    fn hand_over<H: FrameHandler>(&mut self, ifindex: u32, handler: &mut H) {
        self.socket.release();
        if self.uncounted == 0 {
            return;
        }
        let done = self.socket.transmit();
        self.refused += done.refused;
        let taken = self.uncounted.saturating_sub(done.waiting);
        self.uncounted -= taken;
        let refused = self.refused.min(taken);
        self.refused -= refused;
        for _ in 0..refused {
            handler.lost(ifindex, DropReason::SendFailed);
        }
        if taken > refused {
            handler.sent(ifindex, u64::from(taken - refused));
        }
    }

    fn new_drops(&mut self) -> u64 {
        let now = self.socket.dropped().unwrap_or(self.dropped);
        let new = now.saturating_sub(self.dropped);
        self.dropped = now;
        new
    }
}

/// Frames of one queue's batch that leave by other interfaces.
#[derive(Debug)]
struct Elsewhere {
    sender: FrameSender,
    /// Their places among the frames held, and their interfaces.
    frames: Vec<(usize, u32)>,
    /// Those the kernel did not take.
    refused: Vec<(usize, DropReason)>,
}

impl Elsewhere {
    fn new(sender: FrameSender) -> Elsewhere {
        Elsewhere {
            sender,
            frames: Vec::with_capacity(BATCH),
            refused: Vec::new(),
        }
    }

    fn send<H: FrameHandler>(&mut self, socket: &Xsk, handler: &mut H) {
        if self.frames.is_empty() {
            return;
        }
        let frames = self.frames.iter().map(|&(nth, ifindex)| Outgoing {
            ifindex,
            // Nothing about it is unfinished: AF_XDP could not say so.
            headed: false,
            bytes: socket.frame(nth).unwrap_or_default(),
        });
        let refused = &mut self.refused;
        self.sender.send(frames, |nth, error| {
            refused.push((nth, send_failure(&error)))
        });
        let mut refused = self.refused.drain(..).peekable();
        for (nth, &(_, ifindex)) in self.frames.iter().enumerate() {
            match refused.next_if(|(refused, _)| *refused == nth) {
                Some((_, reason)) => handler.lost(ifindex, reason),
                None => handler.sent(ifindex, 1),
            }
        }
        drop(refused);
        self.frames.clear();
    }
}
