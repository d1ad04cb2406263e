//! A raw packet socket (packet(7)) with the options an engine needs.

use super::check;
use std::io::{self, Error};
use std::mem;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Bytes of the `virtio_net_hdr` that stands before every frame of a socket with
/// [`PacketSocket::carry_virtio_header`].
pub const VIRTIO_HEADER: usize = 10;

/// An AF_PACKET, SOCK_RAW socket: whole frames, from the Ethernet header on.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
}

/// What a socket is bound to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The interface; `None` once it was deleted.
    pub ifindex: Option<u32>,
    /// Its ARPHRD_ type; 1 is Ethernet.
    pub hardware: u16,
}

impl PacketSocket {
    /// A socket that receives nothing until it is bound.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW.
    pub fn new() -> io::Result<Self> {
        // SAFETY: no memory is involved.
        let fd = unsafe { libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0) };
        let fd = check(fd)?;
        // SAFETY: `fd` was opened just now and belongs to nobody else.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(PacketSocket { fd })
    }

    /// Every frame received or sent is preceded by its `virtio_net_hdr`, so that super-frames
    /// and unfinished checksums stay what they are. To be set before the ring.
    pub fn carry_virtio_header(&self) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_VNET_HDR, &1_i32)
    }

    /// Frames that this host sends are not received. A fanout group ignores this and has a flag.
    pub fn ignore_outgoing(&self) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, &1_i32)
    }

    /// Frames go to the driver's queue at once; when that is full they are refused, not queued.
    #[cfg(test)]
    pub(crate) fn bypass_qdisc(&self) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_QDISC_BYPASS, &1_i32)
    }

    /// A frame too large for its ring slot is also put, whole, on the socket's receive queue.
    pub fn copy_oversize(&self) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_COPY_THRESH, &1_i32)
    }

    /// The layout of the receive ring: 1 for TPACKET_V2.
    pub fn ring_version(&self, version: libc::tpacket_versions) -> io::Result<()> {
        self.set(
            libc::SOL_PACKET,
            libc::PACKET_VERSION,
            &(version as libc::c_int),
        )
    }

    /// Asks for a receive ring, to be mapped by the caller.
    pub fn receive_ring(&self, request: &libc::tpacket_req) -> io::Result<()> {
        self.set(libc::SOL_PACKET, libc::PACKET_RX_RING, request)
    }

    /// Bounds the receive queue, beyond `net.core.rmem_max` where the process may.
    pub fn receive_buffer(&self, bytes: i32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, &bytes)
            .or_else(|_| self.set(libc::SOL_SOCKET, libc::SO_RCVBUF, &bytes))
    }

    /// Bounds what may wait to be sent, beyond `net.core.wmem_max` where the process may.
    pub fn send_buffer(&self, bytes: i32) -> io::Result<()> {
        self.set(libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, &bytes)
            .or_else(|_| self.set(libc::SOL_SOCKET, libc::SO_SNDBUF, &bytes))
    }

    /// See [`attach_filter`].
    pub fn attach_filter(&self, program: &[libc::sock_filter]) -> io::Result<()> {
        attach_filter(self, program)
    }

    /// Binds to an interface; from then on frames of `protocol` (ETH_P_) arrive, none if it is 0.
    pub fn bind(&self, ifindex: u32, protocol: libc::c_int) -> io::Result<()> {
        let address = address(ifindex, protocol)?;
        // SAFETY: `address` is a sockaddr_ll, valid for reads of the size given.
        check(unsafe {
            libc::bind(
                self.as_raw_fd(),
                (&raw const address).cast(),
                size_of_socklen(&address),
            )
        })?;
        Ok(())
    }

    /// What the socket is bound to now.
    pub fn bound(&self) -> io::Result<Bound> {
        let mut address = address(0, 0)?;
        let mut len = size_of_socklen(&address);
        // SAFETY: `address` is valid for writes of `len` bytes.
        check(unsafe { libc::getsockname(self.as_raw_fd(), (&raw mut address).cast(), &mut len) })?;
        let ifindex = u32::try_from(address.sll_ifindex)
            .ok()
            .filter(|&index| index != 0);
        Ok(Bound {
            ifindex,
            hardware: address.sll_hatype,
        })
    }

    /// Joins fanout group `id` (with PACKET_FANOUT_FLAG_UNIQUEID: founds one, and `id` is 0).
    pub fn join_fanout(&self, id: u16, kind_and_flags: u32) -> io::Result<()> {
        let argument = u32::from(id) | kind_and_flags << 16;
        self.set(libc::SOL_PACKET, libc::PACKET_FANOUT, &argument)
    }

    /// The fanout group this socket is in.
    pub fn fanout_group(&self) -> io::Result<u16> {
        let argument: u32 = self.get(libc::SOL_PACKET, libc::PACKET_FANOUT)?;
        Ok((argument & 0xffff) as u16)
    }

    /// Frames that passed the filter and those of them dropped for want of room, since last asked.
    pub fn statistics(&self) -> io::Result<libc::tpacket_stats> {
        self.get(libc::SOL_PACKET, libc::PACKET_STATISTICS)
    }

    /// The socket's pending error; asking clears it.
    pub fn take_error(&self) -> io::Result<Option<Error>> {
        let errno: libc::c_int = self.get(libc::SOL_SOCKET, libc::SO_ERROR)?;
        Ok((errno != 0).then(|| Error::from_raw_os_error(errno)))
    }

    /// Takes the next frame of the receive queue into `buffer`, without waiting. The result is the
    /// frame's true length, more than `buffer` holds if it was cut.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        // SAFETY: `buffer` is valid for writes of its length.
        let len = unsafe {
            libc::recv(
                self.as_raw_fd(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                flags,
            )
        };
        usize::try_from(len).map_err(|_| Error::last_os_error())
    }

    /// Waits until a frame or an error is there; false if `timeout` passed or a signal came first.
    pub fn wait(&self, timeout: Duration) -> io::Result<bool> {
        let mut poll = libc::pollfd {
            fd: self.as_raw_fd(),
            events: libc::POLLIN,
            revents: 0,
        };
        let millis = timeout.as_micros().div_ceil(1000);
        let millis = libc::c_int::try_from(millis).unwrap_or(libc::c_int::MAX);
        // SAFETY: `poll` is one pollfd, valid for writes.
        match check(unsafe { libc::poll(&mut poll, 1, millis) }) {
            Ok(ready) => Ok(ready > 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn set<T>(&self, level: libc::c_int, name: libc::c_int, value: &T) -> io::Result<()> {
        set(self, level, name, value)
    }

    fn get<T: Copy>(&self, level: libc::c_int, name: libc::c_int) -> io::Result<T> {
        get(self, level, name)
    }
}

impl AsRawFd for PacketSocket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Attaches a classic BPF program that says how many bytes of a frame to keep, 0 for none;
/// replaces the one before it in one step.
///
/// # Errors
/// EINVAL if the kernel's verifier refuses it, ENOMEM if it exceeds `net.core.optmem_max`.
pub fn attach_filter(socket: &impl AsRawFd, program: &[libc::sock_filter]) -> io::Result<()> {
    let len = u16::try_from(program.len());
    let len = len.map_err(|_| Error::from_raw_os_error(libc::EINVAL))?;
    let program = libc::sock_fprog {
        len,
        filter: program.as_ptr().cast_mut(),
    };
    set(socket, libc::SOL_SOCKET, libc::SO_ATTACH_FILTER, &program)
}

/// Only for options that are plain integers, alone or in a struct: zero is valid for them.
pub(super) fn get<T: Copy>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
) -> io::Result<T> {
    // SAFETY: `T` is made of integers (see above).
    let mut value: T = unsafe { mem::zeroed() };
    let mut len = size_of_socklen(&value);
    // SAFETY: `value` is valid for writes of `len` bytes.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            level,
            name,
            (&raw mut value).cast(),
            &mut len,
        )
    })?;
    Ok(value)
}

pub(super) fn set<T>(
    socket: &impl AsRawFd,
    level: libc::c_int,
    name: libc::c_int,
    value: &T,
) -> io::Result<()> {
    // SAFETY: `value` is valid for reads of its own size; a sock_fprog's pointer is borrowed by
    // the caller for the length of the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            std::ptr::from_ref(value).cast(),
            size_of_socklen(value),
        )
    })?;
    Ok(())
}

/// The link-layer address that names an interface; protocol in host order.
pub(super) fn address(ifindex: u32, protocol: libc::c_int) -> io::Result<libc::sockaddr_ll> {
    let invalid = || Error::from_raw_os_error(libc::EINVAL);
    // SAFETY: sockaddr_ll is made of integers; zero is valid.
    let mut address: libc::sockaddr_ll = unsafe { mem::zeroed() };
    address.sll_family = libc::AF_PACKET as u16;
    address.sll_protocol = u16::try_from(protocol).map_err(|_| invalid())?.to_be();
    address.sll_ifindex = libc::c_int::try_from(ifindex).map_err(|_| invalid())?;
    Ok(address)
}

fn size_of_socklen<T>(value: &T) -> libc::socklen_t {
    mem::size_of_val(value) as libc::socklen_t
}
