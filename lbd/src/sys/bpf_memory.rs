//! The values of a BPF array map, mapped as memory that the program and this process share.

use std::io::{self, Error};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::AtomicU64;

/// Maps the first `words` 64-bit words of the values of an array map made with BPF_F_MMAPABLE
/// (Linux 5.5). Never unmapped: whoever holds the memory holds it until the process ends.
///
/// # Errors
/// EPERM if the map is none of that kind, EINVAL if it is smaller.
pub fn map(map: impl AsFd, words: usize) -> io::Result<&'static [AtomicU64]> {
    let invalid = || Error::from_raw_os_error(libc::EINVAL);
    let size = words
        .checked_mul(8)
        .filter(|&size| size > 0 && size <= isize::MAX as usize)
        .ok_or_else(invalid)?;
    // SAFETY: a new mapping at a place of the kernel's choice, of a descriptor that is open.
    let address = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            map.as_fd().as_raw_fd(),
            0,
        )
    };
    if address == libc::MAP_FAILED {
        return Err(Error::last_os_error());
    }
    // SAFETY: the mapping is page aligned, at least `size` bytes long (the kernel refuses more than
    // the map has) and never unmapped; every bit pattern is an AtomicU64, and the program accesses
    // its words as whole words, too.
    Ok(unsafe { std::slice::from_raw_parts(address.cast::<AtomicU64>(), words) })
}
