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
pub mod program;
pub mod rlimit;
pub mod shared_file;
pub mod transparent;

use std::io;

/// The result of a libc call that returns -1 and sets errno on failure.
pub(crate) fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
