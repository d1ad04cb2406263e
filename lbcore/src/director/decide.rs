//! First step: look at a frame, the snapshot and the flow table, and say what should become of it.
//! Nothing is changed here.

use super::recognise::{MULTICAST, Place, Recognised, mac_word, place, recognise};
use super::{DropReason, Verdict};
use crate::config::Track;
use crate::flow::{Coarse, Entry, FlowTable, Slot, State};
use crate::id::{MAX_SERVICES, RealId, ServiceId};
use crate::load::Loads;
use crate::net::packet::{Packet, Subject, Transport};
use crate::net::{FlowHash, FlowKey, FrameMeta, MacAddr};
use crate::sched::{Kind, Pick, Ring};
use crate::service::{FlowFate, Path, Real, Service, ServiceTable};
use crate::time::Tick;

/// Everything a decision looks at beside the frame.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The snapshot.
    pub table: &'a ServiceTable,
    /// The flow table.
    pub flows: &'a FlowTable<'a>,
    /// Flows by real.
    pub loads: &'a Loads,
    /// This worker's cursors.
    pub cursors: &'a Cursors,
    /// New flows are not remembered now: the ring answers for them.
    pub flood: bool,
}

/// How many flows one worker has placed in each service: where its schedulers stand.
#[derive(Debug)]
pub struct Cursors(Box<[u64]>);

impl Cursors {
    /// Cursors of worker number `worker`: each begins elsewhere, so that workers do not all begin
    /// with the same real.
    pub fn new(worker: usize) -> Self {
        // A large prime, so that `worker * STEP` modulo any small number of reals differs.
        const STEP: u64 = 0x9e37_79b1;
        Cursors(vec![(worker as u64).wrapping_mul(STEP); MAX_SERVICES].into())
    }

    /// Where the service's scheduler stands.
    pub fn of(&self, service: ServiceId) -> u64 {
        self.0[service.index()]
    }

    pub(super) fn advance(&mut self, service: ServiceId) {
        let cursor = &mut self.0[service.index()];
        *cursor = cursor.wrapping_add(1);
    }
}

/// The real a frame goes to, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Which real.
    pub real: RealId,
    /// How to get there.
    pub path: Path,
}

/// What the flow table is to remember.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// Nothing.
    Nothing,
    /// A known flow goes on: its state or time has changed.
    Refresh {
        /// Where it stands.
        slot: Slot,
        /// What was read there.
        old: Entry,
        /// What shall stand there.
        new: Entry,
    },
    /// A known flow goes to another real, or begins again.
    Move {
        /// Where it stands.
        slot: Slot,
        /// What was read there.
        old: Entry,
        /// What shall stand there.
        new: Entry,
    },
    /// A new flow.
    Store {
        /// Its tuple.
        key: FlowKey,
        /// What shall be remembered.
        new: Entry,
    },
    /// A new flow that is not remembered: flood mode.
    Unremembered,
    /// The ring answers for the flow as long as the set is unchanged (`track = "changes"`).
    Unneeded,
}

/// How a frame met the flow table, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// No lookup was made.
    NotLooked,
    /// Known, goes on.
    Hit(Entry),
    /// Known, but decided anew: it was closing, or its real takes no new flows.
    Anew(Entry),
    /// Known, but its real is dead and the service says rehash.
    Rehashed(Entry),
    /// Not known; the scheduler chose.
    New,
    /// Not known; the ring chose, because it is no beginning, or because of a flood.
    ByRing,
}

/// What should become of a frame, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The outcome.
    pub verdict: Verdict,
    /// Index of the service that matched.
    pub service: Option<usize>,
    /// The tuple's hash, where one was made.
    pub hash: Option<FlowHash>,
    /// How it met the flow table.
    pub met: Met,
    /// What is to be remembered.
    pub memory: Memory,
    /// IP bytes as the client sent them.
    pub bytes: u64,
    /// Packets as the client sent them.
    pub packets: u32,
}

impl Decision {
    fn new(verdict: Verdict) -> Self {
        Decision {
            verdict,
            service: None,
            hash: None,
            met: Met::NotLooked,
            memory: Memory::Nothing,
            bytes: 0,
            packets: 0,
        }
    }

    /// Whether a flow begins. One that is taken up in its middle does not: where there is no room for
    /// it, each of its packets would.
    pub fn begins(&self) -> bool {
        match self.memory {
            Memory::Move { .. } => matches!(self.met, Met::Anew(_) | Met::New),
            Memory::Store { .. } | Memory::Unremembered | Memory::Unneeded => {
                matches!(self.met, Met::New)
            }
            Memory::Nothing | Memory::Refresh { .. } => false,
        }
    }
}

/// Decides about one frame, beginning at its Ethernet header.
#[inline]
pub fn decide(frame: &[u8], meta: &FrameMeta, view: &View<'_>, now: Tick) -> Decision {
    decide_recognised(&recognise(frame, meta, view.table), view, now)
}

/// Decides about a frame that was recognised with the snapshot of this view.
#[inline]
pub fn decide_recognised(recognised: &Recognised, view: &View<'_>, now: Tick) -> Decision {
    let packet = match &recognised.packet {
        Ok(packet) => packet,
        Err(verdict) => return Decision::new(*verdict),
    };
    let mut decision = decide_placed(&packet.subject, recognised.place, view, now);
    decision.bytes = packet.wire_bytes;
    decision.packets = packet.segments;
    turn_back(&mut decision, packet);
    decision
}

/// A frame never goes back to the machine it came from, nor to ourselves, and one that no machine
/// can have sent goes nowhere.
#[inline]
fn turn_back(decision: &mut Decision, packet: &Packet) {
    let Verdict::Forward(chosen) = decision.verdict else {
        return;
    };
    if let Some(reason) = forbidden(packet.src_mac, packet.dst_mac, chosen.path.dst) {
        decision.verdict = Verdict::Drop(reason);
        decision.memory = Memory::Nothing;
    }
}

/// Why a frame from `src` to `dst` must not go on to `to`.
#[inline]
pub(super) fn forbidden(src: MacAddr, dst: MacAddr, to: MacAddr) -> Option<DropReason> {
    let [src, dst, to] = [src, dst, to].map(mac_word);
    if src & MULTICAST != 0 || src == 0 {
        Some(DropReason::Martian)
    } else if to == src || to == dst || src == dst {
        Some(DropReason::Loop)
    } else {
        None
    }
}

/// Decides about what a frame speaks of: the part that needs no bytes, which `explain` asks too.
#[inline]
pub fn decide_subject(subject: &Subject, view: &View<'_>, now: Tick) -> Decision {
    decide_placed(subject, place(subject, view.table), view, now)
}

#[inline]
fn decide_placed(subject: &Subject, place: Option<Place>, view: &View<'_>, now: Tick) -> Decision {
    let (key, transport) = match subject {
        Subject::Flow { key, transport } => (key, Some(*transport)),
        Subject::IcmpError { key } => (key, None),
        Subject::Other => return Decision::new(Verdict::Pass),
    };
    let Some(Place { index, hash }) = place else {
        return Decision::new(Verdict::Pass);
    };
    let service = &view.table.services[index];
    let ask = Ask {
        view,
        service,
        key,
        hash,
        now,
    };
    let mut decision = match (transport, service.track) {
        (Some(transport), Track::None) if ask.turns_away(transport) => ask.turned_away(Met::ByRing),
        (Some(_), Track::None) => ask.by_ring(Met::ByRing),
        (None, _) => ask.icmp_error(),
        (Some(transport), Track::Flows) => ask.flow(transport),
        (Some(transport), Track::Changes) => ask.changes(transport),
    };
    decision.service = Some(index);
    decision.hash = Some(hash);
    decision
}

/// Whether a packet can be a flow's first: without an entry, every datagram can.
fn begins(transport: Transport) -> bool {
    match transport {
        Transport::Udp => true,
        Transport::Tcp(flags) => flags.syn(),
    }
}

/// One question about one flow.
struct Ask<'a> {
    view: &'a View<'a>,
    service: &'a Service,
    key: &'a FlowKey,
    hash: FlowHash,
    now: Tick,
}

impl Ask<'_> {
    #[inline]
    fn flow(&self, transport: Transport) -> Decision {
        if let Some(hit) = self.view.flows.lookup(self.hash) {
            let real = self.view.table.real_of(&hit.entry);
            if let Some(real) = real
                && !self.view.table.is_expired(&hit.entry, self.now)
            {
                return self.known(hit.slot, hit.entry, real, transport);
            }
            return self.unknown(transport, Some((hit.slot, hit.entry)));
        }
        self.unknown(transport, None)
    }

    #[inline]
    fn known(&self, slot: Slot, old: Entry, real: &Real, transport: Transport) -> Decision {
        if let Transport::Tcp(flags) = transport
            && flags.syn()
            && (old.state.closing() || !real.takes_new)
        {
            return self.unknown(transport, Some((slot, old)));
        }
        match real.fate {
            FlowFate::Keep => {}
            FlowFate::Drop => {
                let mut decision = Decision::new(Verdict::Drop(DropReason::DeadReal));
                decision.met = Met::Hit(old);
                return decision;
            }
            FlowFate::Rehash => return self.rehash(transport, slot, old),
        }
        let state = old.state.next(transport);
        let new = Entry {
            state,
            seen: Coarse::at(self.now),
            ..old
        };
        let mut decision = Decision::new(forward(old.real, real));
        decision.met = Met::Hit(old);
        if new != old {
            decision.memory = Memory::Refresh { slot, old, new };
        }
        decision
    }

    /// While the set is unchanged the ring answers for everybody. While a change is under way, flows that
    /// began since are remembered where the ring has another real than before; whoever is not remembered
    /// is older, and stays where the ring led before.
    fn changes(&self, transport: Transport) -> Decision {
        if !self.service.looks_up {
            return self.unneeded(transport);
        }
        if self.view.flows.lookup(self.hash).is_some() {
            return self.flow(transport);
        }
        let Some(past) = &self.service.past else {
            return self.unneeded(transport);
        };
        if !begins(transport) {
            return self.without_memory(Met::ByRing);
        }
        let of = |kind, ring: &Ring| ring_pick(kind, ring, self.hash, || self.source());
        let here = self.service.ring.as_deref();
        let here = here.map(|ring| of(self.service.kind, ring));
        if here == Some(of(past.kind, &past.ring)) {
            return self.unneeded(transport);
        }
        self.unknown(transport, None)
    }

    fn unneeded(&self, transport: Transport) -> Decision {
        let met = if begins(transport) {
            Met::New
        } else {
            Met::ByRing
        };
        if self.turns_away(transport) {
            return self.turned_away(met);
        }
        let mut decision = self.by_ring(met);
        decision.memory = Memory::Unneeded;
        decision
    }

    fn without_memory(&self, met: Met) -> Decision {
        let (table, service) = (self.view.table, self.service);
        let verdict = without_memory(table, service, self.hash, || self.source());
        let mut decision = Decision::new(verdict);
        decision.met = met;
        decision
    }

    /// A flow of a dead real goes to another one, which resets it, and the client knows. lbd does not see
    /// that: to the other real it is a flow taken up in its middle, soon forgotten unless more comes.
    fn rehash(&self, transport: Transport, slot: Slot, old: Entry) -> Decision {
        let mut decision = self.by_ring(Met::Rehashed(old));
        if let Verdict::Forward(chosen) = decision.verdict {
            let state = State::first(transport).unwrap_or_else(|| old.state.next(transport));
            let new = self.entry(chosen.real, state);
            decision.memory = Memory::Move { slot, old, new };
        }
        decision
    }

    /// A packet without a (usable) flow entry. `stale` is one that stands in the way.
    fn unknown(&self, transport: Transport, stale: Option<(Slot, Entry)>) -> Decision {
        let begins = begins(transport);
        // Where nobody takes new flows, a flood changes nothing about it.
        let flood = self.view.flood && stale.is_none() && self.service.ring.is_some();
        let met = match stale {
            Some((_, entry)) if begins => Met::Anew(entry),
            _ if begins => Met::New,
            _ => Met::ByRing,
        };
        if self.turns_away(transport) {
            return self.turned_away(met);
        }
        let mut decision = if begins && !flood {
            self.by_scheduler(met)
        } else {
            self.without_memory(met)
        };
        let Verdict::Forward(chosen) = decision.verdict else {
            return decision;
        };
        let Some(state) = State::first(transport) else {
            return decision;
        };
        let new = self.entry(chosen.real, state);
        decision.memory = match stale {
            Some((slot, old)) => Memory::Move { slot, old, new },
            None if flood => Memory::Unremembered,
            None => Memory::Store {
                key: *self.key,
                new,
            },
        };
        decision
    }

    /// Whether a packet without a (usable) flow entry is a beginning that this lbd does not take: in
    /// maintenance. What is no beginning belongs to a flow that was here before.
    fn turns_away(&self, transport: Transport) -> bool {
        self.view.table.maintenance && begins(transport)
    }

    /// Dropped, not refused: the client sends it again, and by then another lbd answers for the VIP.
    fn turned_away(&self, met: Met) -> Decision {
        let mut decision = Decision::new(Verdict::Drop(DropReason::Maintenance));
        decision.met = met;
        decision
    }

    /// An ICMP error goes where its flow goes, and changes nothing of it.
    fn icmp_error(&self) -> Decision {
        if self.service.looks_up
            && let Some(hit) = self.view.flows.lookup(self.hash)
            && let Some(real) = self.view.table.real_of(&hit.entry)
            && real.fate == FlowFate::Keep
        {
            let mut decision = Decision::new(forward(hit.entry.real, real));
            decision.met = Met::Hit(hit.entry);
            return decision;
        }
        self.without_memory(Met::ByRing)
    }

    fn entry(&self, real: RealId, state: State) -> Entry {
        let epoch = self
            .view
            .table
            .real(real)
            .map(|r| r.epoch)
            .unwrap_or_default();
        Entry {
            real,
            epoch,
            state,
            seen: Coarse::at(self.now),
        }
    }

    fn by_scheduler(&self, met: Met) -> Decision {
        let pick = Pick {
            cursor: self.view.cursors.of(self.service.id),
            ring: self.service.ring.as_deref(),
            flow: self.hash,
            source: match self.service.kind {
                Kind::Sh => self.source(),
                // Only `sh` looks at it; others are spared the second hash.
                _ => self.hash,
            },
            loads: self.view.loads,
        };
        self.decided(self.service.scheduler.pick(&pick), met)
    }

    fn by_ring(&self, met: Met) -> Decision {
        let of = |ring| ring_pick(self.service.kind, ring, self.hash, || self.source());
        self.decided(self.service.ring.as_deref().map(of), met)
    }

    fn source(&self) -> FlowHash {
        self.view.table.key.source(&self.key.client)
    }

    fn decided(&self, picked: Option<RealId>, met: Met) -> Decision {
        let verdict = match picked.and_then(|id| Some((id, self.view.table.real(id)?))) {
            Some((id, real)) => forward(id, real),
            None => Verdict::Drop(DropReason::NoReal),
        };
        let mut decision = Decision::new(verdict);
        decision.met = met;
        decision
    }
}

/// Where the packets of a flow go that is not remembered, its first one too, for the next ones are not
/// told apart from those of older flows: where the ring led before a change that is under way, as long as
/// that real is there, else where it leads now.
pub(super) fn without_memory(
    table: &ServiceTable,
    service: &Service,
    hash: FlowHash,
    source: impl Fn() -> FlowHash,
) -> Verdict {
    let of = |kind, ring: &Ring| ring_pick(kind, ring, hash, &source);
    let past = service.past.as_ref();
    if let Some(id) = past.map(|past| of(past.kind, &past.ring))
        && let Some(real) = table.real(id)
        && table.services[real.service].id == service.id
    {
        match real.fate {
            FlowFate::Keep => return forward(id, real),
            FlowFate::Drop => return Verdict::Drop(DropReason::DeadReal),
            FlowFate::Rehash => {}
        }
    }
    let ring = service.ring.as_deref();
    let id = ring.map(|ring| of(service.kind, ring));
    match id.and_then(|id| Some((id, table.real(id)?))) {
        Some((id, real)) => forward(id, real),
        None => Verdict::Drop(DropReason::NoReal),
    }
}

/// What a ring of a service answers: for `sh` by the client's address, else by the flow.
pub(super) fn ring_pick(
    kind: Kind,
    ring: &Ring,
    hash: FlowHash,
    source: impl FnOnce() -> FlowHash,
) -> RealId {
    ring.pick(if kind == Kind::Sh { source() } else { hash })
}

pub(super) fn forward(id: RealId, real: &Real) -> Verdict {
    match real.path {
        Some(path) => Verdict::Forward(Chosen { real: id, path }),
        None => Verdict::Drop(DropReason::NoNeighbor),
    }
}
