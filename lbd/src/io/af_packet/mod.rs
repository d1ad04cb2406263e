//! The engine that runs anywhere: a memory-mapped receive ring of a packet socket, and batches
//! sent straight from its slots.
//!
//! The ring is TPACKET_V2 with slots for one frame of the interface's MTU: frames arrive one by
//! one, without V3's wait for a block to fill. A larger one, a super-frame that offloads have put
//! together, leaves its head in the slot and itself, whole, on the socket's receive queue
//! (`PACKET_COPY_THRESH`), in the same order. The virtio header that comes before each frame
//! goes out with it if it tells the kernel of something unfinished. `docs/decisions.md` has the figures.

mod filter;
mod open;
mod virtio;

pub use open::{Fanout, OpenError, Options};

use super::{Disposition, FrameHandler, FrameIo, IoFault, linger, send_failure};
use crate::sys::AHEAD;
use crate::sys::packet_ring::{Received, RxRing};
use crate::sys::packet_send::{FrameSender, Outgoing};
use crate::sys::packet_socket::PacketSocket;
use lbcore::director::DropReason;
use lbcore::net::{FrameMeta, VlanTag};
use std::io;
use std::mem;
use std::net::IpAddr;
use std::ops::Range;
use std::time::Duration;

/// Frames per turn: enough to share a system call, few enough to be still in the cache when sent.
const BATCH: usize = 64;

/// Super-frames per turn, each in a buffer of its own until the batch is sent.
const LARGE_FRAMES: usize = 8;

/// Room for a tag, the virtio header, and the largest frame: 64 KiB of IP and its link header.
const LARGE_BUFFER: usize = virtio::TAG + virtio::LEN + 18 + 65_535;

/// Bytes of an Ethernet header; the kernel delivers no shorter frame.
const ETHERNET: usize = 14;

/// The engine of one worker on one interface.
#[derive(Debug)]
pub struct AfPacket {
    socket: PacketSocket,
    ring: RxRing,
    sender: FrameSender,
    ifindex: u32,
    group: Option<u16>,
    /// The interface was last seen down: no further event tells that it is deleted then.
    down: bool,
    /// The last turn had frames.
    busy: bool,
    large: Vec<Box<[u8]>>,
    large_used: usize,
    outbox: Vec<Forwarded>,
    /// Frames of the outbox that the kernel did not take.
    refused: Vec<(usize, DropReason)>,
}

/// Where the bytes of a frame are.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In the `n`th slot held of the ring.
    Slot(usize),
    /// In a buffer for super-frames.
    Large(usize),
}

/// A frame that came, whole.
#[derive(Clone, Debug)]
struct Taken {
    place: Place,
    bytes: Range<usize>,
    meta: FrameMeta,
}

/// A frame that waits for the end of its batch to be sent.
#[derive(Debug)]
struct Forwarded {
    place: Place,
    headed: bool,
    /// The frame, and its virtio header before it if it has to go along.
    bytes: Range<usize>,
    ifindex: u32,
}

impl AfPacket {
    /// Opens the engine on an interface that is there and up; see [`OpenError`] for all else.
    pub fn open(options: &Options<'_>) -> Result<Self, OpenError> {
        let open::Parts {
            socket,
            ring,
            sender,
            group,
        } = open::open(options)?;
        Ok(AfPacket {
            socket,
            ring,
            sender,
            ifindex: options.ifindex,
            group,
            down: false,
            busy: false,
            large: Vec::new(),
            large_used: 0,
            outbox: Vec::with_capacity(BATCH),
            refused: Vec::new(),
        })
    }

    /// The fanout group, for the workers that come after the first.
    pub fn fanout_group(&self) -> Option<u16> {
        self.group
    }

    /// How many frames the ring can hold.
    pub fn ring_slots(&self) -> usize {
        self.ring.slots()
    }

    /// Whether a frame waits in the ring.
    pub fn has_more(&self) -> bool {
        self.ring.ready()
    }

    /// Receives for another set of VIPs from the next frame on.
    ///
    /// # Errors
    /// What the kernel says; the old set stays.
    pub fn set_filter(&self, vips: &[IpAddr]) -> io::Result<()> {
        self.socket.attach_filter(&filter::program(vips))
    }

    fn receive<H: FrameHandler>(&mut self, handler: &mut H) {
        while self.ring.held() < BATCH && self.large_used < LARGE_FRAMES {
            let first = self.ring.held();
            let group = self.take(handler);
            if self.ring.held() == first {
                break;
            }
            let recognised = group.each_ref().map(|taken| {
                let taken = taken.as_ref()?;
                let frame = self.data(taken.place)?.get(taken.bytes.clone())?;
                Some(handler.recognise(frame, &taken.meta))
            });
            for (taken, recognised) in group.into_iter().zip(&recognised) {
                if let (Some(taken), Some(recognised)) = (taken, recognised) {
                    self.offer(taken, recognised, handler);
                }
            }
        }
    }

    /// Takes the next frames, and tells of those that are not whole.
    fn take<H: FrameHandler>(&mut self, handler: &mut H) -> [Option<Taken>; AHEAD] {
        let mut group = [const { None }; AHEAD];
        for place in &mut group {
            if self.large_used == LARGE_FRAMES {
                break;
            }
            let Some(received) = self.ring.take() else {
                break;
            };
            *place = self.find(&received);
            if place.is_none() {
                handler.lost(self.ifindex, DropReason::Truncated);
            }
        }
        group
    }

    /// Where the whole of the frame is that the last slot held is about; `None`: nowhere.
    fn find(&mut self, received: &Received) -> Option<Taken> {
        let (place, start) = if received.captured == received.len {
            (Place::Slot(self.ring.held() - 1), received.start)
        } else if self.fetch_large(received) {
            self.large_used += 1;
            let place = Place::Large(self.large_used - 1);
            (place, virtio::TAG + virtio::LEN)
        } else {
            return None;
        };
        let bytes = start..start + received.len;
        let data = self.data(place)?;
        let fits = start >= virtio::TAG + virtio::LEN
            && received.len >= ETHERNET
            && bytes.end <= data.len();
        fits.then(|| Taken {
            place,
            meta: FrameMeta {
                ifindex: self.ifindex,
                vlan: received.vlan.map(|(tpid, tci)| VlanTag { tpid, tci }),
                gso_size: virtio::gso_size(&data[start - virtio::LEN..]),
            },
            bytes,
        })
    }

    fn data(&self, place: Place) -> Option<&[u8]> {
        match place {
            Place::Slot(nth) => self.ring.data(nth),
            Place::Large(nth) => self.large.get(nth).map(|buffer| &buffer[..]),
        }
    }

    fn data_mut(&mut self, place: Place) -> Option<&mut [u8]> {
        match place {
            Place::Slot(nth) => self.ring.data_mut(nth),
            Place::Large(nth) => self.large.get_mut(nth).map(|buffer| &mut buffer[..]),
        }
    }

    /// Takes the whole of a frame that did not fit its slot from the receive queue into the next
    /// buffer for super-frames. False if the kernel had no room for it there, or we have none.
    fn fetch_large(&mut self, received: &Received) -> bool {
        if received.status & libc::TP_STATUS_COPY == 0 {
            return false;
        }
        if self.large_used == self.large.len() {
            self.large.push(vec![0; LARGE_BUFFER].into_boxed_slice());
        }
        let buffer = &mut self.large[self.large_used][virtio::TAG..];
        let expected = virtio::LEN + received.len;
        loop {
            match self.socket.receive(buffer) {
                Ok(len) if len == expected => return len <= buffer.len(),
                // An older one, whose turn has passed.
                Ok(_) => {}
                // The socket's pending error comes first, once.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => self.down = true,
                Err(_) => return false,
            }
        }
    }

    /// Has the handler decide about a frame, and notes it down if it goes on.
    fn offer<H: FrameHandler>(
        &mut self,
        taken: Taken,
        recognised: &H::Recognised,
        handler: &mut H,
    ) {
        let Taken { place, bytes, meta } = taken;
        let Range { start, end } = bytes;
        let Some(data) = self.data_mut(place) else {
            return handler.lost(meta.ifindex, DropReason::Truncated);
        };
        let disposition = handler.frame(&mut data[start..end], &meta, recognised);
        let Disposition::Forward { ifindex } = disposition else {
            return;
        };
        let mut header = start - virtio::LEN;
        if let Some(tag) = meta.vlan {
            header -= virtio::TAG;
            virtio::restore_tag(&mut data[header..end], tag);
        }
        let headed = virtio::is_unfinished(&data[header..]);
        let begin = if headed { header } else { header + virtio::LEN };
        self.outbox.push(Forwarded {
            place,
            headed,
            bytes: begin..end,
            ifindex,
        });
    }

    /// Sends what waits, and hands every slot and buffer back.
    fn flush<H: FrameHandler>(&mut self, handler: &mut H) {
        let frames = self.outbox.iter().map(|frame| {
            let data = match frame.place {
                Place::Slot(nth) => self.ring.data(nth),
                Place::Large(nth) => self.large.get(nth).map(|buffer| &buffer[..]),
            };
            let bytes = data
                .and_then(|data| data.get(frame.bytes.clone()))
                .unwrap_or_default();
            Outgoing {
                ifindex: frame.ifindex,
                headed: frame.headed,
                bytes,
            }
        });
        let refused = &mut self.refused;
        self.sender.send(frames, |nth, error| {
            refused.push((nth, send_failure(&error)))
        });

        for &(nth, reason) in &self.refused {
            handler.lost(self.outbox[nth].ifindex, reason);
        }
        let mut first = 0;
        for run in self.outbox.chunk_by(|a, b| a.ifindex == b.ifindex) {
            let range = first..first + run.len();
            first = range.end;
            let refused = self
                .refused
                .iter()
                .filter(|(nth, _)| range.contains(nth))
                .count();
            if run.len() > refused {
                handler.sent(run[0].ifindex, (run.len() - refused) as u64);
            }
        }
        self.refused.clear();
        self.outbox.clear();
        self.large_used = 0;
        self.ring.release();
    }

    /// Why no frame came, if something is wrong with the link.
    fn check_link(&mut self) -> Result<(), IoFault> {
        let error = self.socket.take_error()?;
        let went_down = match error.as_ref().map(io::Error::raw_os_error) {
            None => false,
            Some(Some(libc::ENETDOWN)) => true,
            Some(_) => return Err(error.map_or(IoFault::Down, IoFault::Os)),
        };
        self.down |= went_down;
        if self.down && self.socket.bound()?.ifindex.is_none() {
            return Err(IoFault::Gone);
        }
        if went_down {
            Err(IoFault::Down)
        } else {
            Ok(())
        }
    }
}

impl FrameIo for AfPacket {
    fn turn<H: FrameHandler>(&mut self, wait: Duration, handler: &mut H) -> Result<(), IoFault> {
        if mem::take(&mut self.busy) {
            linger(|| self.ring.ready());
        }
        if !self.ring.ready() {
            self.socket.wait(wait)?;
            if !self.ring.ready() {
                handler.idle();
                return self.check_link();
            }
        }
        self.down = false;
        self.busy = true;
        handler.begin();
        self.receive(handler);
        self.flush(handler);
        handler.idle();
        Ok(())
    }

    fn ring_drops(&mut self) -> u64 {
        self.socket
            .statistics()
            .map_or(0, |statistics| u64::from(statistics.tp_drops))
    }
}

#[cfg(test)]
mod tests;
