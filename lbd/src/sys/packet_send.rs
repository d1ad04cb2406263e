//! Many frames to the kernel with one system call (sendmmsg(2)).

use super::packet_socket::{self, PacketSocket};
use std::io::{self, Error};
use std::mem;
use std::os::fd::AsRawFd;

/// A frame to send.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'a> {
    /// Egress interface.
    pub ifindex: u32,
    /// The virtio header, and the frame right after it.
    pub bytes: &'a [u8],
}

/// A sending socket and the message arrays it fills anew for every batch.
#[derive(Debug)]
pub struct FrameSender {
    socket: PacketSocket,
    addresses: Vec<libc::sockaddr_ll>,
    parts: Vec<libc::iovec>,
    messages: Vec<libc::mmsghdr>,
}

// SAFETY: the pointers in the arrays are only followed during `send`, which fills them first.
unsafe impl Send for FrameSender {}

impl FrameSender {
    /// Sends through `socket`, which carries virtio headers.
    pub fn new(socket: PacketSocket) -> Self {
        FrameSender {
            socket,
            addresses: Vec::new(),
            parts: Vec::new(),
            messages: Vec::new(),
        }
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
        for Outgoing { ifindex, bytes } in frames {
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
            message.msg_hdr.msg_name = std::ptr::from_mut(address).cast();
            message.msg_hdr.msg_namelen = mem::size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            message.msg_hdr.msg_iov = part;
            message.msg_hdr.msg_iovlen = 1;
            self.messages.push(message);
        }
        let mut done = 0;
        while done < self.messages.len() {
            match self.send_from(done) {
                Ok(sent) => done += sent.max(1),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    refused(done, error);
                    done += 1;
                }
            }
        }
    }

    fn send_from(&mut self, first: usize) -> io::Result<usize> {
        let messages = &mut self.messages[first..];
        // SAFETY: the messages point into `addresses` and `parts`, filled in this call of `send`
        // and not touched since, and those at frames that `send`'s caller lends for its length;
        // the kernel only reads them.
        let sent = unsafe {
            libc::sendmmsg(
                self.socket.as_raw_fd(),
                messages.as_mut_ptr(),
                messages.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).map_err(|_| Error::last_os_error())
    }
}
