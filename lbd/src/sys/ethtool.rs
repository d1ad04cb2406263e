//! The one NIC setting that matters to us: large receive offload.

use super::check;
use std::io::{self, Error};
use std::os::fd::AsRawFd;

/// From linux/ethtool.h.
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETH_FLAG_LRO: u32 = 1 << 15;

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    command: u32,
    data: u32,
}

/// Switches LRO off on `interface`, if it is on. It merges frames in a way that cannot be undone
/// when they are sent on (virtio-net headers cannot describe it; the kernel's own forwarding
/// switches it off too). True if it was on. `socket` may be any socket.
///
/// # Errors
/// When it is on and cannot be switched off: EPERM without CAP_NET_ADMIN, or what the driver says;
/// `Other` when the driver took the call but did not do it.
pub fn switch_off_lro(socket: &impl AsRawFd, interface: &str) -> io::Result<bool> {
    let flags = match call(socket, interface, ETHTOOL_GFLAGS, 0) {
        Ok(flags) => flags,
        // A driver without the call has no LRO.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(false),
        Err(error) => return Err(error),
    };
    if flags & ETH_FLAG_LRO == 0 {
        return Ok(false);
    }
    call(socket, interface, ETHTOOL_SFLAGS, flags & !ETH_FLAG_LRO)?;
    if call(socket, interface, ETHTOOL_GFLAGS, 0)? & ETH_FLAG_LRO != 0 {
        return Err(Error::other("the driver keeps LRO on"));
    }
    Ok(true)
}

fn call(socket: &impl AsRawFd, interface: &str, command: u32, data: u32) -> io::Result<u32> {
    // SAFETY: ifreq is made of integers and pointers; zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    if interface.is_empty() || interface.len() > room {
        return Err(Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    let mut value = Value { command, data };
    request.ifr_ifru.ifru_data = (&raw mut value).cast();
    // SAFETY: `request` names an ethtool_value that outlives the call; both commands read and
    // write nothing beyond it.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &mut request) })?;
    Ok(value.data)
}
