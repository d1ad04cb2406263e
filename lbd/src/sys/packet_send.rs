//! Many frames to the kernel with one system call (sendmmsg(2)).

use super::packet_socket::{self, PacketSocket};
use std::io::{self, Error};
use std::mem;
use std::ops::Range;
use std::os::fd::AsRawFd;

/// Frames on their way out, in bytes of kernel memory: a batch of super-frames and then some.
pub const SEND_QUEUE: i32 = 8 << 20;

/// A frame to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Egress interface.
    pub ifindex: u32,
    /// Whether `bytes` begin with a virtio header: one that has nothing to say only takes time.
    pub headed: bool,
    /// The frame, right after its header if it has one.
    pub bytes: &'a [u8],
}

/// Two sockets, for frames with a virtio header and for those without, bound to the interface that most
/// leave by: the kernel need not look it up for each. And the message arrays filled anew for every batch.
#[derive(Debug)]
pub struct FrameSender {
    headed: PacketSocket,
    plain: PacketSocket,
    ifindex: u32,
    addresses: Vec<libc::sockaddr_ll>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
    /// How many frames in turn go by the same socket.
    runs: Vec<(bool, usize)>,
}

// SAFETY: the pointers in the arrays are only followed during `send`, which fills them first.
unsafe impl Send for FrameSender {}

impl FrameSender {
    /// Opens the sockets, bound to an interface; `queue` bounds the frames on their way out of each, in
    /// bytes of kernel memory.
    ///
    /// # Errors
    /// EPERM without CAP_NET_RAW; ENODEV if there is no such interface.
    pub fn open(ifindex: u32, queue: i32) -> io::Result<Self> {
        let (headed, plain) = (PacketSocket::new()?, PacketSocket::new()?);
        headed.carry_virtio_header()?;
        for socket in [&headed, &plain] {
            socket.send_buffer(queue)?;
            socket.bind(ifindex, 0)?;
        }
        Ok(FrameSender {
            headed,
            plain,
            ifindex,
            addresses: Vec::new(),
            parts: Vec::new(),
            messages: Vec::new(),
            runs: Vec::new(),
        })
    }

    /// See [`PacketSocket::bypass_qdisc`].
    #[cfg(test)]
    pub(crate) fn bypass_qdisc(&self) -> io::Result<()> {
        self.headed.bypass_qdisc()?;
        self.plain.bypass_qdisc()
    }

    /// Sends `frames` in order, without waiting for room. Each the kernel refuses is reported by
    /// its index; the others went out.
    pub fn send<'a>(
        &mut self,
        frames: impl Iterator<Item = Outgoing<'a>>,
        mut refused: impl FnMut(usize, Error),
    ) {
        self.addresses.clear();
        self.parts.clear();
        self.messages.clear();
        self.runs.clear();
        for Outgoing {
            ifindex,
            headed,
            bytes,
        } in frames
        {
            match self.runs.last_mut() {
                Some((kind, length)) if *kind == headed => *length += 1,
                _ => self.runs.push((headed, 1)),
            }
            // An index no interface can have is refused by the kernel like any unknown one.
            let address = packet_socket::address(ifindex, 0);
            self.addresses
                .extend(address.or_else(|_| packet_socket::address(0, 0)));
            let base = bytes.as_ptr().cast_mut().cast();
            self.parts.push(libc::iovec {
                iov_base: base,
                iov_len: bytes.len(),
            });
        }
        for (address, part) in self.addresses.iter_mut().zip(&mut self.parts) {
            // SAFETY: msghdr is made of integers and pointers; zero is valid for all of them.
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            if address.sll_ifindex.cast_unsigned() != self.ifindex {
                message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
                message.msg_hdr.msg_namelen =
                    mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            }
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        let mut done = 0;
        for run in 0..self.runs.len() {
            let (headed, length) = self.runs[run];
            let end = done + length;
            while done < end {
                match self.send_some(headed, done..end) {
                    Ok(sent) => done += sent.max(1),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => {
                        refused(done, error);
                        done += 1;
                    }
                }
            }
        }
    }

    fn send_some(&mut self, headed: bool, which: Range<usize>) -> io::Result<usize> {
        let socket = if headed { &self.headed } else { &self.plain };
        let messages = &mut self.messages[which];
        // SAFETY: the messages point into `addresses` and `parts`, filled in this call of `send`
        // and not touched since, and those at frames that `send`'s caller lends for its length;
        // the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| Error::last_os_error())
    }
}
