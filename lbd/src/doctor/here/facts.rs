//! What the kernel says of itself, of directories and of this process.

use crate::sys::ethtool;
use crate::sys::rlimit;
use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;

/// From linux/magic.h.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// A directory's file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Bytes left to us.
    pub free: u64,
    /// Files left to us; `None`: it does not count them.
    pub files: Option<u64>,
    /// It is in memory.
    pub in_memory: bool,
}

/// statfs(2). An error in words.
pub(super) fn room(dir: &Path) -> Result<Room, String> {
    let about = rustix::fs::statfs(dir).map_err(|e| e.to_string())?;
    let number = |n: i128| u64::try_from(n).unwrap_or(0);
    let block = number(about.f_bsize.into());
    let kind = number(i128::from(about.f_type) & 0xffff_ffff);
    Ok(Room {
        free: about.f_bavail.saturating_mul(block),
        files: (about.f_files > 0).then_some(about.f_ffree),
        in_memory: kind == TMPFS || kind == RAMFS,
    })
}

/// Entries of connection tracking and how many there may be; `None`: it is not loaded
/// (nf_conntrack-sysctl.rst).
pub(super) fn conntrack() -> Option<(u64, u64)> {
    let read = |key: &str| -> Option<u64> {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/nf_conntrack_{key}"));
        text.ok()?.trim().parse().ok()
    };
    Some((read("count")?, read("max")?))
}

/// Descriptors this process has open and how many it may have.
pub(super) fn descriptors() -> Option<(u64, u64)> {
    let open = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    Some((open, rlimit::open_files().ok()?))
}

/// Those of `names` that have LRO on; what a driver does not tell counts as off.
pub(super) fn with_lro(names: &[String]) -> Vec<String> {
    let Ok(socket) = any_socket() else {
        return Vec::new();
    };
    let on = |name: &&String| ethtool::lro(&socket, name).unwrap_or(false);
    names.iter().filter(on).cloned().collect()
}

/// Receive queues of an interface; `None`: its driver does not tell.
pub(super) fn queues(name: &str) -> Option<usize> {
    ethtool::receive_queues(&any_socket().ok()?, name).ok()
}

fn any_socket() -> std::io::Result<UdpSocket> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))
}

/// Whether somebody accepts connections there.
pub(super) fn answers(socket: &Path) -> bool {
    UnixStream::connect(socket).is_ok()
}
