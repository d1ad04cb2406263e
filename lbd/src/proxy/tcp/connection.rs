//! One proxied connection: a client's socket, a real's socket, and a direction each way.
//!
//! ```text
//!   accepted -> (PROXY header) -> waiting (all reals full) -> connecting -> established -> gone
//!                                    ^------------------------'  refused, silent: another real
//! ```
//!
//! A FIN goes on when all before it is delivered, a reset goes on at once: what came before it is
//! delivered as far as the other side takes it without waiting.

use super::direction::{Broken, Direction, Tools, Turn};
use crate::live::Outcome;
use crate::proxy::poller::{Flags, Poller, Token};
use crate::proxy::slab::Key;
use lbcore::id::{Epoch, RealId, ServiceId};
use lbcore::net::FlowKey;
use lbcore::time::Tick;
use rustix::net::{Shutdown, shutdown, sockopt};
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// What a side that is read is watched for.
pub(super) const READING: Flags = Flags::IN
    .union(Flags::PRI)
    .union(Flags::RDHUP)
    .union(Flags::ET);

/// What a side that was full once, or is being connected, is watched for.
pub(super) const BOTH: Flags = READING.union(Flags::OUT);

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Real,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Side::Client => Side::Real,
            Side::Real => Side::Client,
        }
    }

    fn reset(self) -> Outcome {
        match self {
            Side::Client => Outcome::ClientReset,
            Side::Real => Outcome::RealReset,
        }
    }
}

/// Where a connection stands.
#[derive(Debug)]
pub(super) enum Phase {
    /// Its PROXY header is to come.
    Header,
    /// Every real has all the connections it takes.
    Waiting,
    /// Dialled, since.
    Connecting(OwnedFd, Instant),
    /// Bytes move.
    Established(OwnedFd),
}

/// What is to be done after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing until something happens.
    Wait,
    /// Go on when others had their turn.
    Again,
    /// It has ended.
    End(Outcome),
}

/// One proxied connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub phase: Phase,
    pub client: OwnedFd,
    /// The client, as it is or as a trusted header told, and what it dialled.
    pub key: FlowKey,
    /// What the client dialled, as a trusted header told: passed on to reals that are sent one.
    pub told: Option<SocketAddr>,
    pub service: ServiceId,
    /// The real that is dialled or connected; it is counted in the loads.
    pub real: Option<(RealId, Epoch, SocketAddr)>,
    /// Reals that were tried before, in vain.
    pub tried: Vec<RealId>,
    /// How many of them count against `retries`.
    pub failures: u32,
    /// Why the last of them was in vain.
    pub why: Outcome,
    up: Direction,
    down: Direction,
    pub begun: Tick,
    /// When bytes last moved, to the second.
    pub active: Tick,
    /// The poller watches the client's socket for bytes; for room, too.
    pub client_watched: bool,
    client_room_watched: bool,
    /// It is in the list of those who go on.
    pub queued: bool,
    /// It is counted against its client's bound.
    pub source_counted: bool,
    client_shut: bool,
    real_shut: bool,
}

impl Connection {
    pub fn new(client: OwnedFd, key: FlowKey, service: ServiceId, now: Tick) -> Self {
        Connection {
            phase: Phase::Waiting,
            client,
            key,
            told: None,
            service,
            real: None,
            tried: Vec::new(),
            failures: 0,
            why: Outcome::NoReal,
            up: Direction::default(),
            down: Direction::default(),
            begun: now,
            active: now,
            client_watched: false,
            client_room_watched: false,
            queued: false,
            source_counted: false,
            client_shut: false,
            real_shut: false,
        }
    }

    /// The real's socket is connected: the first `header` bytes of the worker's buffer go to it
    /// before everything else, and the client is watched from now on.
    pub fn establish(
        &mut self,
        me: Key,
        header: usize,
        tools: &mut Tools,
        poller: &Poller,
    ) -> Step {
        match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::Connecting(real, _) => self.phase = Phase::Established(real),
            other => {
                self.phase = other;
                return Step::Wait;
            }
        }
        self.active = tools.now;
        let step = self.pump(Side::Client, Some(header), me, tools, poller);
        if let Phase::Established(real) = &self.phase
            && header == 0
            && self.up.bytes() == 0
        {
            // The real may be the one that speaks first, and waits for the handshake's end.
            let _ = sockopt::set_tcp_quickack(real, true);
        }
        if matches!(step, Step::End(_)) {
            return step;
        }
        // What came since the read above is reported at once, so nothing is missed.
        let token = Token::Client(me);
        let flags = if self.client_room_watched {
            BOTH
        } else {
            READING
        };
        let watched = if self.client_watched {
            poller.change(&self.client, token, flags)
        } else {
            poller.add(&self.client, token, flags)
        };
        self.client_watched = true;
        match watched {
            Ok(()) => step,
            Err(_) => Step::End(Outcome::OwnTrouble),
        }
    }

    /// Something happened to one side of an established connection.
    pub fn on(
        &mut self,
        side: Side,
        flags: Flags,
        me: Key,
        tools: &mut Tools,
        poller: &Poller,
    ) -> Step {
        let mut step = Step::Wait;
        if flags.intersects(READING | Flags::HUP | Flags::ERR) {
            self.direction(side).source_says(flags);
            step = self.pump(side, None, me, tools, poller);
        }
        if flags.contains(Flags::OUT) && self.direction(side.other()).is_blocked() {
            self.direction(side.other()).destination_has_room();
            step = step.and(self.pump(side.other(), None, me, tools, poller));
        }
        if flags.contains(Flags::ERR) && step == Step::Wait {
            // Nobody reads this side any more, or what it sent cannot be delivered now.
            step = Step::End(side.reset());
        }
        step
    }

    /// Goes on where a turn ended for fairness; the other direction will be reported.
    pub fn go_on(&mut self, me: Key, tools: &mut Tools, poller: &Poller) -> Step {
        let mut step = Step::Wait;
        for from in [Side::Client, Side::Real] {
            if self.direction(from).is_unfinished() && !matches!(step, Step::End(_)) {
                step = step.and(self.pump(from, None, me, tools, poller));
            }
        }
        step
    }

    fn direction(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Client => &mut self.up,
            Side::Real => &mut self.down,
        }
    }

    /// Moves what `from` sent to the other side. With a header this is the connection's first turn.
    fn pump(
        &mut self,
        from: Side,
        header: Option<usize>,
        me: Key,
        tools: &mut Tools,
        poller: &Poller,
    ) -> Step {
        let Phase::Established(real) = &self.phase else {
            return Step::Wait;
        };
        let (client, real) = (self.client.as_fd(), real.as_fd());
        let (direction, back, source, destination) = match from {
            Side::Client => (&mut self.up, &mut self.down, client, real),
            Side::Real => (&mut self.down, &mut self.up, real, client),
        };
        let turn = match header {
            Some(header) => direction.begin(source, destination, tools, header),
            None => direction.turn(source, destination, tools),
        };
        match turn {
            Ok(Turn::Waiting) => Step::Wait,
            Ok(Turn::Unfinished) => Step::Again,
            Ok(Turn::Blocked) => match from.other() {
                Side::Client => self.watch_client_room(me, poller),
                Side::Real => Step::Wait,
            },
            Ok(Turn::Ended) if back.has_ended() => Step::End(Outcome::Ok),
            Ok(Turn::Ended) => {
                let shut = match from.other() {
                    Side::Client => &mut self.client_shut,
                    Side::Real => &mut self.real_shut,
                };
                if !std::mem::replace(shut, true) {
                    // It fails when the other side was reset, which the poller reports.
                    let _ = shutdown(destination, Shutdown::Write);
                }
                Step::Wait
            }
            Err(Broken::Source(_)) => Step::End(from.reset()),
            Err(Broken::Destination(_)) => {
                // What it had sent before it broke is the other side's.
                let _ = back.turn(destination, source, tools);
                Step::End(from.other().reset())
            }
        }
    }

    /// The real's socket is watched for room from the dial on; the client's only once it was full.
    fn watch_client_room(&mut self, me: Key, poller: &Poller) -> Step {
        if self.client_room_watched {
            return Step::Wait;
        }
        self.client_room_watched = true;
        if !self.client_watched {
            return Step::Wait;
        }
        match poller.change(&self.client, Token::Client(me), BOTH) {
            Ok(()) => Step::Wait,
            Err(_) => Step::End(Outcome::OwnTrouble),
        }
    }

    /// The worker's look, once a second: bytes delivered to the real and to the client since the
    /// last one.
    pub fn look(&mut self, tools: &mut Tools) -> (u64, u64) {
        let moved = (
            self.up.look(&mut tools.pipes),
            self.down.look(&mut tools.pipes),
        );
        if moved != (0, 0) {
            self.active = tools.now;
        }
        moved
    }

    /// Whether bytes wait for room on either side.
    pub fn is_blocked(&self) -> bool {
        self.up.is_blocked() || self.down.is_blocked()
    }

    /// Tries a blocked direction without being told that there is room: a write that was refused
    /// because the kernel was short of memory, with nothing in flight, is followed by no news.
    pub fn nudge(&mut self, me: Key, tools: &mut Tools, poller: &Poller) -> Step {
        let mut step = Step::Wait;
        for from in [Side::Client, Side::Real] {
            if self.direction(from).is_blocked() && !matches!(step, Step::End(_)) {
                self.direction(from).destination_has_room();
                step = step.and(self.pump(from, None, me, tools, poller));
            }
        }
        step
    }

    /// One side has said all it will say, the other has not.
    pub fn is_half_closed(&self) -> bool {
        self.up.has_ended() != self.down.has_ended()
    }

    /// Bytes delivered to the real and to the client.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.bytes(), self.down.bytes())
    }

    /// Its state in a word.
    pub fn word(&self) -> &'static str {
        match self.phase {
            Phase::Header => "proxy_header",
            Phase::Waiting => "waiting",
            Phase::Connecting(..) => "connecting",
            Phase::Established(_) if self.is_half_closed() => "closing",
            Phase::Established(_) => "established",
        }
    }

    /// Closes both sockets: in order if both sides were done, else both peers get a reset, so that
    /// nobody waits for what will not come.
    pub fn close(mut self, outcome: Outcome, tools: &mut Tools) {
        self.up.close(&mut tools.pipes);
        self.down.close(&mut tools.pipes);
        let real = match &self.phase {
            Phase::Established(real) => Some(real.as_fd()),
            Phase::Header | Phase::Waiting | Phase::Connecting(..) => None,
        };
        match outcome {
            Outcome::Ok => {}
            Outcome::ClientReset => real.into_iter().for_each(reset_on_close),
            Outcome::RealReset => reset_on_close(self.client.as_fd()),
            _ => {
                reset_on_close(self.client.as_fd());
                real.into_iter().for_each(reset_on_close);
            }
        }
    }
}

impl Step {
    fn and(self, next: Step) -> Step {
        match (self, next) {
            (Step::End(outcome), _) | (_, Step::End(outcome)) => Step::End(outcome),
            (Step::Again, _) | (_, Step::Again) => Step::Again,
            (Step::Wait, Step::Wait) => Step::Wait,
        }
    }
}

/// Closing this socket sends RST instead of FIN (SO_LINGER with time 0). Where that fails, it is a
/// FIN: no worse than not to know.
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

#[cfg(test)]
mod tests;
