//! An AF_XDP socket (Documentation/networking/af_xdp.rst): one queue of one interface, whose frames an XDP
//! program puts into memory of ours, and from which frames of ours are sent.
//!
//! Every chunk of that memory is at one place at a time: in the fill ring (the kernel's, to receive
//! into), in the receive ring, held by us, in the transmit ring, or in the completion ring. All rings
//! are as long as there are chunks, so none is ever too full for what is handed over.

use super::check;
use super::packet_socket::{get, set};
use super::umem::Umem;
use super::xsk_ring::{Consumer, Producer};
use std::io::{self, Error};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Since Linux 6.17, linux/if_xdp.h: frames that one system call sends in copy mode.
const XDP_MAX_TX_SKB_BUDGET: libc::c_int = 9;

/// The same before: what the kernel takes for itself.
const LEAST_BUDGET: u32 = 32;

/// asm-generic/socket.h.
const SO_BUSY_POLL: libc::c_int = 46;
const SO_PREFER_BUSY_POLL: libc::c_int = 69;
const SO_BUSY_POLL_BUDGET: libc::c_int = 70;

/// Frames on their way out in copy mode, in bytes of kernel memory: a batch and then some.
const SEND_QUEUE: i32 = 8 << 20;

/// How frames get from the card into our memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The card writes there.
    ZeroCopy,
    /// The kernel copies.
    Copy,
}

/// What to open.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The interface.
    pub ifindex: u32,
    /// Which of its queues.
    pub queue: u32,
    /// Bytes of a chunk: 2,048 or 4,096.
    pub chunk: usize,
    /// How many chunks, a power of two.
    pub chunks: usize,
    /// Frames sent with one system call, where the kernel lets that be said.
    pub batch: u32,
    /// How.
    pub way: Way,
    /// Poll the card instead of waiting for its interrupt, so many microseconds at a time; 0: no.
    pub busy_poll: u32,
}

/// A frame that was received and is ours until [`Xsk::release`].
#[derive(Clone, Copy, Debug)]
struct Held {
    chunk: usize,
    start: usize,
    len: usize,
    sent: bool,
}

/// The socket.
#[derive(Debug)]
pub struct Xsk {
    fd: OwnedFd,
    way: Way,
    queue: u32,
    received: Consumer<libc::xdp_desc>,
    sending: Producer<libc::xdp_desc>,
    fill: Producer<u64>,
    completed: Consumer<u64>,
    umem: Umem,
    held: Vec<Held>,
}

/// What became of frames since the last [`Xsk::transmit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Transmitted {
    /// Frames handed over that the kernel has not taken yet.
    pub waiting: u32,
    /// Frames that the kernel took and dropped.
    pub refused: u32,
}

impl Xsk {
    /// Opens and binds; frames arrive once an XDP program redirects them here.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENOBUFS where RLIMIT_MEMLOCK is too low; EOPNOTSUPP or EINVAL where
    /// the driver has no zero-copy; EBUSY where another socket has the queue; ENETDOWN.
    pub fn open(options: &Options) -> io::Result<Xsk> {
        let size = u32::try_from(options.chunks)
            .ok()
            .filter(|size| size.is_power_of_two())
            .ok_or_else(|| Error::from_raw_os_error(libc::EINVAL))?;
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        let fd = check(fd)?;
        // SAFETY: `fd` was opened just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let umem = Umem::map(options.chunk, options.chunks)?;
        set(&fd, libc::SOL_XDP, libc::XDP_UMEM_REG, &umem.registration())?;
        for ring in [
            libc::XDP_UMEM_FILL_RING,
            libc::XDP_UMEM_COMPLETION_RING,
            libc::XDP_RX_RING,
            libc::XDP_TX_RING,
        ] {
            set(&fd, libc::SOL_XDP, ring, &size)?;
        }
        let at: libc::xdp_mmap_offsets = get(&fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS)?;
        let socket = Xsk {
            received: Consumer::map(&fd, libc::XDP_PGOFF_RX_RING as u64, &at.rx, size)?,
            sending: Producer::map(&fd, libc::XDP_PGOFF_TX_RING as u64, &at.tx, size)?,
            fill: Producer::map(&fd, libc::XDP_UMEM_PGOFF_FILL_RING, &at.fr, size)?,
            completed: Consumer::map(&fd, libc::XDP_UMEM_PGOFF_COMPLETION_RING, &at.cr, size)?,
            way: options.way,
            queue: options.queue,
            umem,
            held: Vec::with_capacity(options.batch as usize),
            fd,
        };
        socket.prepare(options)?;
        socket.bind(options)
    }

    fn prepare(&self, options: &Options) -> io::Result<()> {
        // Older kernels do not know it; then there are more system calls.
        let _ = set(
            &self.fd,
            libc::SOL_XDP,
            XDP_MAX_TX_SKB_BUDGET,
            &options.batch,
        );
        let _ = set(
            &self.fd,
            libc::SOL_SOCKET,
            libc::SO_SNDBUFFORCE,
            &SEND_QUEUE,
        );
        if options.busy_poll > 0 {
            set(&self.fd, libc::SOL_SOCKET, SO_PREFER_BUSY_POLL, &1_i32)?;
            set(&self.fd, libc::SOL_SOCKET, SO_BUSY_POLL, &options.busy_poll)?;
            set(
                &self.fd,
                libc::SOL_SOCKET,
                SO_BUSY_POLL_BUDGET,
                &options.batch,
            )?;
        }
        Ok(())
    }

    fn bind(mut self, options: &Options) -> io::Result<Xsk> {
        for chunk in 0..self.umem.chunks() {
            self.fill.push(self.umem.address(chunk));
        }
        self.fill.publish();
        let way = match options.way {
            Way::ZeroCopy => libc::XDP_ZEROCOPY,
            Way::Copy => libc::XDP_COPY,
        };
        let address = libc::sockaddr_xdp {
            sxdp_family: libc::AF_XDP as u16,
            sxdp_flags: way | libc::XDP_USE_NEED_WAKEUP,
            sxdp_ifindex: options.ifindex,
            sxdp_queue_id: options.queue,
            sxdp_shared_umem_fd: 0,
        };
        // SAFETY: `address` is a sockaddr_xdp, valid for reads of the size given.
        check(unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                mem::size_of_val(&address) as libc::socklen_t,
            )
        })?;
        let options: libc::xdp_options = get(&self.fd, libc::SOL_XDP, libc::XDP_OPTIONS)?;
        self.way = match options.flags & libc::XDP_OPTIONS_ZEROCOPY {
            0 => Way::Copy,
            _ => Way::ZeroCopy,
        };
        Ok(self)
    }

    /// How frames come, as the kernel says.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Which queue it has.
    pub fn queue(&self) -> u32 {
        self.queue
    }

    /// Whether [`take`](Self::take) would give a frame.
    pub fn ready(&self) -> bool {
        self.received.ready()
    }

    /// How many frames are held.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// Takes the next frame, if there is one, and holds it: it is the last of those held.
    pub fn take(&mut self) -> Option<usize> {
        let frame = self.received.pop()?;
        self.umem.expect(frame.addr);
        let (chunk, start) = self.umem.locate(frame.addr)?;
        self.held.push(Held {
            chunk,
            start,
            len: frame.len as usize,
            sent: false,
        });
        Some(self.held.len() - 1)
    }

    /// The `nth` frame held; `None` if there is none, or it is on its way out.
    pub fn frame(&self, nth: usize) -> Option<&[u8]> {
        let held = self.held.get(nth).filter(|held| !held.sent)?;
        // SAFETY: the kernel gave the chunk to us by the receive ring, and we have not given it back: that
        // is done by `send`, which marks it, and by `release`, which forgets it.
        let chunk = unsafe { self.umem.chunk(held.chunk) }?;
        chunk.get(held.start..held.start + held.len)
    }

    /// As [`frame`](Self::frame), to edit.
    pub fn frame_mut(&mut self, nth: usize) -> Option<&mut [u8]> {
        let held = *self.held.get(nth).filter(|held| !held.sent)?;
        // SAFETY: as in `frame`.
        let chunk = unsafe { self.umem.chunk_mut(held.chunk) }?;
        chunk.get_mut(held.start..held.start + held.len)
    }

    /// Hands the `nth` frame held over to be sent by the next [`transmit`](Self::transmit); false if that
    /// cannot be.
    pub fn send(&mut self, nth: usize) -> bool {
        let Some(held) = self.held.get_mut(nth).filter(|held| !held.sent) else {
            return false;
        };
        held.sent = self.sending.push(libc::xdp_desc {
            addr: self.umem.address(held.chunk) + held.start as u64,
            len: held.len as u32,
            options: 0,
        });
        held.sent
    }

    /// Gives the kernel room to receive: the chunks of frames held that are not sent, and of frames that
    /// are.
    pub fn release(&mut self) {
        for held in self.held.drain(..) {
            if !held.sent {
                self.fill.push(self.umem.address(held.chunk));
            }
        }
        while let Some(address) = self.completed.pop() {
            if let Some((chunk, _)) = self.umem.locate(address) {
                self.fill.push(self.umem.address(chunk));
            }
        }
        self.received.release();
        self.completed.release();
        self.fill.publish();
        if self.fill.needs_wakeup() {
            self.poll_card();
        }
    }

    /// Has the kernel send what was handed over, as far as it can without waiting.
    pub fn transmit(&mut self) -> Transmitted {
        self.sending.publish();
        let waiting = self.sending.waiting();
        let mut refused = 0;
        // In copy mode a call sends a batch; it may stop early for want of room, and is tried again later.
        let mut calls = waiting / LEAST_BUDGET + 2;
        while calls > 0 && refused < waiting && self.sending.waiting() > 0 {
            if !self.sending.needs_wakeup() {
                break;
            }
            match self.wake_for_sending() {
                Ok(()) => break,
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN | libc::EINTR) => calls -= 1,
                    // Taken and dropped on the way to the driver: the carrier is gone, say.
                    Some(libc::EBUSY) if self.way == Way::Copy => refused += 1,
                    _ => break,
                },
            }
        }
        Transmitted {
            waiting: self.sending.waiting(),
            refused,
        }
    }

    fn wake_for_sending(&self) -> io::Result<()> {
        // SAFETY: no memory is handed over: the frames are in the ring.
        let sent = unsafe {
            libc::sendto(
                self.fd.as_raw_fd(),
                std::ptr::null(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null(),
                0,
            )
        };
        if sent < 0 {
            return Err(Error::last_os_error());
        }
        Ok(())
    }

    /// Has the driver look at the card now.
    pub fn poll_card(&self) {
        // SAFETY: no memory is handed over. What went wrong shows as a frame that does not come.
        unsafe {
            libc::recvfrom(
                self.fd.as_raw_fd(),
                std::ptr::null_mut(),
                0,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            )
        };
    }

    /// Frames for this socket that the kernel has dropped so far, for want of a chunk or of room in it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn dropped(&self) -> io::Result<u64> {
        let said: libc::xdp_statistics = get(&self.fd, libc::SOL_XDP, libc::XDP_STATISTICS)?;
        Ok(said.rx_dropped + said.rx_ring_full)
    }

    /// The socket's pending error; asking clears it. ENETDOWN: its interface was deleted.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn take_error(&self) -> io::Result<Option<Error>> {
        let errno: libc::c_int = get(&self.fd, libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((errno != 0).then(|| Error::from_raw_os_error(errno)))
    }
}

impl AsRawFd for Xsk {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Waits until one of the sockets has a frame or an error, or `timeout` has passed, or a signal came.
///
/// # Errors
/// What poll(2) says.
pub fn wait<'a>(sockets: impl Iterator<Item = &'a Xsk>, timeout: Duration) -> io::Result<()> {
    let mut polls: Vec<libc::pollfd> = sockets
        .map(|socket| libc::pollfd {
            fd: socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        })
        .collect();
    let millis = timeout.as_micros().div_ceil(1000);
    let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
    // SAFETY: `polls` is valid for writes of its length.
    let done = unsafe { libc::poll(polls.as_mut_ptr(), polls.len() as libc::nfds_t, millis) };
    match check(done) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}
