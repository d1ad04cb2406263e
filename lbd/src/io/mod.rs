//! I/O engines: how frames come in and go out. An engine moves frames and knows nothing of
//! services; a [`FrameHandler`] (the packet worker's) decides and knows nothing of sockets.
//!
//! What must never happen here: a frame sent bare whose checksum or segmentation is unfinished, a
//! frame sent of which only a part was received, a frame of our own read back and sent again.

pub mod af_packet;
pub mod af_xdp;
pub mod memory;
#[cfg(test)]
pub(crate) mod testlink;

use lbcore::director::DropReason;
use lbcore::net::FrameMeta;
use std::io;
use std::time::{Duration, Instant};

/// So long an engine that had frames just now looks for more before it sleeps. To sleep and to be woken takes
/// as long, on both the worker's core and the one that brings the frame; on an idle link nobody spins.
const LINGER: Duration = Duration::from_micros(10);

/// What becomes of a received frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The handler has rewritten the frame in place: it goes out of this interface, with the VLAN
    /// tag it came with.
    Forward {
        /// Egress interface.
        ifindex: u32,
    },
    /// The engine is done with it: passed or dropped, and the handler has counted which.
    Release,
}

/// Who decides about frames. Every received frame reaches it once, by [`recognise`](Self::recognise) and
/// then [`frame`](Self::frame), or by [`lost`](Self::lost), and every frame it forwards comes back once,
/// by [`sent`](Self::sent) or by `lost`: so received = sent + passed + drops, exactly.
pub trait FrameHandler {
    /// What it keeps of a frame from one look at it to the next.
    type Recognised;

    /// Before the frames of one batch: the time to read the clock and load the snapshot.
    fn begin(&mut self);

    /// A first look at a frame, from its Ethernet header on, soon to be decided about. A VLAN tag that the
    /// kernel took out is in `meta`.
    fn recognise(&self, frame: &[u8], meta: &FrameMeta) -> Self::Recognised;

    /// The same frame again: its turn has come.
    fn frame(
        &mut self,
        frame: &mut [u8],
        meta: &FrameMeta,
        recognised: &Self::Recognised,
    ) -> Disposition;

    /// So many forwarded frames were handed to the kernel for `ifindex`.
    fn sent(&mut self, ifindex: u32, frames: u64);

    /// A frame the engine lost. `Truncated`: received on `ifindex` in part only and never shown to
    /// [`frame`](Self::frame). `TooBig`, `SendFailed`: forwarded, but not taken by the kernel for
    /// egress `ifindex`.
    fn lost(&mut self, ifindex: u32, reason: DropReason);

    /// After each batch, and after each wait without a frame: small chores.
    fn idle(&mut self);
}

/// An I/O engine on one interface, for one worker thread.
pub trait FrameIo {
    /// Handles one batch of frames. If none is there, waits up to `wait` for one.
    ///
    /// # Errors
    /// [`IoFault`]. The engine keeps what it has; after [`IoFault::Down`] it may be called again.
    fn turn<H: FrameHandler>(&mut self, wait: Duration, handler: &mut H) -> Result<(), IoFault>;

    /// Frames the kernel dropped since the last call because the receive ring was full; they never
    /// reached the handler and are not in `received`.
    fn ring_drops(&mut self) -> u64;
}

/// Why an engine cannot receive. None of them ends the worker: the host's links are weather.
#[derive(Debug, thiserror::Error)]
pub enum IoFault {
    /// The interface is down. The same engine works again once it is up: call `turn` again.
    #[error("the interface is down")]
    Down,
    /// The interface was deleted. Open a new engine when one of that name is there again.
    #[error("the interface is gone")]
    Gone,
    /// What the kernel says besides.
    #[error("receiving failed: {0}")]
    Os(#[from] io::Error),
}

/// Waits a moment for what will be there soon, without sleeping.
fn linger(ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() && start.elapsed() < LINGER {
        std::hint::spin_loop();
    }
}

/// The drop reason of a frame that a packet socket did not take.
fn send_failure(error: &io::Error) -> DropReason {
    match error.raw_os_error() {
        Some(libc::EMSGSIZE) => DropReason::TooBig,
        _ => DropReason::SendFailed,
    }
}
