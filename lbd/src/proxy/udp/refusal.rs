//! A real that has no socket on its port says so by ICMP; the client hears it from the VIP.

use lbcore::net::unreachable;
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;

/// What one worker sends at most a second: Linux itself sends 1,000 ICMP errors a second in all
/// (`net.ipv4.icmp_msgs_per_sec`), and clients that ask again are told again.
const PER_SECOND: u32 = 200;

/// IPPROTO_RAW: what is sent begins with its IP header, and nothing is ever received.
const RAW: i32 = 255;

/// Sends refusals, so many a second.
#[derive(Debug)]
pub(super) struct Refusals {
    v4: Option<Socket>,
    v6: Option<Socket>,
    left: u32,
}

impl Default for Refusals {
    fn default() -> Self {
        Refusals {
            v4: None,
            v6: None,
            left: PER_SECOND,
        }
    }
}

impl Refusals {
    /// Tells `client` that nobody listens on `vip`. An error that gets lost is no loss: the client's
    /// next datagram brings the next.
    pub fn tell(&mut self, client: SocketAddr, vip: SocketAddr) {
        let Some(left) = self.left.checked_sub(1) else {
            return;
        };
        self.left = left;
        let sent = self.send(client, vip);
        if let Err(error) = sent {
            tracing::debug!("{client} does not hear that {vip} is refused: {error}");
        }
    }

    /// A second has passed.
    pub fn refill(&mut self) {
        self.left = PER_SECOND;
    }

    fn send(&mut self, client: SocketAddr, vip: SocketAddr) -> io::Result<()> {
        let Some(packet) = unreachable::port_unreachable(client, vip) else {
            return Ok(());
        };
        let domain = Domain::for_address(client);
        let place = match client {
            SocketAddr::V4(_) => &mut self.v4,
            SocketAddr::V6(_) => &mut self.v6,
        };
        let socket = match place {
            Some(socket) => socket,
            None => place.insert(Socket::new(
                domain,
                Type::RAW.nonblocking(),
                Some(Protocol::from(RAW)),
            )?),
        };
        // The kernel wants no port of a raw IPv6 address.
        let mut to = client;
        to.set_port(0);
        socket.send_to(&packet, &to.into()).map(|_| ())
    }
}
