//! The AF_XDP echo that lbd's engine is measured against: one socket in copy mode, batches of 256,
//! refill before anything else, and no look at what a frame holds.
// It stands for a program without our wrappers, so it calls libc itself.
#![allow(unsafe_code)]

use crate::object;
use crate::rate::Progress;
use crate::wire::{LB_MAC, Wire};
use anyhow::{Context, ensure};
use aya::maps::XskMap;
use aya::programs::Xdp;
use aya::programs::xdp::XdpMode;
use std::io::Error;
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

const FRAMES: u32 = 8192;
const FRAME: usize = 2048;
const RING: u32 = 4096;
const BATCH: u32 = 256;

/// `linux/if_xdp.h`, since Linux 6.18; an older kernel has its own limit of 32.
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// A ring of `T` that this process and the kernel share.
struct Ring<T> {
    producer: *const AtomicU32,
    consumer: *const AtomicU32,
    flags: *const AtomicU32,
    entries: *mut T,
}

/// The echo.
pub struct Echo {
    socket: OwnedFd,
    umem: *mut u8,
    fill: Ring<u64>,
    completion: Ring<u64>,
    receive: Ring<libc::xdp_desc>,
    send: Ring<libc::xdp_desc>,
    /// Frames that are in no ring.
    free: Vec<u64>,
    /// Ends with the echo: its program brings frames to the socket.
    _program: aya::Ebpf,
}

// SAFETY: the pointers are to mappings that belong to the value and live as long as the process.
unsafe impl Send for Echo {}

fn set<T>(socket: &OwnedFd, name: i32, value: &T) -> anyhow::Result<()> {
    // SAFETY: `value` is valid for reads of its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            name,
            std::ptr::from_ref(value).cast(),
            mem::size_of::<T>() as u32,
        )
    };
    ensure!(
        result == 0,
        "AF_XDP option {name}: {}",
        Error::last_os_error()
    );
    Ok(())
}

fn map<T>(socket: &OwnedFd, page: i64, at: &libc::xdp_ring_offset) -> anyhow::Result<Ring<T>> {
    let size = at.desc as usize + RING as usize * mem::size_of::<T>();
    // SAFETY: a new mapping at a place of the kernel's choice.
    let base = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            socket.as_raw_fd(),
            page,
        )
    };
    ensure!(
        base != libc::MAP_FAILED,
        "an AF_XDP ring: {}",
        Error::last_os_error()
    );
    let base = base.cast::<u8>();
    // SAFETY: the kernel says that these offsets lie inside the mapping; it aligns what is there.
    unsafe {
        Ok(Ring {
            producer: base.add(at.producer as usize).cast(),
            consumer: base.add(at.consumer as usize).cast(),
            flags: base.add(at.flags as usize).cast(),
            entries: base.add(at.desc as usize).cast(),
        })
    }
}

impl<T: Copy> Ring<T> {
    /// Entries the kernel has put in.
    fn ready(&self) -> u32 {
        // SAFETY: both lie in the mapping, which lives as long as the process.
        unsafe {
            let produced = (*self.producer).load(Ordering::Acquire);
            produced.wrapping_sub((*self.consumer).load(Ordering::Relaxed))
        }
    }

    /// Takes up to so many out.
    fn take(&self, at_most: u32, mut each: impl FnMut(T)) -> u32 {
        let count = self.ready().min(at_most);
        // SAFETY: as above; the entries up to the producer are ours until the consumer passes them.
        unsafe {
            let first = (*self.consumer).load(Ordering::Relaxed);
            for nth in 0..count {
                let place = first.wrapping_add(nth) & (RING - 1);
                each(*self.entries.add(place as usize));
            }
            (*self.consumer).store(first.wrapping_add(count), Ordering::Release);
        }
        count
    }

    /// Puts in all there are; the ring has room, since there are no more frames than entries.
    fn put(&self, entries: impl Iterator<Item = T>) {
        // SAFETY: as above; the entries from the producer on are ours.
        unsafe {
            let first = (*self.producer).load(Ordering::Relaxed);
            let mut next = first;
            for entry in entries {
                *self.entries.add((next & (RING - 1)) as usize) = entry;
                next = next.wrapping_add(1);
            }
            (*self.producer).store(next, Ordering::Release);
        }
    }

    /// Entries the kernel has not taken out yet.
    fn pending(&self) -> u32 {
        // SAFETY: as above.
        unsafe {
            let consumed = (*self.consumer).load(Ordering::Acquire);
            (*self.producer)
                .load(Ordering::Relaxed)
                .wrapping_sub(consumed)
        }
    }

    fn wants_wakeup(&self) -> bool {
        // SAFETY: as above.
        unsafe { (*self.flags).load(Ordering::Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0 }
    }
}

impl Echo {
    /// Opens it at the balancer's end of the wire.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn open(wire: &Wire) -> anyhow::Result<Echo> {
        wire.lb.run(|| open(wire.lb_index))
    }

    /// Echoes until told to stop.
    pub fn run(&mut self, progress: &Progress) {
        let mut frames = Vec::with_capacity(BATCH as usize);
        while progress.goes_on() {
            self.completion
                .take(RING, |address| self.free.push(address));
            // No more than the ring has entries.
            let room = (RING - self.fill.pending()) as usize;
            let keep = self.free.len() - self.free.len().min(room);
            self.fill.put(self.free.drain(keep..));
            let free_entries = RING - self.send.pending();
            frames.clear();
            let count = self
                .receive
                .take(BATCH.min(free_entries), |frame| frames.push(frame));
            for frame in &frames {
                // SAFETY: the kernel gave us this frame of the memory; it has room for two MACs.
                unsafe {
                    let start = self.umem.add(frame.addr as usize);
                    start.copy_from_nonoverlapping(MACS.as_ptr(), MACS.len());
                }
            }
            self.send.put(frames.iter().copied());
            if count > 0 || self.send.pending() > 0 {
                self.kick();
            }
            if count == 0 {
                self.wait();
            }
        }
    }

    fn kick(&self) {
        if self.send.wants_wakeup() {
            // SAFETY: no memory is involved. Whatever could not go now goes by the next call.
            unsafe {
                libc::sendto(
                    self.socket.as_raw_fd(),
                    std::ptr::null(),
                    0,
                    libc::MSG_DONTWAIT,
                    std::ptr::null(),
                    0,
                );
            }
        }
    }

    fn wait(&self) {
        let mut poll = libc::pollfd {
            fd: self.socket.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: `poll` is one pollfd, valid for writes.
        unsafe { libc::poll(&mut poll, 1, 10) };
    }
}

/// To real 0, from the balancer.
const MACS: [u8; 12] = {
    let [a, b, c, d, e, f] = LB_MAC;
    [2, 0, 0, 1, 0, 0, a, b, c, d, e, f]
};

fn open(ifindex: u32) -> anyhow::Result<Echo> {
    // SAFETY: no memory is involved.
    let fd = unsafe { libc::socket(libc::AF_XDP, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
    ensure!(fd >= 0, "AF_XDP: {}", Error::last_os_error());
    // SAFETY: the descriptor is new, and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let size = FRAMES as usize * FRAME;
    // SAFETY: a new mapping at a place of the kernel's choice.
    let umem = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
            -1,
            0,
        )
    };
    ensure!(
        umem != libc::MAP_FAILED,
        "memory: {}",
        Error::last_os_error()
    );
    // SAFETY: xdp_umem_reg is made of integers.
    let mut registration: libc::xdp_umem_reg = unsafe { mem::zeroed() };
    registration.addr = umem as u64;
    registration.len = size as u64;
    registration.chunk_size = FRAME as u32;
    set(&socket, libc::XDP_UMEM_REG, &registration)?;
    for ring in [
        libc::XDP_UMEM_FILL_RING,
        libc::XDP_UMEM_COMPLETION_RING,
        libc::XDP_RX_RING,
        libc::XDP_TX_RING,
    ] {
        set(&socket, ring, &RING)?;
    }
    // Where the kernel has it.
    let _ = set(&socket, XDP_MAX_TX_SKB_BUDGET, &BATCH);
    // SAFETY: xdp_mmap_offsets is made of integers.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { mem::zeroed() };
    let mut len = mem::size_of_val(&offsets) as u32;
    // SAFETY: `offsets` is valid for writes of `len` bytes.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_MMAP_OFFSETS,
            (&raw mut offsets).cast(),
            &mut len,
        )
    };
    ensure!(result == 0, "AF_XDP offsets: {}", Error::last_os_error());
    let page = |offset: u64| i64::try_from(offset).unwrap_or(i64::MAX);
    let fill: Ring<u64> = map(&socket, page(libc::XDP_UMEM_PGOFF_FILL_RING), &offsets.fr)?;
    let completion = map(
        &socket,
        page(libc::XDP_UMEM_PGOFF_COMPLETION_RING),
        &offsets.cr,
    )?;
    let receive = map(&socket, libc::XDP_PGOFF_RX_RING, &offsets.rx)?;
    let send = map(&socket, libc::XDP_PGOFF_TX_RING, &offsets.tx)?;

    // SAFETY: sockaddr_xdp is made of integers.
    let mut address: libc::sockaddr_xdp = unsafe { mem::zeroed() };
    address.sxdp_family = libc::AF_XDP as u16;
    address.sxdp_flags = libc::XDP_COPY | libc::XDP_USE_NEED_WAKEUP;
    address.sxdp_ifindex = ifindex;
    // SAFETY: `address` is valid for reads of its size.
    let result = unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            mem::size_of_val(&address) as u32,
        )
    };
    ensure!(result == 0, "AF_XDP bind: {}", Error::last_os_error());

    let mut program = object::load("to_socket")?;
    let mut sockets: XskMap<_> = object::map(&mut program, "sockets")?;
    sockets.set(0, socket.as_raw_fd(), 0)?;
    let xdp: &mut Xdp = program
        .program_mut("to_socket")
        .context("to_socket")?
        .try_into()?;
    xdp.load()?;
    xdp.attach_to_if_index(ifindex, XdpMode::Driver)?;
    Ok(Echo {
        socket,
        umem: umem.cast(),
        fill,
        completion,
        receive,
        send,
        free: (0..u64::from(FRAMES)).map(|n| n * FRAME as u64).collect(),
        _program: program,
    })
}
