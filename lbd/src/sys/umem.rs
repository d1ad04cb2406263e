//! The memory an AF_XDP socket shares with the kernel (UMEM): chunks of one size, each for one frame.

use super::check_mapping;
use super::prefetch::prefetch;
use std::io::{self, Error};
use std::ptr::NonNull;

/// The chunks. Which of them the kernel may write to is for the socket to know.
#[derive(Debug)]
pub(super) struct Umem {
    base: NonNull<u8>,
    chunk: usize,
    chunks: usize,
}

// SAFETY: the mapping belongs to the value alone and is not tied to a thread.
unsafe impl Send for Umem {}

impl Umem {
    /// Maps `chunks` chunks of `chunk` bytes, a power of two.
    ///
    /// # Errors
    /// ENOMEM; EINVAL for a size that is none.
    pub fn map(chunk: usize, chunks: usize) -> io::Result<Umem> {
        let invalid = || Error::from_raw_os_error(libc::EINVAL);
        let size = chunk.checked_mul(chunks).filter(|&size| size > 0);
        let size = size
            .filter(|_| chunk.is_power_of_two())
            .ok_or_else(invalid)?;
        // SAFETY: a new mapping at a place of the kernel's choice.
        let base = check_mapping(unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        })?;
        // Thousands of frames in small pages are more than the processor keeps addresses of. Without large
        // ones it works, too. The kernel brings the pages when the memory is registered.
        // SAFETY: the mapping is ours, and as long.
        unsafe { libc::madvise(base.as_ptr().cast(), size, libc::MADV_HUGEPAGE) };
        Ok(Umem {
            base,
            chunk,
            chunks,
        })
    }

    /// How the kernel is told of it.
    pub fn registration(&self) -> libc::xdp_umem_reg {
        libc::xdp_umem_reg {
            addr: self.base.as_ptr() as u64,
            len: (self.chunk * self.chunks) as u64,
            chunk_size: self.chunk as u32,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    /// How many chunks there are.
    pub fn chunks(&self) -> usize {
        self.chunks
    }

    /// The address of a chunk, as rings have it.
    pub fn address(&self, chunk: usize) -> u64 {
        (chunk * self.chunk) as u64
    }

    /// The chunk an address lies in and the place in it; `None` outside of the memory.
    pub fn locate(&self, address: u64) -> Option<(usize, usize)> {
        let address = usize::try_from(address).ok()?;
        // A power of two: without a division for every frame.
        let chunk = address >> self.chunk.trailing_zeros();
        (chunk < self.chunks).then_some((chunk, address & (self.chunk - 1)))
    }

    /// Has the processor fetch what stands at an address.
    pub fn expect(&self, address: u64) {
        if let Some((chunk, place)) = self.locate(address) {
            prefetch(self.base.as_ptr().wrapping_add(chunk * self.chunk + place));
        }
    }

    /// The bytes of a chunk.
    ///
    /// # Safety
    /// The kernel must not have it: it stands in no fill ring and no transmit ring.
    pub unsafe fn chunk(&self, chunk: usize) -> Option<&[u8]> {
        let start = self.start(chunk)?;
        // SAFETY: in the mapping, initialised (anonymous memory is zero), and nobody writes to it while
        // the borrow lasts: not the kernel, says the caller, and not we, who would need `&mut self`.
        Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), self.chunk) })
    }

    /// The bytes of a chunk, to edit.
    ///
    /// # Safety
    /// As [`chunk`](Self::chunk).
    pub unsafe fn chunk_mut(&mut self, chunk: usize) -> Option<&mut [u8]> {
        let start = self.start(chunk)?;
        // SAFETY: as above, and `&mut self` keeps every other borrow away.
        Some(unsafe { std::slice::from_raw_parts_mut(start.as_ptr(), self.chunk) })
    }

    fn start(&self, chunk: usize) -> Option<NonNull<u8>> {
        // SAFETY: below `chunks`, so inside the mapping.
        (chunk < self.chunks).then(|| unsafe { self.base.add(chunk * self.chunk) })
    }
}

impl Drop for Umem {
    fn drop(&mut self) {
        // SAFETY: these are the mapping's, and nothing borrows from it any more. The kernel holds the
        // pages themselves for as long as it uses them.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.chunk * self.chunks) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_lies_in_its_chunk_or_nowhere() {
        let umem = Umem::map(2048, 4).expect("memory");
        assert_eq!(umem.locate(0), Some((0, 0)));
        assert_eq!(umem.locate(umem.address(3) + 256), Some((3, 256)));
        assert_eq!(umem.locate(4 * 2048), None);
        assert_eq!(umem.locate(u64::MAX), None);
    }

    #[test]
    fn chunks_do_not_overlap() {
        let mut umem = Umem::map(2048, 2).expect("memory");
        // SAFETY: no kernel knows of this memory.
        unsafe {
            umem.chunk_mut(0).expect("a chunk").fill(1);
            umem.chunk_mut(1).expect("a chunk").fill(2);
            assert!(umem.chunk(0).expect("a chunk").iter().all(|b| *b == 1));
            assert_eq!(umem.chunk(1).expect("a chunk").len(), 2048);
            assert!(umem.chunk(2).is_none());
        }
    }

    #[test]
    fn sizes_that_are_none_are_refused() {
        for (chunk, chunks) in [(0, 4), (2048, 0), (3000, 4), (1 << 40, 1 << 40)] {
            assert!(Umem::map(chunk, chunks).is_err(), "{chunk} {chunks}");
        }
    }
}
