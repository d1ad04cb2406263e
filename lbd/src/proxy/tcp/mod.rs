//! The TCP connections of one worker: accepted, dialled, relayed, swept.

mod accept;
mod connection;
mod dial;
mod direction;
mod header;
mod pipe;
mod sweep;
#[cfg(test)]
mod tests;

use super::budget::Budget;
use super::list::{Clearing, ConnectionRow, ListAsk};
use super::poller::{Flags, Poller};
use super::shared::Shared;
use super::sight::Sight;
use super::slab::{Key, Slab};
use crate::live::{Outcome, ProxyShared};
use accept::Listener;
use connection::{Connection, Phase, Side, Step};
use direction::Tools;
use header::Complaints;
use lbcore::director::Cursors;
use lbcore::load::Weightiness;
use lbcore::net::ServiceKey;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use pipe::Pipes;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Descriptors of one connection.
const DESCRIPTORS: usize = 2;

/// What surrounds a worker during one turn of its loop.
pub(super) struct Scene<'a> {
    pub poller: &'a Poller,
    pub shared: &'a Shared,
    pub table: &'a ServiceTable,
    pub number: usize,
    pub now: Tick,
}

impl Scene<'_> {
    /// The worker's own counters.
    pub fn mine(&self) -> &ProxyShared {
        &self.shared.live.proxies()[self.number]
    }
}

/// One worker's TCP.
#[derive(Debug)]
pub(super) struct Tcp {
    listeners: Vec<Option<Listener>>,
    wanted: Vec<ServiceKey>,
    connections: Slab<Connection>,
    cursors: Cursors,
    tools: Tools,
    /// Connections that go on when others had their turn.
    again: Vec<Key>,
    /// Connections being dialled; those that are not any more are sorted out at each glance.
    dialing: Vec<Key>,
    /// Connections that wait until a real has room.
    parked: Vec<Key>,
    /// Listeners that do not accept until there is room.
    paused: Vec<u32>,
    /// Headers that were none.
    bad_headers: Complaints,
    /// A connection of this worker ended, or it is time to look again.
    look_for_room: bool,
}

impl Tcp {
    /// For worker `number`.
    pub fn new(number: usize, budget: Arc<Budget>) -> Self {
        Tcp {
            listeners: Vec::new(),
            wanted: Vec::new(),
            connections: Slab::default(),
            cursors: Cursors::new(number),
            tools: Tools::new(Pipes::new(budget)),
            again: Vec::new(),
            dialing: Vec::new(),
            parked: Vec::new(),
            paused: Vec::new(),
            bad_headers: Complaints::default(),
            look_for_room: false,
        }
    }

    /// Whether the loop must not wait.
    pub fn has_more_to_do(&self) -> bool {
        !self.again.is_empty()
    }

    /// Whether something is waited for that is not reported.
    pub fn waits(&self) -> bool {
        !(self.dialing.is_empty() && self.parked.is_empty() && self.paused.is_empty())
    }

    /// Somebody says that there may be room.
    pub fn look_for_room(&mut self) {
        self.look_for_room = true;
    }

    /// Whether no connection is left.
    pub fn is_empty(&self) -> bool {
        self.connections.len() == 0
    }

    /// Something happened to a client's socket.
    pub fn client(&mut self, key: Key, flags: Flags, scene: &Scene<'_>) {
        self.tools.now = scene.now;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.phase {
            Phase::Established(_) => {
                let step = connection.on(Side::Client, flags, key, &mut self.tools, scene.poller);
                self.follow(key, step, scene);
            }
            Phase::Header => self.greeted(key, flags, scene),
            Phase::Waiting | Phase::Connecting(..) => {
                if flags.intersects(Flags::ERR | Flags::HUP) {
                    self.end(key, Outcome::ClientReset, scene);
                }
            }
        }
    }

    /// Something happened to a real's socket.
    pub fn real(&mut self, key: Key, flags: Flags, scene: &Scene<'_>) {
        self.tools.now = scene.now;
        let Some(connection) = self.connections.get_mut(key) else {
            return;
        };
        match connection.phase {
            Phase::Established(_) => {
                let step = connection.on(Side::Real, flags, key, &mut self.tools, scene.poller);
                self.follow(key, step, scene);
            }
            Phase::Connecting(..) => self.dialled(key, flags, scene),
            Phase::Header | Phase::Waiting => {}
        }
    }

    /// Those whose turn ended for fairness go on.
    pub fn go_on(&mut self, scene: &Scene<'_>) {
        self.tools.now = scene.now;
        for key in std::mem::take(&mut self.again) {
            let Some(connection) = self.connections.get_mut(key) else {
                continue;
            };
            connection.queued = false;
            let step = connection.go_on(key, &mut self.tools, scene.poller);
            self.follow(key, step, scene);
        }
    }

    fn follow(&mut self, key: Key, step: Step, scene: &Scene<'_>) {
        match step {
            Step::Wait => {}
            Step::Again => {
                if let Some(connection) = self.connections.get_mut(key)
                    && !std::mem::replace(&mut connection.queued, true)
                {
                    self.again.push(key);
                }
            }
            Step::End(outcome) => self.end(key, outcome, scene),
        }
    }

    /// The one place where connections end.
    fn end(&mut self, key: Key, outcome: Outcome, scene: &Scene<'_>) {
        let Some(mut connection) = self.connections.remove(key) else {
            return;
        };
        self.tools.now = scene.now;
        self.count_bytes(&mut connection, scene);
        sight(&connection, Some(outcome)).show(scene);
        release_real(&mut connection, scene);
        let (service, client) = (connection.service, connection.key.client);
        if connection.source_counted {
            scene.shared.gates.leave_source(service, client);
        }
        scene.mine().service(service).ended(outcome).add(1);
        connection.close(outcome, &mut self.tools);
        scene.shared.budget.descriptors().give(DESCRIPTORS);
        scene.shared.gates.leave(service);
        scene.shared.room(scene.number);
        self.look_for_room = true;
    }

    /// Counts what moved since the last look; false if nothing did.
    fn count_bytes(&mut self, connection: &mut Connection, scene: &Scene<'_>) -> bool {
        let (up, down) = connection.look(&mut self.tools);
        if (up, down) == (0, 0) {
            return false;
        }
        let (mine, service) = (scene.mine(), connection.service);
        mine.service(service).to_real.add(up);
        mine.service(service).to_client.add(down);
        mine.counters.service(service).bytes.add(up);
        if let Some((real, ..)) = connection.real {
            mine.counters.real(real).bytes.add(up);
        }
        true
    }

    /// Matching connections.
    pub fn list(&self, ask: &ListAsk, now: Tick) -> Vec<ConnectionRow> {
        let rows = self.connections.iter().map(|c| row(c, now));
        rows.filter(|r| ask.wants(r)).take(ask.limit).collect()
    }

    /// Resets matching connections, or only counts them; says how many.
    pub fn clear(&mut self, ask: &ListAsk, how: Clearing, scene: &Scene<'_>) -> u64 {
        let now = scene.now;
        let rows = self.connections.iter_mut();
        let meant = rows.filter(|(_, connection)| ask.wants(&row(connection, now)));
        let keys: Vec<Key> = meant.map(|(key, _)| key).collect();
        if how == Clearing::End {
            keys.iter()
                .for_each(|key| self.end(*key, Outcome::Cleared, scene));
        }
        keys.len() as u64
    }

    /// Ends all that is left.
    pub fn reset_all(&mut self, scene: &Scene<'_>) {
        let keys: Vec<Key> = self.connections.iter_mut().map(|(key, _)| key).collect();
        for key in keys {
            self.end(key, Outcome::Shutdown, scene);
        }
    }
}

/// A connection for who traces: a real that is still being dialled is one tried in vain.
fn sight(connection: &Connection, ended: Option<Outcome>) -> Sight<'_> {
    let key = &connection.key;
    let connected = matches!(connection.phase, Phase::Established(_)) || ended.is_none();
    Sight {
        client: SocketAddr::new(key.client.ip(), key.client_port),
        vip: key.service,
        service: connection.service,
        real: connection
            .real
            .filter(|_| connected)
            .map(|(id, _, to)| (id, to)),
        tried: &connection.tried,
        ended,
        begun: connection.begun,
        bytes: connection.bytes(),
    }
}

/// The real is not dialled or connected any more.
fn release_real(connection: &mut Connection, scene: &Scene<'_>) {
    if let Some((real, ..)) = connection.real.take() {
        scene.shared.live.loads.sub(real, Weightiness::Active);
    }
}

fn row(connection: &Connection, now: Tick) -> ConnectionRow {
    let since = |then: Tick| Duration::from_millis(now.since(then));
    let key = &connection.key;
    let (bytes_in, bytes_out) = connection.bytes();
    ConnectionRow {
        service: connection.service,
        real: connection.real.map(|(real, ..)| real),
        client: SocketAddr::new(key.client.ip(), key.client_port),
        vip: key.service,
        server: connection.real.map(|(.., to)| to),
        bytes_in,
        bytes_out,
        age: since(connection.begun),
        idle: since(connection.active),
        state: connection.word(),
    }
}
