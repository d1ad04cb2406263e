//! Netlink multicast with its limits kept: what the kernel tells of its own accord waits in the
//! socket's buffer, which is bounded; when it overflows the kernel says so (ENOBUFS) and the
//! reader looks at everything again. Questions go through `rtnetlink`.

use rtnetlink::sys::{AsyncSocket, AsyncSocketExt, SocketAddr, TokioSocket};
use std::io;

/// Netlink family of links, addresses, routes and neighbours.
pub const ROUTE: isize = libc::NETLINK_ROUTE as isize;
/// Netlink family of netfilter.
pub const NETFILTER: isize = libc::NETLINK_NETFILTER as isize;

/// The kernel's datagrams are at most 32 KiB (commit d35c99ff77ec).
const DATAGRAM_MAX: usize = 64 * 1024;

/// What may wait in the socket: some thousand messages, so that a burst (an interface with many
/// routes goes down) rarely costs a full look around. The kernel caps it at `net.core.rmem_max`.
const RECEIVE_BUFFER: usize = 1 << 20;

/// A handle for questions and changes to the kernel's routing side. The connection's task ends
/// when the handle and its clones are gone.
pub fn rtnetlink() -> io::Result<rtnetlink::Handle> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    Ok(handle)
}

/// As [`rtnetlink`], and the kernel sends of a dump only what the question asks for
/// (NETLINK_GET_STRICT_CHK, since Linux 4.20; older ones send all): a router's million routes are
/// not read for one. It is as strict about questions that carry more than they need.
pub fn rtnetlink_strict() -> io::Result<rtnetlink::Handle> {
    let (mut connection, handle, _) = rtnetlink::new_connection()?;
    let socket = connection.socket_mut().socket_mut();
    socket.set_netlink_get_strict_chk(true).ok();
    tokio::spawn(connection);
    Ok(handle)
}

/// The kernel's refusals keep their error number; a connection that is gone is a broken pipe.
pub fn to_io(error: rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        rtnetlink::Error::RequestFailed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

/// A socket that hears some multicast groups.
pub struct Multicast {
    socket: TokioSocket,
    buffer: Vec<u8>,
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub enum News<'a> {
    /// Messages: see [`messages`].
    Datagram(&'a [u8]),
    /// The buffer overflowed: an unknown number of messages is lost.
    Overrun,
}

impl Multicast {
    /// Opens a socket in the calling thread's network namespace and joins `groups`
    /// (`RTNLGRP_*`, `NFNLGRP_*`).
    pub fn open(family: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = TokioSocket::new(family)?;
        let raw = socket.socket_mut();
        raw.set_rx_buf_sz(RECEIVE_BUFFER as libc::c_int)?;
        raw.bind(&SocketAddr::new(0, 0))?;
        for &group in groups {
            raw.add_membership(group)?;
        }
        Ok(Self {
            socket,
            buffer: Vec::with_capacity(DATAGRAM_MAX),
        })
    }

    /// Waits for the next datagram. Cancel safe. An error means the socket is lost: open another
    /// and look at everything again.
    pub async fn next(&mut self) -> io::Result<News<'_>> {
        self.buffer.clear();
        let result = self.socket.recv(&mut self.buffer).await;
        self.news(result)
    }

    /// The next datagram if one waits already. It asks the socket itself rather than the runtime,
    /// which may not have heard yet.
    pub fn try_next(&mut self) -> io::Result<Option<News<'_>>> {
        self.buffer.clear();
        match self
            .socket
            .socket_ref()
            .recv(&mut self.buffer, libc::MSG_DONTWAIT)
        {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            other => self.news(other.map(|_| ())).map(Some),
        }
    }

    /// Throws away what waits: the caller is about to look at everything anyway.
    pub fn drain(&mut self) -> io::Result<()> {
        while self.try_next()?.is_some() {}
        Ok(())
    }

    fn news(&self, result: io::Result<()>) -> io::Result<News<'_>> {
        match result {
            Ok(()) => Ok(News::Datagram(&self.buffer)),
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => Ok(News::Overrun),
            Err(error) => Err(error),
        }
    }
}

/// The messages of a datagram as (type, payload); stops at the first malformed length.
pub fn messages(datagram: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = 16;
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = u32::from_ne_bytes(rest.get(..4)?.try_into().ok()?) as usize;
        let kind = u16::from_ne_bytes(rest.get(4..6)?.try_into().ok()?);
        let payload = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The attributes of a message body as (type without flags, value); stops at the first malformed
/// length.
pub fn attributes(body: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const HEADER: usize = 4;
    const TYPE_MASK: u16 = 0x3fff;
    let mut rest = body;
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(rest.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(rest.get(2..4)?.try_into().ok()?);
        let value = rest.get(HEADER..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & TYPE_MASK, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn message(kind: u16, payload: &[u8]) -> Vec<u8> {
        let mut bytes = ((16 + payload.len()) as u32).to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10]);
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn reads_padded_messages_one_after_the_other() {
        let datagram = [message(16, b"abc"), message(17, b""), message(18, b"defg")].concat();
        let read: Vec<_> = messages(&datagram).collect();
        assert_eq!(read, [(16, &b"abc"[..]), (17, b""), (18, b"defg")]);
    }

    #[test]
    fn stops_at_a_length_that_cannot_be() {
        let mut datagram = [message(16, b"abcd"), message(17, b"efgh")].concat();
        datagram[20..24].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert_eq!(messages(&datagram).count(), 1);
        datagram[20..24].copy_from_slice(&0u32.to_ne_bytes());
        assert_eq!(messages(&datagram).count(), 1);
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parsers_panic_or_run_on(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).count() <= bytes.len() / 16);
            prop_assert!(attributes(&bytes).count() <= bytes.len() / 4);
        }
    }
}
