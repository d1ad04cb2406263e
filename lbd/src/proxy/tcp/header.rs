//! PROXY protocol headers: read from balancers in front of us before anything else, sent to reals
//! with the first bytes.

use super::connection::{Connection, READING};
use super::direction::Tools;
use super::{Scene, Tcp};
use crate::live::Outcome;
use crate::proxy::poller::{Flags, Token};
use crate::proxy::slab::Key;
use lbcore::config::SendProxy;
use lbcore::net::Protocol;
use lbcore::proxyproto::{self, Reading, Told};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::net::SocketAddr;
use std::time::Duration;

/// A balancer sends its header with the connection; who has not sent it whole after this long has
/// none.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

impl Tcp {
    /// A connection whose client speaks PROXY: waits for the header if it is not there yet.
    pub(super) fn greet(&mut self, key: Key, scene: &Scene<'_>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let token = Token::Client(key);
        connection.client_watched = scene.poller.add(&connection.client, token, READING).is_ok();
        if !connection.client_watched {
            return self.end(key, Outcome::OwnTrouble, scene);
        }
        self.greeted(key, Flags::empty(), scene);
    }

    /// More of the header may have come. What came so far stays in the socket until the header is
    /// whole, so nothing is kept here; every further byte is an edge of its own.
    pub(super) fn greeted(&mut self, key: Key, flags: Flags, scene: &Scene<'_>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match take_header(connection, &mut self.tools) {
            Ok(Some(told)) => {
                if let Told::Addresses { client, .. } = told {
                    connection.key.client = client.ip().into();
                    connection.key.client_port = client.port();
                }
                if self.count_source(key, scene) {
                    self.dial(key, scene);
                }
            }
            Ok(None) if flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR) => {
                self.end(key, Outcome::BadHeader, scene);
            }
            Ok(None) => {}
            Err(outcome) => self.end(key, outcome, scene),
        }
    }
}

/// Takes a whole header off the socket, and no byte more; `None` if it is not whole yet.
fn take_header(connection: &Connection, tools: &mut Tools) -> Result<Option<Told>, Outcome> {
    let seen = &mut tools.buffer[..proxyproto::MAX_HEADER];
    let n = match recv(&connection.client, &mut *seen, RecvFlags::PEEK) {
        Ok((_, 0)) => return Err(Outcome::BadHeader),
        Ok((_, n)) => n,
        Err(Errno::AGAIN) => return Ok(None),
        Err(_) => return Err(Outcome::ClientReset),
    };
    match proxyproto::read(&seen[..n], Protocol::Tcp) {
        Ok(Reading::NeedMore { .. }) => Ok(None),
        Ok(Reading::Done { header_len, told }) => {
            match recv(
                &connection.client,
                &mut seen[..header_len],
                RecvFlags::empty(),
            ) {
                Ok((_, taken)) if taken == header_len => Ok(Some(told)),
                _ => Err(Outcome::ClientReset),
            }
        }
        Err(_) => Err(Outcome::BadHeader),
    }
}

/// Puts the header that the real is owed at the beginning of the worker's buffer, and says how long
/// it is.
pub(super) fn owed(how: SendProxy, connection: &Connection, buffer: &mut [u8]) -> usize {
    let key = &connection.key;
    let client = SocketAddr::new(key.client.ip(), key.client_port);
    let vip = SocketAddr::new(key.service.vip.ip(), key.service.port);
    let header = match how {
        SendProxy::Off => return 0,
        SendProxy::V1 => proxyproto::write_v1(client, vip),
        SendProxy::V2 => proxyproto::write_v2(client, vip, Protocol::Tcp),
    };
    buffer[..header.len()].copy_from_slice(&header);
    header.len()
}
