//! Thin wrappers over system calls: the only room with `unsafe`, each block with its reason.

pub mod affinity;
#[cfg(feature = "xdp")]
pub mod bpf_memory;
pub mod capability;
pub mod clock;
pub mod datagrams;
pub mod ethtool;
pub mod link_socket;
pub mod netlink;
#[cfg(test)]
pub(crate) mod netns;
pub mod packet_ring;
pub mod packet_send;
pub mod packet_socket;
pub mod peer;
mod prefetch;
pub mod program;
pub mod rlimit;
pub mod shared_file;
pub mod transparent;
mod umem;
pub mod xsk;
mod xsk_ring;

pub(crate) use prefetch::{AHEAD, prefetch};

use std::io;
use std::ptr::NonNull;

/// The result of a libc call that returns -1 and sets errno on failure.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The result of mmap(2).
fn check_mapping(address: *mut libc::c_void) -> io::Result<NonNull<u8>> {
    if address == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(address.cast()).ok_or_else(|| io::Error::from_raw_os_error(libc::EFAULT))
}
