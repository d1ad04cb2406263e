//! What we ask NIC drivers: large receive offload, and how many queues.

use super::check;
use std::io::{self, Error};
use std::os::fd::AsRawFd;

/// From linux/ethtool.h.
const ETHTOOL_GCHANNELS: u32 = 0x3c;
const ETHTOOL_GFLAGS: u32 = 0x25;
const ETHTOOL_SFLAGS: u32 = 0x26;
const ETH_FLAG_LRO: u32 = 1 << 15;
#[cfg(feature = "xdp")]
const ETH_FLAG_RXVLAN: u32 = 1 << 8;

/// `struct ethtool_value`: command and data.
type Value = [u32; 2];

/// `struct ethtool_channels`: command, most rx, tx, other and combined, and as many counts in use.
type Channels = [u32; 9];

/// Switches LRO off on `interface`, if it is on. It merges frames in a way that cannot be undone
/// when they are sent on (virtio-net headers cannot describe it; the kernel's own forwarding
/// switches it off too). True if it was on. `socket` may be any socket.
///
/// # Errors
/// When it is on and cannot be switched off: EPERM without CAP_NET_ADMIN, or what the driver says;
/// `Other` when the driver took the call but did not do it.
pub fn switch_off_lro(socket: &impl AsRawFd, interface: &str) -> io::Result<bool> {
    switch_off(socket, interface, ETH_FLAG_LRO, "the driver keeps LRO on")
}

/// Has the card leave VLAN tags in frames: an XDP program does not see those it takes out, and what
/// it sends on would lack them. As [`switch_off_lro`] otherwise.
#[cfg(feature = "xdp")]
pub fn keep_vlan_tags(socket: &impl AsRawFd, interface: &str) -> io::Result<bool> {
    switch_off(
        socket,
        interface,
        ETH_FLAG_RXVLAN,
        "the driver keeps taking VLAN tags out",
    )
}

/// Has the card take VLAN tags out of frames again, which [`keep_vlan_tags`] switched off.
///
/// # Errors
/// What the driver says.
#[cfg(feature = "xdp")]
pub fn take_vlan_tags_out(socket: &impl AsRawFd, interface: &str) -> io::Result<()> {
    let on = flags(socket, interface, ETHTOOL_GFLAGS, 0)?;
    flags(socket, interface, ETHTOOL_SFLAGS, on | ETH_FLAG_RXVLAN)?;
    Ok(())
}

fn switch_off(
    socket: &impl AsRawFd,
    interface: &str,
    flag: u32,
    stays: &'static str,
) -> io::Result<bool> {
    let on = match flags(socket, interface, ETHTOOL_GFLAGS, 0) {
        Ok(on) => on,
        // A driver without the call has no such offload.
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => return Ok(false),
        Err(error) => return Err(error),
    };
    if on & flag == 0 {
        return Ok(false);
    }
    flags(socket, interface, ETHTOOL_SFLAGS, on & !flag)?;
    if flags(socket, interface, ETHTOOL_GFLAGS, 0)? & flag != 0 {
        return Err(Error::other(stays));
    }
    Ok(true)
}

/// Whether LRO is on.
///
/// # Errors
/// ENODEV, or what the driver says; a driver without the call has no LRO.
pub fn lro(socket: &impl AsRawFd, interface: &str) -> io::Result<bool> {
    match flags(socket, interface, ETHTOOL_GFLAGS, 0) {
        Ok(on) => Ok(on & ETH_FLAG_LRO != 0),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The name of `interface`'s driver.
///
/// # Errors
/// EOPNOTSUPP where there is none to tell, ENODEV.
#[cfg(feature = "xdp")]
pub fn driver(socket: &impl AsRawFd, interface: &str) -> io::Result<String> {
    const ETHTOOL_GDRVINFO: u32 = 0x03;
    // `struct ethtool_drvinfo`: the command, then the driver's name in 32 bytes, and more.
    const WORDS: usize = 49;
    let mut info = [0_u32; WORDS];
    info[0] = ETHTOOL_GDRVINFO;
    // SAFETY: GDRVINFO reads and writes one ethtool_drvinfo, 196 bytes.
    unsafe { call(socket, interface, (&raw mut info).cast()) }?;
    let bytes = info[1..9].iter().flat_map(|word| word.to_ne_bytes());
    let name: Vec<u8> = bytes.take_while(|byte| *byte != 0).collect();
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Receive queues of `interface` in use.
///
/// # Errors
/// EOPNOTSUPP where the driver does not tell, ENODEV.
pub fn receive_queues(socket: &impl AsRawFd, interface: &str) -> io::Result<usize> {
    let [.., receive, _, _, combined] = channels(socket, interface)?;
    Ok((receive.saturating_add(combined)) as usize)
}

/// Send queues of `interface` in use; as [`receive_queues`] otherwise.
pub fn send_queues(socket: &impl AsRawFd, interface: &str) -> io::Result<usize> {
    let [.., send, _, combined] = channels(socket, interface)?;
    Ok((send.saturating_add(combined)) as usize)
}

fn channels(socket: &impl AsRawFd, interface: &str) -> io::Result<Channels> {
    let mut channels: Channels = [ETHTOOL_GCHANNELS, 0, 0, 0, 0, 0, 0, 0, 0];
    // SAFETY: GCHANNELS reads and writes one ethtool_channels.
    unsafe { call(socket, interface, (&raw mut channels).cast()) }?;
    Ok(channels)
}

fn flags(socket: &impl AsRawFd, interface: &str, command: u32, data: u32) -> io::Result<u32> {
    let mut value: Value = [command, data];
    // SAFETY: GFLAGS and SFLAGS read and write one ethtool_value.
    unsafe { call(socket, interface, (&raw mut value).cast()) }?;
    Ok(value[1])
}

/// # Safety
/// `argument` points at what the command in its first word reads and writes.
unsafe fn call(
    socket: &impl AsRawFd,
    interface: &str,
    argument: *mut libc::c_char,
) -> io::Result<()> {
    // SAFETY: ifreq is made of integers and pointers; zero is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    if interface.is_empty() || interface.len() > room {
        return Err(Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = argument;
    // SAFETY: `request` is an ifreq whose argument fits the command, says the caller.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL, &mut request) })?;
    Ok(())
}
