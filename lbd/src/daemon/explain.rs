//! `explain`: asks the director, changes nothing, and puts its answer into words.

mod dialled;

use super::reconciler::Reconciler;
use crate::sys::clock;
use lbcore::api::{CandidateView, ExplainView, FlowFound, Verdict as Word};
use lbcore::config::{Mode, Track};
use lbcore::director::{Cursors, Decision, Met, Verdict, View, decide_subject};
use lbcore::net::packet::{Subject, TcpFlags, Transport};
use lbcore::net::{Addr, FlowHash, FlowKey, Protocol, ServiceKey};
use lbcore::sched::{Kind, Ring};
use lbcore::service::{Member, Service, ServiceTable, WhyNot};
use std::net::SocketAddr;

impl Reconciler {
    /// What the director would do with a packet from `client` to `vip`: the next packet of a known
    /// flow, else the first of a new one.
    pub(super) fn explain(
        &self,
        protocol: Protocol,
        client: SocketAddr,
        vip: SocketAddr,
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
        let asked = Asked {
            protocol,
            client,
            vip,
            key,
        };
        if let Some((at, of)) = table.service(&service)
            && of.mode == Mode::Tproxy
        {
            return self.explain_dialled(&asked, at, &table);
        }
        let known = self.live.flows.lookup(table.key.flow(&key)).is_some();
        let transport = match (protocol, known) {
            (Protocol::Udp, _) => Transport::Udp,
            (Protocol::Tcp, true) => Transport::Tcp(TcpFlags::ACK),
            (Protocol::Tcp, false) => Transport::Tcp(TcpFlags::SYN),
        };
        let cursors = Cursors::new(0);
        let view = View {
            table: &table,
            flows: &self.live.flows,
            loads: &self.live.loads,
            cursors: &cursors,
            flood: false,
        };
        let decision = decide_subject(&Subject::Flow { key, transport }, &view, clock::now());
        self.put_in_words(&asked, &decision, &table)
    }

    fn put_in_words(
        &self,
        asked: &Asked,
        decision: &Decision,
        table: &ServiceTable,
    ) -> ExplainView {
        let mut view = asked.unanswered();
        let Some(service) = decision.service.map(|i| &table.services[i]) else {
            view.steps.push(format!(
                "no service has {}/{}: passed to this host",
                asked.vip, asked.protocol
            ));
            return view;
        };
        asked.found(service, decision.hash, table, &mut view);
        let (found, words) = met(decision, service, table);
        view.flow = found;
        view.steps.push(words);
        let chosen = match decision.verdict {
            Verdict::Forward(chosen) => Some(chosen),
            Verdict::Pass | Verdict::Drop(_) => None,
        };
        let is_chosen = |m: &Member| chosen.is_some_and(|c| c.real == m.id);
        view.candidates = service
            .members
            .iter()
            .map(|m| CandidateView {
                name: m.name.clone(),
                address: m.address,
                port: m.port,
                state: m.state,
                weight: u32::from(m.effective_weight),
                flows: u64::from(self.live.loads.flows(m.id)),
                chosen: is_chosen(m),
                why_not: m.why_not.map(|why| why_not(why, m)),
            })
            .collect();
        match decision.verdict {
            Verdict::Forward(chosen) => {
                let name = service
                    .members
                    .iter()
                    .find(|m| is_chosen(m))
                    .map(|m| m.name.clone());
                let interface = table.interface(chosen.path.ifindex).map(|i| i.name.clone());
                view.steps.push(format!(
                    "forwarded to {} at {} by {}: only the two MAC addresses change",
                    name.as_deref().unwrap_or("a real"),
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
                view.steps.push(format!("dropped: {}", reason.word()));
            }
            Verdict::Pass => view.steps.push("passed to this host".to_owned()),
        }
        view
    }
}

struct Asked {
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    key: FlowKey,
}

impl Asked {
    /// The view before anything is known.
    fn unanswered(&self) -> ExplainView {
        ExplainView {
            protocol: self.protocol,
            client: self.client,
            vip: self.vip,
            service: None,
            scheduler: None,
            flow: FlowFound::NotTracked,
            hash: None,
            ring_slot: None,
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
        view.ring_slot = service.ring.as_ref().map(|_| Ring::slot(ring_hash) as u32);
    }
}

fn met(decision: &Decision, service: &Service, table: &ServiceTable) -> (FlowFound, String) {
    let name = |entry: &lbcore::flow::Entry| {
        table
            .member(entry.real)
            .map_or("a real that is gone", |(_, m)| m.name.as_str())
            .to_owned()
    };
    match decision.met {
        Met::Hit(entry) => {
            let words = format!("a known flow ({}) of {}", entry.state.word(), name(&entry));
            (FlowFound::Hit, words)
        }
        Met::Anew(entry) => {
            let words = format!(
                "a known flow of {}, which takes no more new flows: decided anew by {}",
                name(&entry),
                service.kind
            );
            (FlowFound::HitRedecided, words)
        }
        Met::Rehashed(entry) => {
            let words = format!(
                "a known flow of {}, which is dead: the ring decides",
                name(&entry)
            );
            (FlowFound::HitRedecided, words)
        }
        Met::New if matches!(service.kind, Kind::Rr | Kind::Wrr) => {
            let words = format!(
                "a new flow: {} decides, by turns; another turn may go elsewhere",
                service.kind
            );
            (FlowFound::Miss, words)
        }
        Met::New => (
            FlowFound::Miss,
            format!("a new flow: {} decides", service.kind),
        ),
        Met::ByRing if service.track == Track::None => (
            FlowFound::NotTracked,
            "flows are not remembered here: the ring decides".to_owned(),
        ),
        Met::ByRing => (FlowFound::Miss, "not known: the ring decides".to_owned()),
        Met::NotLooked => (FlowFound::NotTracked, "no flow was looked for".to_owned()),
    }
}

fn why_not(why: WhyNot, member: &Member) -> String {
    match why {
        WhyNot::State(state) => format!("{state}: {}", member.reason),
        WhyNot::WeightZero => "its weight is 0".to_owned(),
        WhyNot::Ejected => "most clients got no answer from it lately".to_owned(),
        WhyNot::Backup => "a backup: ordinary reals are up".to_owned(),
        WhyNot::Sorry => "the sorry server: reals are up".to_owned(),
        WhyNot::NoPath => "its MAC address is not known".to_owned(),
        WhyNot::NotLastGood => "it was not in the last good set".to_owned(),
    }
}
