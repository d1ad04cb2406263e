//! From the client to a real: the director's pick, dialled from the client's address or ours; when
//! it refuses or keeps silent, another, before the client notices anything.

use super::connection::{BOTH, Phase};
use super::{Connection, Scene, Tcp, header, release_real, sight};
use crate::live::Outcome;
use crate::proxy::poller::{Flags, Token};
use crate::proxy::slab::Key;
use crate::sys::transparent;
use lbcore::config::{self, SendProxy, Source};
use lbcore::director::{Caller, Connect, Unconnected, connect};
use lbcore::net::{Protocol, ServiceKey};
use lbcore::service::ServiceTable;
use rustix::io::Errno;
use rustix::net::{getsockname, sockopt};
use socket2::Domain;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::Instant;

/// Why a real could not be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    /// It, or the way to it, refused: counts as a try.
    Refused,
    /// No port is left between this client and this real; another real has ports of its own.
    NoPorts,
    /// Our own trouble: no other real would fare better.
    Own,
}

impl Tcp {
    /// Dials the next real for this client.
    pub(super) fn dial(&mut self, key: Key, scene: &Scene<'_>) {
        loop {
            let Some(connection) = self.connections.get_mut(key) else {
                return;
            };
            let Some((index, service)) = scene.table.service(&connection.key.service) else {
                return self.end(key, Outcome::NoReal, scene);
            };
            let caller = Caller {
                table: scene.table,
                service: index,
                key: &connection.key,
                tried: &connection.tried,
                loads: &scene.shared.live.loads,
            };
            let pick = match connect(&caller, &mut self.cursors) {
                Ok(pick) => pick,
                Err(Unconnected::Full) => return self.park(key, scene),
                Err(Unconnected::Maintenance) => {
                    return self.end(key, Outcome::Maintenance, scene);
                }
                Err(Unconnected::OwnAddress) => {
                    return self.end(key, Outcome::OwnAddress, scene);
                }
                Err(Unconnected::NoReal) => {
                    let why = connection.why;
                    return self.end(key, why, scene);
                }
            };
            if leads_back(scene, pick.to) {
                connection.why = Outcome::OwnAddress;
                connection.tried.push(pick.real);
                continue;
            }
            let Ok(source) = source(&service.proxy, connection.key.client.ip(), pick.to) else {
                return self.end(key, Outcome::OtherFamily, scene);
            };
            let loads = &scene.shared.live.loads;
            if !loads.add_below(pick.real, pick.max_connections) {
                continue; // Another worker was quicker; the director will see it is full.
            }
            connection.real = Some((pick.real, pick.epoch, pick.to));
            match reach(connection, key, source, &pick, scene) {
                Ok(()) => {
                    self.dialing.push(key);
                    return;
                }
                Err(failed) => {
                    if !self.failed(key, failed, scene) {
                        return;
                    }
                }
            }
        }
    }

    /// A try was in vain; false if it was the last, and the connection has ended.
    fn failed(&mut self, key: Key, failed: Failed, scene: &Scene<'_>) -> bool {
        let why = match failed {
            Failed::Refused => Outcome::ConnectFailed,
            Failed::NoPorts => Outcome::NoPorts,
            Failed::Own => Outcome::OwnTrouble,
        };
        self.in_vain(key, why, scene)
    }

    /// As [`Tcp::failed`], for whatever reason; only what the real itself is to blame for counts
    /// against `retries`.
    pub(super) fn in_vain(&mut self, key: Key, why: Outcome, scene: &Scene<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        connection.phase = Phase::Waiting;
        connection.why = why;
        connection.tried.extend(connection.real.map(|(id, ..)| id));
        release_real(connection, scene);
        if matches!(why, Outcome::ConnectFailed | Outcome::ConnectTimeout) {
            connection.failures += 1;
        }
        let retries = scene
            .table
            .service(&connection.key.service)
            .map_or(0, |(_, service)| service.proxy.retries);
        if why == Outcome::OwnTrouble || connection.failures > retries {
            self.end(key, why, scene);
            return false;
        }
        true
    }

    /// The poller reports on a socket that is being connected.
    pub(super) fn dialled(&mut self, key: Key, flags: Flags, scene: &Scene<'_>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        let Phase::Connecting(socket, since) = &connection.phase else {
            return;
        };
        if flags.intersects(Flags::ERR | Flags::HUP) || is_itself(socket, connection, scene) {
            if self.failed(key, Failed::Refused, scene) {
                self.dial(key, scene);
            }
            return;
        }
        if !flags.contains(Flags::OUT) {
            return;
        }
        if let Some((real, ..)) = connection.real {
            let mine = scene.mine();
            mine.connected(real, since.elapsed());
            mine.counters.real(real).new_flows.add(1);
        }
        sight(connection, None).show(scene);
        let send_proxy = scene
            .table
            .service(&connection.key.service)
            .map_or(SendProxy::Off, |(_, service)| service.proxy.send_proxy);
        let header = header::owed(send_proxy, connection, &mut self.tools.buffer);
        let step = connection.establish(key, header, &mut self.tools, scene.poller);
        self.follow(key, step, scene);
        let reading = Flags::IN | Flags::RDHUP | Flags::PRI;
        if flags.intersects(reading) {
            // It spoke first.
            self.real(key, flags & reading, scene);
        }
    }

    /// Gives up reals that keep silent.
    pub(super) fn give_up_the_silent(&mut self, scene: &Scene<'_>) {
        let mut late = Vec::new();
        let (connections, table) = (&mut self.connections, scene.table);
        self.dialing.retain(|key| {
            let Some(connection) = connections.get_mut(*key) else {
                return false;
            };
            match is_late(connection, table) {
                None => false,
                Some(false) => true,
                Some(true) => {
                    late.push(*key);
                    false
                }
            }
        });
        for key in late {
            // Who was refused by one real stands there for the next one, too.
            let connection = self.connections.get_mut(key);
            if connection.is_none_or(|c| is_late(c, scene.table) != Some(true)) {
                continue;
            }
            if self.in_vain(key, Outcome::ConnectTimeout, scene) {
                self.dial(key, scene);
            }
        }
    }

    /// The client waits until a real has room.
    fn park(&mut self, key: Key, scene: &Scene<'_>) {
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        connection.why = Outcome::Full;
        if !connection.client_watched {
            let watched = scene.poller.add(
                &connection.client,
                Token::Client(key),
                super::connection::READING,
            );
            connection.client_watched = watched.is_ok();
        }
        self.parked.push(key);
        // What is given back between the pick and here would wake nobody.
        scene.shared.posts[scene.number].wait_for_room(true);
        self.look_for_room = true;
    }
}

/// No address of the real's family is the client's.
struct OtherFamily;

/// Where the real at `to` is dialled from: the client's address, or ours (`None`), as the service says.
/// A client that a header told of may be of the real's other family. A real that is sent a header
/// reads its address there, and is dialled from ours.
///
/// # Errors
/// When the real could not see the client at all.
fn source(
    proxy: &config::Proxy,
    client: IpAddr,
    to: SocketAddr,
) -> Result<Option<IpAddr>, OtherFamily> {
    match proxy.source {
        Source::OwnAddress => Ok(None),
        Source::Client if client.is_ipv4() == to.is_ipv4() => Ok(Some(client)),
        Source::Client if proxy.send_proxy != SendProxy::Off => Ok(None),
        Source::Client => Err(OtherFamily),
    }
}

/// Whether the real it is being connected to has kept silent for too long; `None` if there is none.
fn is_late(connection: &Connection, table: &ServiceTable) -> Option<bool> {
    let Phase::Connecting(_, since) = connection.phase else {
        return None;
    };
    let service = table.service(&connection.key.service);
    let timeout = service.map(|(_, service)| service.proxy.connect_timeout);
    Some(timeout.is_none_or(|timeout| since.elapsed() >= timeout))
}

/// Whether who is dialled there is ourselves: a VIP of ours.
fn leads_back(scene: &Scene<'_>, to: SocketAddr) -> bool {
    let key = ServiceKey {
        vip: to.ip().into(),
        port: to.port(),
        protocol: Protocol::Tcp,
    };
    scene.table.service(&key).is_some()
}

/// Whether the socket is connected to itself: dialling a port of our own that nobody listens on can
/// meet the very port it was given (a simultaneous open, RFC 9293, 3.5).
fn is_itself(socket: &OwnedFd, connection: &Connection, scene: &Scene<'_>) -> bool {
    let Some((.., to)) = connection.real else {
        return false;
    };
    let links = scene.shared.live.links();
    let ours = |ip: IpAddr| links.iter().any(|l| l.addresses.iter().any(|a| a.0 == ip));
    (to.ip().is_loopback() || ours(to.ip()))
        && getsockname(socket)
            .ok()
            .and_then(|local| SocketAddr::try_from(local).ok())
            == Some(to)
}

/// Begins to connect to the picked real.
fn reach(
    connection: &mut Connection,
    key: Key,
    source: Option<IpAddr>,
    pick: &Connect,
    scene: &Scene<'_>,
) -> Result<(), Failed> {
    let since = Instant::now();
    let socket: OwnedFd = transparent::dial_from(source, Domain::for_address(pick.to))
        .map_err(|error| failure(&error))?
        .into();
    // The handshake's last acknowledgement waits for the client's first bytes and goes with them,
    // one packet instead of two: `Connection::establish` sends it if there are none. Where this
    // fails, it is two.
    let _ = sockopt::set_tcp_quickack(&socket, false);
    match rustix::net::connect(&socket, &pick.to) {
        Ok(()) | Err(Errno::INPROGRESS) => {}
        Err(error) => return Err(failure(&error.into())),
    }
    scene
        .poller
        .add(&socket, Token::Real(key), BOTH)
        .map_err(|_| Failed::Own)?;
    connection.phase = Phase::Connecting(socket, since);
    Ok(())
}

fn failure(error: &io::Error) -> Failed {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ADDRNOTAVAIL | Errno::ADDRINUSE) => Failed::NoPorts,
        Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM | Errno::PERM) => {
            Failed::Own
        }
        _ => Failed::Refused,
    }
}
