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
use lbcore::proxyproto::{self, Malformed, Reading, Told};
use lbcore::time::Tick;
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;

/// A balancer sends its header with the connection; who has not sent it whole after this long has
/// none.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);

/// Bad headers are told in one line for so long, in milliseconds.
const QUIET_MS: u64 = 1000;

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
                if let Told::Addresses {
                    client,
                    destination,
                } = told
                {
                    connection.key.client = client.ip().into();
                    connection.key.client_port = client.port();
                    connection.told = Some(destination);
                }
                if self.count_source(key, scene) {
                    self.dial(key, scene);
                }
            }
            Ok(None) if flags.intersects(Flags::RDHUP | Flags::HUP | Flags::ERR) => {
                self.refuse(key, &NoHeader::CutShort, scene);
            }
            Ok(None) => {}
            Err(reason) => self.refuse(key, &reason, scene),
        }
    }

    fn refuse(&mut self, key: Key, reason: &NoHeader, scene: &Scene<'_>) {
        let outcome = match reason {
            NoHeader::Reset => Outcome::ClientReset,
            NoHeader::CutShort | NoHeader::Malformed(_) => Outcome::BadHeader,
        };
        if outcome == Outcome::BadHeader
            && let Some(connection) = self.connections.get_mut(key)
            && let Some(count) = self.bad_headers.tell(scene.now)
        {
            let from = &connection.key;
            tracing::warn!(
                "{count} connections without a PROXY header; the last from {} to {}: {reason}",
                SocketAddr::new(from.client.ip(), from.client_port),
                from.service,
            );
        }
        self.end(key, outcome, scene);
    }
}

/// Why there is no header.
#[derive(Debug, PartialEq, Eq, Error)]
enum NoHeader {
    #[error("it ended before its header was whole")]
    CutShort,
    #[error("reset")]
    Reset,
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Counts what would flood the log.
#[derive(Debug, Default)]
pub(super) struct Complaints {
    told: Option<Tick>,
    untold: u64,
}

impl Complaints {
    /// One more: how many there are to tell now, or `None` within [`QUIET_MS`] of the last time.
    fn tell(&mut self, now: Tick) -> Option<u64> {
        self.untold += 1;
        if self.told.is_some_and(|told| now.since(told) < QUIET_MS) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

/// Takes a whole header off the socket, and no byte more; `None` if it is not whole yet.
fn take_header(connection: &Connection, tools: &mut Tools) -> Result<Option<Told>, NoHeader> {
    let seen = &mut tools.buffer[..proxyproto::MAX_HEADER];
    let n = match recv(&connection.client, &mut *seen, RecvFlags::PEEK) {
        Ok((_, 0)) => return Err(NoHeader::CutShort),
        Ok((_, n)) => n,
        Err(Errno::AGAIN) => return Ok(None),
        Err(_) => return Err(NoHeader::Reset),
    };
    match proxyproto::read(&seen[..n], Protocol::Tcp)? {
        Reading::NeedMore { .. } => Ok(None),
        Reading::Done { header_len, told } => {
            match recv(
                &connection.client,
                &mut seen[..header_len],
                RecvFlags::empty(),
            ) {
                Ok((_, taken)) if taken == header_len => Ok(Some(told)),
                _ => Err(NoHeader::Reset),
            }
        }
    }
}

/// Puts the header that the real is owed at the beginning of the worker's buffer, and says how long
/// it is.
pub(super) fn owed(how: SendProxy, connection: &Connection, buffer: &mut [u8]) -> usize {
    let key = &connection.key;
    let client = SocketAddr::new(key.client.ip(), key.client_port);
    let vip = SocketAddr::new(key.service.vip.ip(), key.service.port);
    // Who was told it passes it on: PROXY protocol, section 3.
    let dialled = connection.told.unwrap_or(vip);
    let header = match how {
        SendProxy::Off => return 0,
        SendProxy::V1 => proxyproto::write_v1(client, dialled),
        SendProxy::V2 => proxyproto::write_v2(client, dialled, Protocol::Tcp),
    };
    buffer[..header.len()].copy_from_slice(&header);
    header.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_bad_headers_is_a_line_a_second_and_none_is_left_uncounted() {
        let mut complaints = Complaints::default();
        assert_eq!(complaints.tell(Tick(0)), Some(1));
        assert_eq!(complaints.tell(Tick(0)), None);
        assert_eq!(complaints.tell(Tick(999)), None);
        assert_eq!(complaints.tell(Tick(1000)), Some(3));
        assert_eq!(complaints.tell(Tick(9000)), Some(1));
    }
}
