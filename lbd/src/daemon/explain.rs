//! `explain`: a decision put into words. It asks the director itself, so it cannot tell another
//! story than the packet path.

mod dialled;

use super::reconciler::Reconciler;
use crate::sys::clock;
use lbcore::api::{
    CandidateView, EntryView, ExplainView, FlowFound, NearView, PacketKind, Verdict as Word,
};
use lbcore::config::Mode;
use lbcore::director::{Cursors, Decision, DropReason, Met, Verdict, View, decide_subject};
use lbcore::net::packet::{Subject, TcpFlags, Transport};
use lbcore::net::{Addr, FlowHash, FlowKey, Protocol, ServiceKey};
use lbcore::sched::{Kind, Ring};
use lbcore::service::{Member, Service, ServiceTable};
use lbcore::time::Tick;
use lbcore::trace::{IN_MAINTENANCE, chooser, met, why_not};
use std::net::SocketAddr;

/// Services that come near, told at most.
const NEAR: usize = 5;

impl Reconciler {
    /// What the director would do with a packet from `client` to `vip`: with `packet`, or else the
    /// next one of a known flow, or the first of a new one.
    pub(super) fn explain(
        &self,
        protocol: Protocol,
        client: SocketAddr,
        vip: SocketAddr,
        packet: Option<PacketKind>,
    ) -> ExplainView {
        let table = self.live.table();
        let service = ServiceKey {
            vip: Addr::from(vip.ip()),
            port: vip.port(),
            protocol,
        };
        let key = FlowKey {
            client: Addr::from(client.ip()),
            client_port: client.port(),
            service,
        };
        let known = self.live.flows.lookup(table.key.flow(&key)).is_some();
        let packet = match (packet, protocol, known) {
            (_, Protocol::Udp, _) => PacketKind::Datagram,
            (Some(PacketKind::Ack), ..) | (None, Protocol::Tcp, true) => PacketKind::Ack,
            _ => PacketKind::Syn,
        };
        let asked = Asked {
            protocol,
            client,
            vip,
            key,
            packet,
        };
        if let Some((at, of)) = table.service(&service)
            && of.mode == Mode::Tproxy
        {
            return self.explain_dialled(&asked, at, &table);
        }
        let transport = match packet {
            PacketKind::Datagram => Transport::Udp,
            PacketKind::Ack => Transport::Tcp(TcpFlags::ACK),
            PacketKind::Syn => Transport::Tcp(TcpFlags::SYN),
        };
        let cursors = Cursors::new(0);
        let view = View {
            table: &table,
            flows: &self.live.flows,
            loads: &self.live.loads,
            cursors: &cursors,
            flood: false,
        };
        let now = clock::now();
        let decision = decide_subject(&Subject::Flow { key, transport }, &view, now);
        self.put_in_words(&asked, &decision, &table, now)
    }

    fn put_in_words(
        &self,
        asked: &Asked,
        decision: &Decision,
        table: &ServiceTable,
        now: Tick,
    ) -> ExplainView {
        let mut view = asked.unanswered();
        let Some(service) = decision.service.map(|i| &table.services[i]) else {
            asked.nobody(table, &mut view);
            return view;
        };
        asked.found(service, decision.hash, table, &mut view);
        let (found, words) = met(decision, service, table);
        view.flow = found;
        view.steps
            .push(format!("{}: {words}", asked.packet.words()));
        self.entry(decision, service, table, now, &mut view);
        if matches!(decision.met, Met::New | Met::Anew(_))
            && matches!(service.kind, Kind::Rr | Kind::Wrr)
        {
            view.steps.push(format!(
                "{} goes by turns: another turn may go elsewhere",
                service.kind
            ));
        }
        self.candidates(decision, service, &mut view);
        match decision.verdict {
            Verdict::Forward(chosen) => {
                let name = name_of(service, |m| m.id == chosen.real);
                let interface = table.interface(chosen.path.ifindex).map(|i| i.name.clone());
                let real = name.as_deref().unwrap_or("a real");
                let who = chooser(&decision.met, service.kind);
                view.steps.push(format!("{who} {real}"));
                view.steps.push(format!(
                    "forwarded to {real} at {} by {}: only the two MAC addresses change",
                    chosen.path.dst,
                    interface.as_deref().unwrap_or("its interface"),
                ));
                view.verdict = Word::Forward;
                view.real = name;
                view.mac = Some(chosen.path.dst.to_string());
                view.interface = interface;
            }
            Verdict::Drop(reason) => {
                view.verdict = Word::Drop;
                view.drop_reason = Some(reason.word().to_owned());
                let why = match reason {
                    DropReason::Maintenance => format!(": {IN_MAINTENANCE}"),
                    _ => String::new(),
                };
                view.steps.push(format!("dropped: {}{why}", reason.word()));
            }
            Verdict::Pass => view.steps.push("passed to this host".to_owned()),
        }
        view
    }

    /// Every real of the service: why not it.
    fn candidates(&self, decision: &Decision, service: &Service, view: &mut ExplainView) {
        let chosen = match decision.verdict {
            Verdict::Forward(chosen) => Some(chosen.real),
            Verdict::Pass | Verdict::Drop(_) => None,
        };
        let winner = name_of(service, |m| Some(m.id) == chosen);
        let other = winner.map(|name| format!("{} {name}", chooser(&decision.met, service.kind)));
        let candidate = |m: &Member| {
            let is_chosen = Some(m.id) == chosen;
            let why = m
                .why_not
                .map(|why| why_not(why, m))
                .or_else(|| other.clone());
            CandidateView {
                name: m.name.clone(),
                address: m.address,
                port: m.port,
                state: m.state,
                weight: u32::from(m.effective_weight),
                flows: u64::from(self.live.loads.flows(m.id)),
                chosen: is_chosen,
                why_not: why.filter(|_| !is_chosen),
            }
        };
        view.candidates = service.members.iter().map(candidate).collect();
    }

    /// What the flow table remembers.
    fn entry(
        &self,
        decision: &Decision,
        service: &Service,
        table: &ServiceTable,
        now: Tick,
        view: &mut ExplainView,
    ) {
        let (Met::Hit(entry) | Met::Anew(entry) | Met::Rehashed(entry)) = decision.met else {
            return;
        };
        let created = decision.hash.and_then(|hash| {
            let hit = self.live.flows.lookup(hash)?;
            self.live.flows.created(hit.slot, hash)
        });
        let real = table.real_of(&entry).and_then(|_| table.member(entry.real));
        let told = EntryView {
            real: real.map(|(_, m)| m.name.clone()),
            state: entry.state.word().to_owned(),
            age_ms: created.map(|created| now.since(created)),
            idle_ms: entry.idle_ms(now),
            expires_ms: service.timeouts.left(&entry, now),
        };
        let seconds = |ms: u64| ms.div_ceil(1000);
        view.steps.push(format!(
            "it began {} s ago, was silent for {} s, and is forgotten in {} s if nothing comes",
            told.age_ms
                .map_or("?".to_owned(), |age| seconds(age).to_string()),
            seconds(told.idle_ms),
            seconds(told.expires_ms),
        ));
        view.entry = Some(told);
    }
}

fn name_of(service: &Service, which: impl Fn(&Member) -> bool) -> Option<String> {
    let mut members = service.members.iter();
    members.find(|m| which(m)).map(|m| m.name.clone())
}

struct Asked {
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    key: FlowKey,
    packet: PacketKind,
}

impl Asked {
    /// The view before anything is known.
    fn unanswered(&self) -> ExplainView {
        ExplainView {
            protocol: self.protocol,
            client: self.client,
            vip: self.vip,
            packet: Some(self.packet),
            service: None,
            near: Vec::new(),
            scheduler: None,
            flow: FlowFound::NotTracked,
            entry: None,
            hash: None,
            ring_slot: None,
            ring_real: None,
            candidates: Vec::new(),
            real: None,
            mac: None,
            interface: None,
            server: None,
            source: None,
            verdict: Word::Pass,
            drop_reason: None,
            steps: Vec::new(),
        }
    }

    /// No service answers there: which come near.
    fn nobody(&self, table: &ServiceTable, view: &mut ExplainView) {
        view.steps.push(format!(
            "no service has {}/{}: passed to this host",
            self.vip, self.protocol
        ));
        let wanted = &self.key.service;
        let mut near: Vec<(u8, NearView)> = Vec::new();
        for service in &table.services {
            for key in &service.keys {
                let (rank, differs) = match (
                    key.vip == wanted.vip,
                    key.port == wanted.port,
                    key.protocol == wanted.protocol,
                ) {
                    (true, true, _) => (0, "another protocol"),
                    (true, false, true) => (1, "another port"),
                    (true, false, false) => (2, "another port and protocol"),
                    (false, true, true) => (3, "another VIP"),
                    (false, ..) => continue,
                };
                let (service, endpoint) = (service.name.to_string(), key.to_string());
                let why_not = differs.to_owned();
                let told = NearView {
                    service,
                    endpoint,
                    why_not,
                };
                near.push((rank, told));
            }
        }
        near.sort_by_key(|(rank, _)| *rank);
        near.truncate(NEAR);
        view.near = near.into_iter().map(|(_, told)| told).collect();
        for near in &view.near {
            view.steps.push(format!(
                "service {} is near: {}, {}",
                near.service, near.endpoint, near.why_not
            ));
        }
        if view.near.is_empty() && !table.services.is_empty() {
            let count = table.services.len();
            view.steps.push(format!(
                "none of the {count} services has this VIP, or this port: lbctl service list"
            ));
        }
    }

    /// The service, and where the flow's hash falls.
    fn found(
        &self,
        service: &Service,
        hash: Option<FlowHash>,
        table: &ServiceTable,
        view: &mut ExplainView,
    ) {
        view.service = Some(service.name.to_string());
        view.scheduler = Some(service.kind.to_string());
        view.steps.push(format!(
            "{}/{} is service {} ({})",
            self.vip, self.protocol, service.name, service.state
        ));
        let hash = hash.unwrap_or_else(|| table.key.flow(&self.key));
        view.hash = Some(format!("{:016x}", hash.0));
        let ring_hash = match service.kind {
            Kind::Sh => table.key.source(&self.key.client),
            _ => hash,
        };
        let Some(ring) = &service.ring else {
            view.steps
                .push("the ring is empty: nobody may serve".to_owned());
            return;
        };
        let (slot, real) = (Ring::slot(ring_hash), ring.pick(ring_hash));
        view.ring_slot = Some(slot as u32);
        view.ring_real = name_of(service, |m| m.id == real);
        let of = match service.kind {
            Kind::Sh => "the client's address",
            _ => "the flow",
        };
        view.steps.push(format!(
            "{of} falls on slot {slot} of the ring, which is {}'s",
            view.ring_real.as_deref().unwrap_or("nobody")
        ));
    }
}
