//! One client of one VIP:port, and its real.

use lbcore::id::{Epoch, RealId, ServiceId};
use lbcore::net::Addr;
use lbcore::proxyproto::Header;
use lbcore::time::Tick;
use socket2::Socket;
use std::net::SocketAddr;

/// Whose session it is. A listener's number names a VIP:port while it has sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SessionKey {
    pub client: Addr,
    pub port: u16,
    pub listener: u16,
}

/// A session.
#[derive(Debug)]
pub(super) struct Session {
    /// Connected to the real.
    pub socket: Socket,
    pub service: ServiceId,
    pub real: RealId,
    pub epoch: Epoch,
    /// The client, with the scope an answer to a link-local address needs.
    pub client: SocketAddr,
    /// Where the real was dialled.
    pub server: SocketAddr,
    /// What goes before every datagram to the real.
    pub header: Option<Box<Header>>,
    /// Payload taken to the real, and to the client.
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub began: Tick,
    /// Whether it was counted in for its client's address.
    pub counts_for_source: bool,
    /// Whether the real ever answered.
    pub answered: bool,
}
