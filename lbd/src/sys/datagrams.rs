//! Many datagrams from and to the kernel with one system call (recvmmsg(2), sendmmsg(2)), and many
//! of one size as one (udp(7): UDP_GRO, UDP_SEGMENT).

use super::check;
use std::io::{self, Error};
use std::mem;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd};

/// Datagrams taken at once: as many as make the system call's own cost vanish beside theirs.
pub const BATCH: usize = 32;

/// Room for one datagram, or for several of one size that the kernel joined: no IP packet is
/// longer.
const ROOM: usize = 65_536;

/// Segments the kernel takes in one message (UDP_MAX_SEGMENTS; 128 since Linux 6.10).
const MAX_SEGMENTS: usize = 64;

/// Room for one control message with an integer.
const CONTROL: usize = 24;

#[repr(C, align(8))]
#[derive(Clone, Copy)]
struct Control([u8; CONTROL]);

/// A socket address of either family, as the kernel reads and writes it.
#[derive(Clone, Copy)]
#[repr(C)]
union Name {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// A datagram that came.
#[derive(Clone, Copy, Debug)]
pub struct Incoming<'a> {
    /// Who sent it; `None` on a connected socket.
    pub from: Option<SocketAddr>,
    /// Its payload: several datagrams one after the other if `segment` says so.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, where several came as one; else 0.
    pub segment: u16,
}

/// A datagram to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// To whom; `None` on a connected socket.
    pub to: Option<SocketAddr>,
    /// What goes before each datagram of `bytes`.
    pub head: &'a [u8],
    /// Its payload: several datagrams one after the other if `segment` says so.
    pub bytes: &'a [u8],
    /// Bytes of each but the last, where several go as one; else 0.
    pub segment: u16,
}

impl Incoming<'_> {
    /// How many datagrams came as this one.
    pub fn datagrams(&self) -> u64 {
        count(self.bytes, self.segment)
    }
}

fn count(bytes: &[u8], segment: u16) -> u64 {
    match usize::from(segment) {
        0 => 1,
        size => bytes.len().div_ceil(size).max(1) as u64,
    }
}

/// A batch of datagrams as they came: 2 MiB of address space, of which pages are only taken as far
/// as datagrams reached.
pub struct Inbox {
    room: Box<[u8]>,
    names: Box<[Name; BATCH]>,
    controls: Box<[Control; BATCH]>,
    parts: Box<[libc::iovec; BATCH]>,
    messages: Box<[libc::mmsghdr; BATCH]>,
    filled: usize,
}

// SAFETY: the pointers in the arrays are only followed during `receive`, which fills them first.
unsafe impl Send for Inbox {}

impl Default for Inbox {
    fn default() -> Self {
        // SAFETY: each is made of integers and pointers; zero is valid for all of them.
        let (names, parts, messages) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        Inbox {
            room: vec![0; BATCH * ROOM].into(),
            names: Box::new(names),
            controls: Box::new([Control([0; CONTROL]); BATCH]),
            parts: Box::new(parts),
            messages: Box::new(messages),
            filled: 0,
        }
    }
}

impl Inbox {
    /// Takes what `socket` has, up to [`BATCH`], without waiting; says how many. What came before
    /// is forgotten. Fewer than [`BATCH`]: there is no more for now.
    ///
    /// # Errors
    /// `WouldBlock` when there is nothing; `ConnectionRefused` and the like, once, when an ICMP
    /// error came for a connected socket.
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        self.filled = 0;
        let each = self.messages.iter_mut().zip(&mut *self.parts);
        let each = each.zip(&mut *self.names).zip(&mut *self.controls);
        for ((((message, part), name), control), room) in each.zip(self.room.chunks_mut(ROOM)) {
            part.iov_base = room.as_mut_ptr().cast();
            part.iov_len = room.len();
            let header = &mut message.msg_hdr;
            header.msg_name = std::ptr::from_mut(name).cast();
            header.msg_namelen = mem::size_of::<Name>() as libc::socklen_t;
            header.msg_iov = part;
            header.msg_iovlen = 1;
            header.msg_control = std::ptr::from_mut(control).cast();
            header.msg_controllen = CONTROL;
        }
        // SAFETY: the messages point into this value's own boxes, set just now; the kernel writes
        // no further than the lengths beside the pointers say, and not after the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.messages.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        self.filled = check(received)?.unsigned_abs() as usize;
        Ok(self.filled)
    }

    /// The datagram at `index` of the last batch; an empty one from nobody beyond it.
    #[inline]
    pub fn get(&self, index: usize) -> Incoming<'_> {
        if index >= self.filled {
            return Incoming {
                from: None,
                bytes: &[],
                segment: 0,
            };
        }
        let message = &self.messages[index];
        let length = (message.msg_len as usize).min(ROOM);
        Incoming {
            from: (message.msg_hdr.msg_namelen > 0)
                .then(|| address(&self.names[index]))
                .flatten(),
            bytes: &self.room[index * ROOM..][..length],
            segment: segment_size(&message.msg_hdr, &self.controls[index], length),
        }
    }
}

/// The size in the UDP_GRO control message, if there is one and more than one datagram came.
fn segment_size(header: &libc::msghdr, control: &Control, length: usize) -> u16 {
    let bytes = &control.0;
    let word = |at: usize| {
        let four = bytes.get(at..at + 4)?;
        Some(libc::c_int::from_ne_bytes(four.try_into().ok()?))
    };
    // struct cmsghdr: length (8 bytes on 64-bit machines), level, type, and the value.
    let at = mem::size_of::<usize>();
    let whole = header.msg_controllen >= at + 12;
    if !whole || word(at) != Some(libc::SOL_UDP) || word(at + 4) != Some(libc::UDP_GRO) {
        return 0;
    }
    let size = word(at + 8).and_then(|size| u16::try_from(size).ok());
    size.filter(|size| usize::from(*size) < length).unwrap_or(0)
}

fn address(name: &Name) -> Option<SocketAddr> {
    // SAFETY: both shapes are plain integers, begin with the family, and were zero before the
    // kernel wrote one of them.
    let (v4, v6) = unsafe { (name.v4, name.v6) };
    match libc::c_int::from(v4.sin_family) {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into())
        }
        _ => None,
    }
}

fn name(address: SocketAddr) -> (Name, libc::socklen_t) {
    // SAFETY: integers, for which zero is valid.
    let mut name: Name = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            name.v4 = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr {
                    s_addr: u32::from_ne_bytes(v4.ip().octets()),
                },
                sin_zero: [0; 8],
            };
            (name, mem::size_of::<libc::sockaddr_in>() as libc::socklen_t)
        }
        SocketAddr::V6(v6) => {
            name.v6 = libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: 0,
                sin6_addr: libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                },
                sin6_scope_id: v6.scope_id(),
            };
            (
                name,
                mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t,
            )
        }
    }
}

/// What the kernel did not take.
#[derive(Debug)]
pub struct Refused {
    /// Which of those given to [`Outbox::send`] it was, or was a part of.
    pub index: usize,
    /// How many datagrams.
    pub datagrams: u64,
    /// Bytes of payload, without what would have gone before.
    pub bytes: usize,
    /// Why.
    pub error: Error,
}

/// One message as the kernel shall see it, before its pointers are set.
#[derive(Clone, Copy)]
struct Draft {
    name: Name,
    name_length: libc::socklen_t,
    parts: [libc::iovec; 2],
    control: Control,
    control_length: usize,
    /// Bytes of each but the last, if the kernel is to send several of one size; else 0.
    segment: u16,
    /// Which of the caller's it belongs to, how many datagrams it is, and how long.
    index: usize,
    datagrams: u64,
    bytes: usize,
}

impl Draft {
    /// As the kernel reads it, while this stays where it is.
    fn header(&mut self) -> libc::msghdr {
        // SAFETY: msghdr is made of integers and pointers; zero is valid for all of them.
        let mut header: libc::msghdr = unsafe { mem::zeroed() };
        if self.name_length > 0 {
            header.msg_name = std::ptr::from_mut(&mut self.name).cast();
            header.msg_namelen = self.name_length;
        }
        header.msg_iov = self.parts.as_mut_ptr();
        header.msg_iovlen = 2;
        if self.control_length > 0 {
            header.msg_control = std::ptr::from_mut(&mut self.control).cast();
            header.msg_controllen = self.control_length;
        }
        header
    }
}

/// The message arrays of a sender, filled anew for every batch.
#[derive(Default)]
pub struct Outbox {
    drafts: Vec<Draft>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in the arrays are only followed during `send`, which fills them first.
unsafe impl Send for Outbox {}

impl Outbox {
    /// Sends `datagrams` in order, without waiting for room. Those the kernel refuses are reported; all
    /// others went out.
    pub fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        datagrams: impl Iterator<Item = Outgoing<'a>>,
        mut refused: impl FnMut(Refused),
    ) {
        self.drafts.clear();
        for (index, datagram) in datagrams.enumerate() {
            self.draft(index, &datagram);
        }
        self.messages.clear();
        for draft in &mut self.drafts {
            let msg_hdr = draft.header();
            self.messages.push(libc::mmsghdr {
                msg_hdr,
                msg_len: 0,
            });
        }
        let mut done = 0;
        while done < self.messages.len() {
            match self.send_from(socket, done) {
                Ok(sent) => done += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.drafts[done].segment > 0 && is_no_way_to_join(&error) => {
                    self.send_apart(socket, done, &mut refused);
                    done += 1;
                }
                Err(error) => {
                    let draft = &self.drafts[done];
                    refused(Refused {
                        index: draft.index,
                        datagrams: draft.datagrams,
                        bytes: draft.bytes,
                        error,
                    });
                    done += 1;
                }
            }
        }
    }

    /// With something before each datagram, or more of them than the kernel takes at once, each
    /// becomes a message of its own, or each so many.
    fn draft(&mut self, index: usize, datagram: &Outgoing<'_>) {
        let size = usize::from(datagram.segment);
        if size == 0 || datagram.bytes.len() <= size {
            return self.push(index, datagram, datagram.bytes, 0);
        }
        let (step, segment) = if datagram.head.is_empty() {
            (size * MAX_SEGMENTS, datagram.segment)
        } else {
            (size, 0)
        };
        for bytes in datagram.bytes.chunks(step) {
            let segment = if bytes.len() > size { segment } else { 0 };
            self.push(index, datagram, bytes, segment);
        }
    }

    fn push(&mut self, index: usize, datagram: &Outgoing<'_>, bytes: &[u8], segment: u16) {
        let part = |bytes: &[u8]| libc::iovec {
            iov_base: bytes.as_ptr().cast_mut().cast(),
            iov_len: bytes.len(),
        };
        let (name, name_length) = match datagram.to {
            Some(address) => name(address),
            // SAFETY: integers, for which zero is valid.
            None => (unsafe { mem::zeroed() }, 0),
        };
        let (control, control_length) = match segment {
            0 => (Control([0; CONTROL]), 0),
            size => segment_control(size),
        };
        self.drafts.push(Draft {
            name,
            name_length,
            parts: [part(datagram.head), part(bytes)],
            control,
            control_length,
            segment,
            index,
            datagrams: count(bytes, segment),
            bytes: bytes.len(),
        });
    }

    /// Sends the datagrams of a draft one by one: the way there takes them no otherwise.
    fn send_apart(&self, socket: BorrowedFd<'_>, nth: usize, refused: &mut impl FnMut(Refused)) {
        let mut draft = self.drafts[nth];
        draft.control_length = 0;
        let mut rest = draft.bytes;
        while rest > 0 {
            let length = rest.min(usize::from(draft.segment));
            draft.parts[1].iov_len = length;
            let header = draft.header();
            // SAFETY: the header points into `draft`, and its parts at bytes that `send`'s caller lends,
            // of which `rest` are left; the kernel only reads them.
            let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &header, libc::MSG_DONTWAIT) };
            if sent < 0 {
                let error = Error::last_os_error();
                if error.kind() == io::ErrorKind::Interrupted {
                    continue;
                }
                refused(Refused {
                    index: draft.index,
                    datagrams: 1,
                    bytes: length,
                    error,
                });
            }
            rest -= length;
            draft.parts[1].iov_base = draft.parts[1].iov_base.wrapping_byte_add(length);
        }
    }

    fn send_from(&mut self, socket: BorrowedFd<'_>, first: usize) -> io::Result<usize> {
        let messages = &mut self.messages[first..];
        // SAFETY: the messages point into `drafts`, filled in this call of `send` and not moved
        // since, and those at bytes that `send`'s caller lends for its length; the kernel only
        // reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        Ok(check(sent)?.unsigned_abs() as usize)
    }
}

/// Whether the kernel refuses to send datagrams as one where it would take each: they are longer than the way's
/// MTU allows to cut (EINVAL, EMSGSIZE), or the device does no checksums (EIO; before Linux 6.11).
fn is_no_way_to_join(error: &Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EINVAL | libc::EMSGSIZE | libc::EIO)
    )
}

/// A control message that says UDP_SEGMENT (cmsg(3)), and its length.
fn segment_control(size: u16) -> (Control, usize) {
    let header = mem::size_of::<usize>() + 8;
    let mut control = Control([0; CONTROL]);
    let words = [libc::SOL_UDP, libc::UDP_SEGMENT];
    let length = (header + 2).to_ne_bytes();
    control.0[..length.len()].copy_from_slice(&length);
    for (at, word) in (length.len()..).step_by(4).zip(words) {
        control.0[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    control.0[header..header + 2].copy_from_slice(&size.to_ne_bytes());
    (control, CONTROL)
}

/// Lets the kernel join datagrams of one size that come one after the other from one sender
/// (UDP_GRO, since Linux 5.0).
pub fn join_received(socket: BorrowedFd<'_>) -> io::Result<()> {
    set(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Gives the socket's receive queue `bytes`, beyond `net.core.rmem_max` if the process may
/// (CAP_NET_ADMIN), else as far as that goes.
pub fn set_queue(socket: BorrowedFd<'_>, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    set(socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, bytes)
        .or_else(|_| set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, bytes))
}

fn set(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: `value` is valid for reads of its size during the call; the options take an integer.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(&value).cast(),
            mem::size_of_val(&value) as libc::socklen_t,
        )
    })
    .map(|_| ())
}

/// How a socket's receive queue stands (SO_MEMINFO, since Linux 4.12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// Bytes in it, with the kernel's own overhead.
    pub used: u32,
    /// Bytes it may hold.
    pub room: u32,
    /// Datagrams lost because there was no room, since the socket was made, modulo 2^32.
    pub lost: u32,
}

/// How `socket`'s receive queue stands.
pub fn queue(socket: BorrowedFd<'_>) -> io::Result<Queue> {
    // SK_MEMINFO_RMEM_ALLOC, SK_MEMINFO_RCVBUF and SK_MEMINFO_DROPS of linux/sock_diag.h.
    const USED: usize = 0;
    const ROOM: usize = 1;
    const LOST: usize = 8;
    let mut info = [0u32; 9];
    let mut length = mem::size_of_val(&info) as libc::socklen_t;
    // SAFETY: `info` and `length` are valid for writes of their sizes during the call.
    check(unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_MEMINFO,
            info.as_mut_ptr().cast(),
            &mut length,
        )
    })?;
    Ok(Queue {
        used: info[USED],
        room: info[ROOM],
        lost: info[LOST],
    })
}

#[cfg(test)]
mod tests;
