//! A TPACKET_V2 receive ring: the kernel writes each frame into a slot of shared memory and hands
//! the slot over by its status word; we hand it back the same way.

use super::packet_socket::PacketSocket;
use super::prefetch::{AHEAD, CACHE_LINE, prefetch};
use std::io::{self, Error};
use std::os::fd::AsRawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes of a slot that belong to its header; the data of a slot begins after them.
const HEADER: usize = libc::TPACKET2_HDRLEN;

/// Least room between the start of a slot's data and its frame: two MACs and a type, and what
/// comes before them (the virtio header, and alignment).
pub const HEADROOM: usize = 24;

/// Frames do not cross blocks, and the kernel allocates block by block.
const BLOCK: usize = 64 * 1024;

/// A slot that the kernel has filled.
#[derive(Clone, Copy, Debug)]
pub struct Received {
    /// TP_STATUS_ flags.
    pub status: u32,
    /// Length of the frame on the wire.
    pub len: usize,
    /// How much of it is in the slot.
    pub captured: usize,
    /// Where in the slot's data the frame begins.
    pub start: usize,
    /// TPID and TCI of the tag the kernel took out, if it did.
    pub vlan: Option<(u16, u16)>,
}

/// The ring. Slots are taken in order with [`take`](Self::take), held, read and edited, and handed
/// back together.
#[derive(Debug)]
pub struct RxRing {
    base: NonNull<u8>,
    size: usize,
    slot_size: usize,
    slots: usize,
    /// The oldest slot held, or the next one to come if none is.
    first: usize,
    /// How many slots, from `first` on, are held.
    held: usize,
}

// SAFETY: the mapping belongs to the ring alone and is not tied to a thread.
unsafe impl Send for RxRing {}

impl RxRing {
    /// Gives `socket`, not bound yet, a ring of about `bytes` with room for `frame` bytes of a
    /// frame in each slot.
    ///
    /// # Errors
    /// ENOMEM, or EBUSY if the socket has a ring.
    pub fn map(socket: &PacketSocket, frame: usize, bytes: usize) -> io::Result<Self> {
        let slot_size = (HEADER + HEADROOM + frame).next_power_of_two().max(2048);
        let block = slot_size.max(BLOCK);
        let blocks = (bytes / block).max(1);
        let size = block * blocks;
        let slots = size / slot_size;
        let number = |n: usize| {
            libc::c_uint::try_from(n).map_err(|_| Error::from_raw_os_error(libc::EINVAL))
        };
        socket.ring_version(libc::tpacket_versions::TPACKET_V2)?;
        socket.receive_ring(&libc::tpacket_req {
            tp_block_size: number(block)?,
            tp_block_nr: number(blocks)?,
            tp_frame_size: number(slot_size)?,
            tp_frame_nr: number(slots)?,
        })?;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                0,
            )
        };
        if base == libc::MAP_FAILED {
            return Err(Error::last_os_error());
        }
        let base =
            NonNull::new(base.cast()).ok_or_else(|| Error::from_raw_os_error(libc::EFAULT))?;
        Ok(RxRing {
            base,
            size,
            slot_size,
            slots,
            first: 0,
            held: 0,
        })
    }

    /// How many frames the ring can hold.
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// How many slots are held.
    pub fn held(&self) -> usize {
        self.held
    }

    /// Whether [`take`](Self::take) would give a frame.
    pub fn ready(&self) -> bool {
        self.held < self.slots && self.owned(self.slot(self.held))
    }

    /// Takes the next frame, if there is one, and holds its slot.
    pub fn take(&mut self) -> Option<Received> {
        if !self.ready() {
            return None;
        }
        let slot = self.slot(self.held);
        self.held += 1;
        self.expect(self.held + AHEAD);
        // SAFETY: `slot` is inside the mapping, aligned for a tpacket2_hdr, and ours since its
        // status says so (seen with acquire ordering): the kernel does not write to it.
        let header = unsafe { slot.cast::<libc::tpacket2_hdr>().read() };
        let tagged = header.tp_status & libc::TP_STATUS_VLAN_VALID != 0;
        let tpid = match header.tp_status & libc::TP_STATUS_VLAN_TPID_VALID {
            0 => libc::ETH_P_8021Q as u16,
            _ => header.tp_vlan_tpid,
        };
        Some(Received {
            status: header.tp_status,
            len: header.tp_len as usize,
            captured: header.tp_snaplen as usize,
            start: usize::from(header.tp_mac).saturating_sub(HEADER),
            vlan: tagged.then_some((tpid, header.tp_vlan_tci)),
        })
    }

    /// The data of the `nth` slot held, everything after its header.
    pub fn data(&self, nth: usize) -> Option<&[u8]> {
        let slot = (nth < self.held).then(|| self.slot(nth))?;
        // SAFETY: see `data_mut`; `&self` keeps it from being edited or handed back meanwhile.
        Some(unsafe {
            std::slice::from_raw_parts(slot.as_ptr().add(HEADER), self.slot_size - HEADER)
        })
    }

    /// The data of the `nth` slot held, to edit.
    pub fn data_mut(&mut self, nth: usize) -> Option<&mut [u8]> {
        let slot = (nth < self.held).then(|| self.slot(nth))?;
        // SAFETY: the bytes are inside the mapping, initialised (the kernel zeroes rings), and
        // the slot is held: the kernel leaves it alone until `release`, which needs `&mut self`
        // and so waits for the end of this borrow.
        Some(unsafe {
            std::slice::from_raw_parts_mut(slot.as_ptr().add(HEADER), self.slot_size - HEADER)
        })
    }

    /// Hands all slots held back to the kernel.
    pub fn release(&mut self) {
        for nth in 0..self.held {
            self.status(self.slot(nth))
                .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        }
        self.first = (self.first + self.held) % self.slots;
        self.held = 0;
    }

    /// Has the processor fetch the slot `nth` places after the first held, as far as headers reach.
    fn expect(&self, nth: usize) {
        if nth < self.slots {
            let slot = self.slot(nth).as_ptr();
            prefetch(slot);
            prefetch(slot.wrapping_add(CACHE_LINE));
        }
    }

    fn owned(&self, slot: NonNull<u8>) -> bool {
        self.status(slot).load(Ordering::Acquire) & libc::TP_STATUS_USER != 0
    }

    /// The slot `nth` places after the first held.
    fn slot(&self, nth: usize) -> NonNull<u8> {
        let at = self.first + nth;
        let index = if at >= self.slots {
            at - self.slots
        } else {
            at
        };
        debug_assert!(index < self.slots);
        // SAFETY: `first` < `slots` and `nth` <= `held` <= `slots`, so `index` is in range, and
        // slots of a power-of-two size fill the mapping without gaps (blocks are multiples).
        unsafe { self.base.add(index * self.slot_size) }
    }

    fn status(&self, slot: NonNull<u8>) -> &AtomicU32 {
        // SAFETY: the status word is the first of a slot, which is aligned to its size; the kernel
        // writes it as one 32-bit word. The reference lives no longer than the mapping.
        unsafe { slot.cast::<AtomicU32>().as_ref() }
    }
}

impl Drop for RxRing {
    fn drop(&mut self) {
        // SAFETY: `base` and `size` are those of the mapping, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.size) };
    }
}
