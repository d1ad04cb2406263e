//! Listeners, and who is let in. Where there is no room (descriptors, the service's bound, a real's
//! bound), nobody is accepted: the listen queue is the waiting room.

use super::connection::{Connection, Phase};
use super::{DESCRIPTORS, Scene, Tcp};
use crate::live::Outcome;
use crate::proxy::poller::{Flags, Token};
use crate::proxy::slab::Key;
use crate::sys::transparent;
use lbcore::net::{FlowKey, ServiceKey};
use rustix::io::Errno;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

/// Connections the kernel keeps for us, each worker and endpoint; cut to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// Connections accepted in a turn before others have theirs.
const ACCEPTS: usize = 16;

/// One listener.
#[derive(Debug)]
pub(super) struct Listener {
    socket: Socket,
    key: ServiceKey,
    paused: bool,
}

/// What came of accepting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepted {
    One,
    /// The queue is empty.
    None,
    /// There may be more, but no room.
    NoRoom,
}

impl Tcp {
    /// Listens on exactly these. Says what could not be had.
    pub fn listen(&mut self, wanted: Vec<ServiceKey>, scene: &Scene<'_>) -> Vec<String> {
        for at in 0..self.listeners.len() {
            let listener = &self.listeners[at];
            if listener.as_ref().is_some_and(|l| !wanted.contains(&l.key)) {
                // Who is in the queue already was promised a connection.
                while self.accept(at, scene) == Accepted::One {}
                self.listeners[at] = None;
            }
        }
        self.wanted = wanted;
        self.open_missing(scene)
    }

    /// Tries again what could not be had; `None` if there is nothing.
    pub fn retry_listeners(&mut self, scene: &Scene<'_>) -> Option<Vec<String>> {
        let open = self.listeners.iter().flatten().count();
        (open < self.wanted.len()).then(|| self.open_missing(scene))
    }

    fn open_missing(&mut self, scene: &Scene<'_>) -> Vec<String> {
        let mut trouble = Vec::new();
        for key in self.wanted.clone() {
            if self.listeners.iter().flatten().any(|l| l.key == key) {
                continue;
            }
            if let Err(error) = self.open(key, scene) {
                trouble.push(format!("{key}: {error}"));
            }
        }
        trouble
    }

    fn open(&mut self, key: ServiceKey, scene: &Scene<'_>) -> io::Result<()> {
        let socket = transparent::listen(SocketAddr::new(key.vip.ip(), key.port), BACKLOG)?;
        let at = match self.listeners.iter().position(Option::is_none) {
            Some(at) => at,
            None => {
                self.listeners.push(None);
                self.listeners.len() - 1
            }
        };
        let token = Token::Listener(u32::try_from(at).map_err(io::Error::other)?);
        scene.poller.add(&socket, token, Flags::IN)?;
        self.listeners[at] = Some(Listener {
            socket,
            key,
            paused: false,
        });
        Ok(())
    }

    /// Somebody calls.
    pub fn call(&mut self, at: u32, scene: &Scene<'_>) {
        for _ in 0..ACCEPTS {
            match self.accept(at as usize, scene) {
                Accepted::One => {}
                Accepted::None => return,
                Accepted::NoRoom => return self.pause(at, scene),
            }
        }
    }

    fn accept(&mut self, at: usize, scene: &Scene<'_>) -> Accepted {
        let Some(Some(listener)) = self.listeners.get(at) else {
            return Accepted::None;
        };
        let key = listener.key;
        let Some((index, service)) = scene.table.service(&key) else {
            // The snapshot that names it comes after the plan, or went before it.
            return Accepted::NoRoom;
        };
        let (id, bounds) = (service.id, &service.proxy);
        // Who was refused by a real waits for others; to those who come now that real may answer again.
        let parked = |c: &Connection| c.key.service == key && c.tried.is_empty();
        for place in &self.parked {
            if self.connections.get_mut(*place).is_some_and(|c| parked(c)) {
                return Accepted::NoRoom;
            }
        }
        if !scene.shared.gates.enter(id, bounds.max_connections) {
            return Accepted::NoRoom;
        }
        if !scene.shared.budget.descriptors().take(DESCRIPTORS) {
            scene.shared.gates.leave(id);
            return Accepted::NoRoom;
        }
        let give_back = || {
            scene.shared.budget.descriptors().give(DESCRIPTORS);
            scene.shared.gates.leave(id);
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let (socket, peer) = match acceptfrom_with(&listener.socket, flags) {
            Ok((socket, peer)) => (socket, peer.and_then(|p| SocketAddr::try_from(p).ok())),
            Err(error) => {
                give_back();
                return match error {
                    Errno::AGAIN => Accepted::None,
                    // It listens no more: somebody has destroyed it (`ss -K`). A new one is made.
                    Errno::INVAL => {
                        self.listeners[at] = None;
                        Accepted::None
                    }
                    Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Accepted::NoRoom,
                    // accept(2): errors of the network belong to that one connection.
                    _ => Accepted::One,
                };
            }
        };
        let Some(peer) = peer else {
            give_back();
            return Accepted::One;
        };
        self.admit(socket, peer, key, index, scene);
        Accepted::One
    }

    /// A client is in.
    fn admit(
        &mut self,
        socket: OwnedFd,
        peer: SocketAddr,
        vip: ServiceKey,
        index: usize,
        scene: &Scene<'_>,
    ) {
        let service = &scene.table.services[index];
        let key = FlowKey {
            client: peer.ip().into(),
            client_port: peer.port(),
            service: vip,
        };
        let mine = scene.mine();
        mine.service(service.id).begun.add(1);
        mine.counters.service(service.id).new_flows.add(1);
        let mut connection = Connection::new(socket, key, service.id, scene.now);
        if service.proxy.accept_proxy {
            connection.phase = Phase::Header;
            let place = self.connections.insert(connection);
            let trusted = &service.proxy.trusted_sources;
            if trusted.iter().any(|prefix| prefix.contains(peer.ip())) {
                self.greet(place, scene);
            } else {
                self.end(place, Outcome::Untrusted, scene);
            }
            return;
        }
        let place = self.connections.insert(connection);
        if self.count_source(place, scene) {
            self.dial(place, scene);
        }
    }

    /// Counts the connection against its client's bound, where there is one; false if that is
    /// reached, and the connection has ended.
    pub(super) fn count_source(&mut self, key: Key, scene: &Scene<'_>) -> bool {
        let Some(connection) = self.connections.get_mut(key) else {
            return false;
        };
        let most = scene
            .table
            .service(&connection.key.service)
            .map_or(0, |(_, service)| service.proxy.max_connections_per_source);
        if most == 0 {
            return true;
        }
        let client = connection.key.client;
        let gates = &scene.shared.gates;
        connection.source_counted = gates.enter_source(connection.service, client, most);
        if !connection.source_counted {
            self.end(key, Outcome::PerSource, scene);
            return false;
        }
        true
    }

    /// Leaves callers in the queue until there is room.
    fn pause(&mut self, at: u32, scene: &Scene<'_>) {
        let Some(Some(listener)) = self.listeners.get_mut(at as usize) else {
            return;
        };
        if listener.paused {
            return;
        }
        let changed = scene
            .poller
            .change(&listener.socket, Token::Listener(at), Flags::empty());
        if changed.is_ok() {
            listener.paused = true;
            self.paused.push(at);
            // What is given back between the look above and here would wake nobody.
            scene.shared.posts[scene.number].wait_for_room(true);
            self.look_for_room = true;
        }
    }

    /// Looks for room where somebody waits for it, if there may be some.
    pub fn resume(&mut self, scene: &Scene<'_>) {
        if !std::mem::take(&mut self.look_for_room)
            || (self.parked.is_empty() && self.paused.is_empty())
        {
            return;
        }
        scene.shared.posts[scene.number].wait_for_room(true);
        for place in std::mem::take(&mut self.parked) {
            self.dial(place, scene);
        }
        for at in std::mem::take(&mut self.paused) {
            self.wake_listener(at, scene);
        }
        if self.parked.is_empty() && self.paused.is_empty() {
            scene.shared.posts[scene.number].wait_for_room(false);
        }
    }

    fn wake_listener(&mut self, at: u32, scene: &Scene<'_>) {
        for _ in 0..ACCEPTS {
            match self.accept(at as usize, scene) {
                Accepted::One => {}
                Accepted::None => break,
                Accepted::NoRoom => {
                    if matches!(self.listeners.get(at as usize), Some(Some(_))) {
                        self.paused.push(at);
                    }
                    return;
                }
            }
        }
        if let Some(Some(listener)) = self.listeners.get_mut(at as usize) {
            let token = Token::Listener(at);
            listener.paused = scene
                .poller
                .change(&listener.socket, token, Flags::IN)
                .is_err();
            if listener.paused {
                self.paused.push(at);
            }
        }
    }
}
