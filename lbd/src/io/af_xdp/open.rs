//! Opening the sockets: as many chunks as the process may lock, zero-copy only where it is asked for.

use super::BATCH;
use crate::sys::packet_send::{FrameSender, SEND_QUEUE};
use crate::sys::xsk::{self, Way, Xsk};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

/// Chunks of a queue: while a batch is decided about, the card fills others. Fewer starve under a
/// flood.
pub const CHUNKS: usize = 8192;

/// With fewer than this, four batches, a burst is lost.
const LEAST_CHUNKS: usize = 1024;

/// What the kernel leaves free before each frame (XDP_PACKET_HEADROOM).
const HEADROOM: usize = 256;

/// Bytes of an Ethernet header and one VLAN tag.
const LINK_HEADER: usize = 14 + 4;

/// A chunk is no larger than this: a page.
const LARGEST_CHUNK: usize = 4096;

/// The kernel lets go of a queue some time after its socket was closed, a killed lbd's, say: so long it
/// is asked for again.
const FREE_WITHIN: Duration = Duration::from_secs(1);

/// And so often.
const AGAIN: Duration = Duration::from_millis(10);

/// What to open.
#[derive(Clone, Debug)]
pub struct Options {
    /// The interface's index.
    pub ifindex: u32,
    /// Its MTU: larger frames go up the stack.
    pub mtu: u32,
    /// Which of its queues.
    pub queues: Vec<u32>,
    /// How frames are to come.
    pub way: Way,
    /// How many chunks each queue gets at most; see [`CHUNKS`].
    pub chunks: usize,
    /// See `network.busy_poll`; zero: frames are waited for.
    pub busy_poll: Duration,
}

/// Why there are no such sockets.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Missing privilege.
    #[error("an AF_XDP socket needs CAP_NET_RAW: run lbd by its unit, or as root")]
    Permission,
    /// The driver's, or the kernel's, word.
    #[error("zero-copy is refused ({0})")]
    NoZeroCopy(io::Error),
    /// Another process has a socket there.
    #[error("queue {0} has another AF_XDP socket already")]
    Taken(u32),
    /// The kernel, or what confines the process, knows no such sockets.
    #[error(
        "there are no AF_XDP sockets: the kernel has none (CONFIG_XDP_SOCKETS), or the unit forbids them \
         (its drop-in lbd-af-xdp.conf allows them)"
    )]
    NoFamily,
    /// Not even a few chunks may be locked.
    #[error(
        "its memory may not be locked: RLIMIT_MEMLOCK is too low (the unit's drop-in lbd-af-xdp.conf raises it)"
    )]
    Memory,
    /// Anything else.
    #[error("{step}: {source}")]
    Os {
        /// What was tried.
        step: String,
        /// What the kernel says.
        source: io::Error,
    },
}

/// The size of a chunk that holds frames of this MTU; larger frames find no room in any.
pub fn chunk_for(mtu: u32) -> usize {
    let wanted = HEADROOM + LINK_HEADER + mtu as usize;
    wanted.next_power_of_two().clamp(2048, LARGEST_CHUNK)
}

/// Bytes of the largest frame such a chunk has room for.
pub fn room_in(chunk: usize) -> usize {
    chunk - HEADROOM
}

/// Opens the sockets, and a raw one for frames that leave elsewhere.
pub(super) fn open(options: &Options) -> Result<(Vec<Xsk>, FrameSender), OpenError> {
    let sockets = options.queues.iter().map(|&queue| one(options, queue));
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    let sender = FrameSender::open(options.ifindex, SEND_QUEUE);
    let sender = sender.map_err(|source| OpenError::Os {
        step: "opening the sockets that send".to_owned(),
        source,
    })?;
    Ok((sockets, sender))
}

fn one(options: &Options, queue: u32) -> Result<Xsk, OpenError> {
    let wanted = xsk::Options {
        ifindex: options.ifindex,
        queue,
        chunk: chunk_for(options.mtu),
        chunks: options.chunks,
        batch: BATCH as u32,
        way: options.way,
        busy_poll: u32::try_from(options.busy_poll.as_micros()).unwrap_or(u32::MAX),
    };
    let start = Instant::now();
    let opened = loop {
        match Xsk::open(&wanted) {
            Err(error)
                if error.raw_os_error() == Some(libc::EBUSY) && start.elapsed() < FREE_WITHIN =>
            {
                thread::sleep(AGAIN);
            }
            other => break other,
        }
    };
    opened.map_err(|source| match source.raw_os_error() {
        Some(libc::EPERM | libc::EACCES) => OpenError::Permission,
        Some(libc::ENOBUFS) => OpenError::Memory,
        Some(libc::EAFNOSUPPORT) => OpenError::NoFamily,
        Some(libc::EBUSY) => OpenError::Taken(queue),
        Some(libc::EOPNOTSUPP | libc::EINVAL) if options.way == Way::ZeroCopy => {
            OpenError::NoZeroCopy(source)
        }
        _ => OpenError::Os {
            step: format!("an AF_XDP socket on queue {queue}"),
            source,
        },
    })
}

/// Opens with as many chunks as may be locked, beginning with [`CHUNKS`].
///
/// # Errors
/// [`OpenError::Memory`] if not even a few may be, and what else is in the way.
pub fn with_chunks<T>(
    mut open: impl FnMut(usize) -> Result<T, OpenError>,
) -> Result<(T, usize), OpenError> {
    let mut chunks = CHUNKS;
    loop {
        match open(chunks) {
            Err(OpenError::Memory) if chunks > LEAST_CHUNKS => chunks /= 2,
            other => return other.map(|opened| (opened, chunks)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_holds_a_frame_of_the_mtu_or_is_a_page() {
        assert_eq!(chunk_for(1500), 2048);
        assert_eq!(chunk_for(1774), 2048);
        assert_eq!(chunk_for(1775), 4096);
        assert_eq!(chunk_for(9000), 4096);
        assert_eq!(chunk_for(68), 2048);
        assert!(room_in(chunk_for(1500)) >= 1500 + LINK_HEADER);
    }

    #[test]
    fn chunks_are_halved_until_they_may_be_locked() {
        let mut asked = Vec::new();
        let opened = with_chunks(|chunks| {
            asked.push(chunks);
            if chunks > 2048 {
                Err(OpenError::Memory)
            } else {
                Ok("sockets")
            }
        });
        assert_eq!(opened.expect("opened"), ("sockets", 2048));
        assert_eq!(asked, [8192, 4096, 2048]);
        let never = with_chunks(|_| Err::<(), _>(OpenError::Memory));
        assert!(matches!(never, Err(OpenError::Memory)));
        let other = with_chunks(|_| Err::<(), _>(OpenError::Taken(3)));
        assert!(matches!(other, Err(OpenError::Taken(3))));
    }
}
