//! A raw socket on `eth0` of a namespace: sends frames byte for byte, and sees all that arrive.

use crate::netns::Netns;
use nix::ifaddrs::getifaddrs;
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Room for a burst of small frames before anybody reads; the kernel cuts it to what it allows.
const RECEIVE_BUFFER: usize = 32 << 20;

/// Sends and receives whole frames on `eth0`.
#[derive(Debug)]
pub struct RawSocket {
    socket: Socket,
}

impl RawSocket {
    /// Opens one in `netns`. It does not see what this host sends.
    ///
    /// # Panics
    /// When the kernel refuses: CAP_NET_RAW is needed.
    pub fn open(netns: &Netns) -> RawSocket {
        let socket = netns.run(|| {
            let all = Protocol::from(i32::from((libc::ETH_P_ALL as u16).to_be()));
            let socket = Socket::new(Domain::PACKET, Type::RAW, Some(all))?;
            socket.attach_filter(&NOT_OUTGOING)?;
            let eth0 = getifaddrs()?
                .filter(|entry| entry.interface_name == "eth0")
                .find_map(|entry| entry.address?.as_link_addr().copied())
                .ok_or_else(|| io::Error::other("no eth0"))?;
            // Its protocol is zero, which keeps the socket's own.
            nix::sys::socket::bind(socket.as_raw_fd(), &eth0)?;
            let _ = nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::RcvBufForce,
                &RECEIVE_BUFFER,
            );
            io::Result::Ok(socket)
        });
        RawSocket {
            socket: socket.expect("a raw socket on eth0"),
        }
    }

    /// Sends one frame.
    ///
    /// # Errors
    /// What the kernel says: EMSGSIZE above the MTU, EINVAL below 14 bytes, ENOBUFS when the
    /// queue is full.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(|_| ())
    }

    /// The next frame, if one comes within `limit`.
    ///
    /// # Panics
    /// When the socket is of no use any more.
    pub fn receive(&self, limit: Duration) -> Option<Vec<u8>> {
        // A zero timeout would wait for ever.
        let limit = limit.max(Duration::from_millis(1));
        self.socket
            .set_read_timeout(Some(limit))
            .expect("a receive timeout");
        let mut buffer = vec![0; 65_536 + 64];
        match (&self.socket).read(&mut buffer) {
            Ok(count) => {
                buffer.truncate(count);
                Some(buffer)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => None,
            Err(error) => panic!("raw socket: {error}"),
        }
    }

    /// The first frame within `limit` that `wanted` accepts.
    pub fn receive_where(
        &self,
        limit: Duration,
        mut wanted: impl FnMut(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let deadline = Instant::now() + limit;
        while let Some(left) = deadline.checked_duration_since(Instant::now()) {
            match self.receive(left) {
                Some(frame) if wanted(&frame) => return Some(frame),
                _ => {}
            }
        }
        None
    }

    /// Every frame that comes until none has for `quiet`.
    pub fn drain(&self, quiet: Duration) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.receive(quiet)).collect()
    }
}

/// Classic BPF: `if pkttype == PACKET_OUTGOING { 0 } else { whole frame }`; see
/// linux/filter.h, `SKF_AD_PKTTYPE`.
const NOT_OUTGOING: [SockFilter; 4] = [
    SockFilter::new(
        (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16,
        0,
        0,
        (libc::SKF_AD_OFF + libc::SKF_AD_PKTTYPE) as u32,
    ),
    SockFilter::new(
        (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        0,
        1,
        libc::PACKET_OUTGOING as u32,
    ),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, 0),
    SockFilter::new((libc::BPF_RET | libc::BPF_K) as u16, 0, 0, u32::MAX),
];
