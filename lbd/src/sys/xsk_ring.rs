//! The rings of an AF_XDP socket: memory in which one side produces and the other consumes
//! (Documentation/networking/af_xdp.rst). Each has two counters that grow for ever and are taken modulo
//! the ring's size, and a word of flags that the kernel writes.

use super::check_mapping;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// What rings hold: addresses, or descriptors of frames.
pub(super) trait Element: Copy {}

impl Element for u64 {}
impl Element for libc::xdp_desc {}

/// The mapped ring.
#[derive(Debug)]
struct Ring<T> {
    base: NonNull<u8>,
    bytes: usize,
    producer: usize,
    consumer: usize,
    flags: usize,
    elements: usize,
    size: u32,
    of: PhantomData<T>,
}

// SAFETY: the mapping belongs to the ring alone and is not tied to a thread.
unsafe impl<T: Send> Send for Ring<T> {}

impl<T: Element> Ring<T> {
    /// Maps the ring of `size` elements, a power of two, that `socket` was given at `page`.
    fn map(
        socket: &OwnedFd,
        page: u64,
        at: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Ring<T>> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let place = |offset: u64| usize::try_from(offset).map_err(|_| invalid());
        let elements = place(at.desc)?;
        let bytes = elements + size as usize * size_of::<T>();
        let offset = libc::off_t::try_from(page).map_err(|_| invalid())?;
        // SAFETY: a new mapping at a place of the kernel's choice, of a descriptor that is open.
        let base = check_mapping(unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_POPULATE,
                socket.as_raw_fd(),
                offset,
            )
        })?;
        let ring = Ring {
            base,
            bytes,
            producer: place(at.producer)?,
            consumer: place(at.consumer)?,
            flags: place(at.flags)?,
            elements,
            size,
            of: PhantomData,
        };
        // What the accesses below rely on; the kernel lays rings out so.
        let word = |offset: usize| offset.is_multiple_of(4) && offset + 4 <= ring.bytes;
        let words = [ring.producer, ring.consumer, ring.flags];
        if !size.is_power_of_two()
            || !words.into_iter().all(word)
            || !elements.is_multiple_of(align_of::<T>())
        {
            return Err(invalid());
        }
        Ok(ring)
    }

    fn word(&self, offset: usize) -> &AtomicU32 {
        // SAFETY: aligned and inside the mapping, checked in `map`; both sides access these words
        // atomically. The reference lives no longer than the mapping.
        unsafe { self.base.add(offset).cast::<AtomicU32>().as_ref() }
    }

    /// Where the element with this number stands.
    fn element(&self, number: u32) -> NonNull<T> {
        let index = (number & (self.size - 1)) as usize;
        // SAFETY: below `size`, and `map` mapped so many from `elements` on, aligned.
        unsafe {
            self.base
                .add(self.elements + index * size_of::<T>())
                .cast::<T>()
        }
    }

    fn needs_wakeup(&self) -> bool {
        self.word(self.flags).load(Relaxed) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

impl<T> Drop for Ring<T> {
    fn drop(&mut self) {
        // SAFETY: these are the mapping's, and nothing borrows from it any more.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.bytes) };
    }
}

/// A ring that we fill: fill ring, transmit ring.
#[derive(Debug)]
pub(super) struct Producer<T> {
    ring: Ring<T>,
    /// The number of the next element to write.
    next: u32,
    /// How far the kernel had taken them when that was last looked at: to look costs a cache line that
    /// another core writes, so it is done once for many elements.
    taken: u32,
}

impl<T: Element> Producer<T> {
    /// See [`Ring::map`].
    ///
    /// # Errors
    /// What the kernel says; EINVAL for a layout that is none.
    pub fn map(
        socket: &OwnedFd,
        page: u64,
        at: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let ring = Ring::map(socket, page, at, size)?;
        let next = ring.word(ring.producer).load(Relaxed);
        let taken = ring.word(ring.consumer).load(Acquire);
        Ok(Producer { ring, next, taken })
    }

    /// Writes an element, for the next [`publish`](Self::publish); false if there is no room.
    pub fn push(&mut self, element: T) -> bool {
        if self.next.wrapping_sub(self.taken) >= self.ring.size {
            self.taken = self.next.wrapping_sub(self.waiting());
            if self.next.wrapping_sub(self.taken) >= self.ring.size {
                return false;
            }
        }
        // SAFETY: the element's place is the ring's, and the kernel reads it only after `publish`.
        unsafe { self.ring.element(self.next).write(element) };
        self.next = self.next.wrapping_add(1);
        true
    }

    /// Shows the kernel what was written.
    pub fn publish(&self) {
        self.ring.word(self.ring.producer).store(self.next, Release);
    }

    /// Elements written that the kernel has not taken.
    pub fn waiting(&self) -> u32 {
        let taken = self.ring.word(self.ring.consumer).load(Acquire);
        self.next.wrapping_sub(taken)
    }

    /// Whether the kernel sleeps on it.
    pub fn needs_wakeup(&self) -> bool {
        self.ring.needs_wakeup()
    }
}

/// A ring that the kernel fills: receive ring, completion ring.
#[derive(Debug)]
pub(super) struct Consumer<T> {
    ring: Ring<T>,
    /// The number of the next element to read.
    next: u32,
    /// How far the kernel had written them when that was last looked at.
    written: u32,
}

impl<T: Element> Consumer<T> {
    /// See [`Ring::map`].
    ///
    /// # Errors
    /// As [`Producer::map`].
    pub fn map(
        socket: &OwnedFd,
        page: u64,
        at: &libc::xdp_ring_offset,
        size: u32,
    ) -> io::Result<Self> {
        let ring = Ring::map(socket, page, at, size)?;
        let next = ring.word(ring.consumer).load(Relaxed);
        Ok(Consumer {
            ring,
            next,
            written: next,
        })
    }

    /// Whether [`pop`](Self::pop) would give an element.
    pub fn ready(&self) -> bool {
        self.written != self.next || self.look() != self.next
    }

    fn look(&self) -> u32 {
        self.ring.word(self.ring.producer).load(Acquire)
    }

    /// Reads the next element; its place is the kernel's again after [`release`](Self::release).
    pub fn pop(&mut self) -> Option<T> {
        if self.written == self.next {
            self.written = self.look();
            if self.written == self.next {
                return None;
            }
        }
        // SAFETY: the kernel has written it (seen with acquire ordering) and leaves it alone until
        // `release`; integers have no invalid values.
        let element = unsafe { self.ring.element(self.next).read() };
        self.next = self.next.wrapping_add(1);
        Some(element)
    }

    /// Hands the places of what was read back.
    pub fn release(&self) {
        self.ring.word(self.ring.consumer).store(self.next, Release);
    }
}
