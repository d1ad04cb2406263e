//! UDP of one worker: a socket on each VIP:port, and for each client of one a session with a real,
//! which is a socket of its own, bound to the client's address. Answers leave from VIP:port.
//!
//! ```text
//! client ---> VIP socket ---> session (client, VIP:port) ---> socket as the client ---> real
//!        <--- VIP socket <-----------------------------------                      <---
//! ```
//!
//! Datagrams move in batches, through one buffer a worker; nothing is allocated for one. Sockets
//! are level-triggered and read once an event: whoever has more waits for the next turn, so a busy
//! client starves nobody. A session costs one descriptor.

mod begin;
mod listener;
mod refusal;
mod relay;
mod session;

#[cfg(test)]
mod tests;

use super::budget::Budget;
use super::sight::Sight;
use super::tcp::Scene;
use super::{Clearing, ConnectionRow, ListAsk};
use crate::live::{Outcome, Way};
use crate::sys::datagrams::{Inbox, Outbox, queue};
use lbcore::director::Cursors;
use lbcore::load::Weightiness;
use lbcore::net::ServiceKey;
use lbcore::service::{FlowFate, ServiceTable};
use lbcore::session::{Rank, Sessions, Slot};
use lbcore::time::Tick;
use listener::Listeners;
use refusal::Refusals;
use session::{Session, SessionKey};
use std::os::fd::AsFd;
use std::time::Duration;

/// One worker's UDP.
pub(super) struct Udp {
    listeners: Listeners,
    sessions: Sessions<SessionKey, Session>,
    inbox: Inbox,
    outbox: Outbox,
    cursors: Cursors,
    refusals: Refusals,
    /// The snapshot by which sessions were last looked at.
    judged: u64,
}

/// What becomes of a session's next datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    /// It goes to its real.
    Good,
    /// It is dropped: the real is dead, and that is what the service wants.
    Drop,
    /// Its real is dead, drained for too long or gone: it begins a new session.
    Over,
}

impl Udp {
    /// Of worker number `number`, one of `workers` that share `budget`. Three quarters of the
    /// descriptors may go to sessions, so that a flood of datagrams leaves some to connections.
    pub fn new(number: usize, workers: usize, budget: &Budget) -> Self {
        let sessions = budget.descriptors().limit() / 4 * 3;
        Udp {
            listeners: Listeners::default(),
            sessions: Sessions::new(sessions / workers.max(1)),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            cursors: Cursors::new(number),
            refusals: Refusals::default(),
            judged: 0,
        }
    }

    /// Once a second: what was silent for too long ends, and after a new snapshot what has no real
    /// any more.
    pub fn sweep(&mut self, scene: &Scene<'_>) {
        for service in &scene.table.services {
            let idle = service.timeouts.idle_ms();
            while let Some(slot) = self.sessions.expired(service.id.0, idle, scene.now) {
                self.end(slot, Outcome::Idle, scene);
            }
        }
        if self.judged != scene.table.generation {
            self.judged = scene.table.generation;
            let over = |session: &Session| standing(session, scene.table) == Standing::Over;
            self.end_all(over, Outcome::RealGone, scene);
        }
        self.listeners.count_lost(scene);
        self.refusals.refill();
    }

    /// Ends every session, as lbd stops.
    pub fn end_everything(&mut self, scene: &Scene<'_>) {
        self.end_all(|_| true, Outcome::Shutdown, scene);
    }

    /// Sessions that match, at most as many as asked for.
    pub fn list(&self, ask: &ListAsk, now: Tick) -> Vec<ConnectionRow> {
        let meant = self.matching(ask, now);
        meant.map(|(_, row)| row).take(ask.limit).collect()
    }

    /// Ends sessions that match, or only counts them; says how many.
    pub fn clear(&mut self, ask: &ListAsk, how: Clearing, scene: &Scene<'_>) -> u64 {
        let meant = self.matching(ask, scene.now);
        let slots: Vec<Slot> = meant.map(|(slot, _)| slot).collect();
        if how == Clearing::End {
            slots
                .iter()
                .for_each(|slot| self.end(*slot, Outcome::Cleared, scene));
        }
        slots.len() as u64
    }

    fn matching(&self, ask: &ListAsk, now: Tick) -> impl Iterator<Item = (Slot, ConnectionRow)> {
        let row = move |(slot, key, session): (Slot, &SessionKey, &Session)| {
            let (heard, rank) = self.sessions.standing(slot)?;
            let row = ConnectionRow {
                service: session.service,
                real: Some(session.real),
                client: session.client,
                vip: self.listeners.key(key.listener)?,
                server: Some(session.server),
                bytes_in: session.bytes_in,
                bytes_out: session.bytes_out,
                age: Duration::from_millis(now.since(session.began)),
                idle: Duration::from_millis(now.since(heard)),
                state: match rank {
                    Rank::Newcomer => "new",
                    Rank::Established => "established",
                },
            };
            Some((slot, row))
        };
        let rows = self.sessions.iter().filter_map(row);
        rows.filter(|(_, row)| ask.wants(row))
    }

    fn end_all(&mut self, which: impl Fn(&Session) -> bool, how: Outcome, scene: &Scene<'_>) {
        let matching = self.sessions.iter().filter(|(_, _, s)| which(s));
        let slots: Vec<Slot> = matching.map(|(slot, _, _)| slot).collect();
        for slot in slots {
            self.end(slot, how, scene);
        }
    }

    /// Ends one session: its socket closes, and everything that was counted in is counted out.
    fn end(&mut self, slot: Slot, how: Outcome, scene: &Scene<'_>) {
        let Some(key) = self.sessions.key(slot).copied() else {
            return;
        };
        let Some(session) = self.sessions.remove(slot) else {
            return;
        };
        let me = scene.mine();
        if let Ok(queue) = queue(session.socket.as_fd()) {
            me.datagrams
                .of(Way::ToClient)
                .lost
                .add(u64::from(queue.lost));
        }
        scene
            .shared
            .live
            .loads
            .sub(session.real, Weightiness::Active);
        scene.shared.gates.leave(session.service);
        if session.counts_for_source {
            let gates = &scene.shared.gates;
            gates.leave_source(session.service, key.client);
        }
        if let Some(vip) = self.listeners.key(key.listener) {
            sight(&session, vip, Some(how)).show(scene);
        }
        drop(session.socket);
        scene.shared.budget.descriptors().give(1);
        me.service(session.service).ended(how).add(1);
    }
}

/// A session for who traces.
fn sight(session: &Session, vip: ServiceKey, ended: Option<Outcome>) -> Sight<'static> {
    Sight {
        client: session.client,
        vip,
        service: session.service,
        real: Some((session.real, session.server)),
        tried: &[],
        ended,
        begun: session.began,
        bytes: (session.bytes_in, session.bytes_out),
    }
}

/// By the snapshot, what becomes of the session's next datagram.
fn standing(session: &Session, table: &ServiceTable) -> Standing {
    let real = table.real(session.real);
    match real.filter(|real| real.epoch == session.epoch) {
        Some(real) => match real.fate {
            FlowFate::Keep => Standing::Good,
            FlowFate::Drop => Standing::Drop,
            FlowFate::Rehash => Standing::Over,
        },
        None => Standing::Over,
    }
}
