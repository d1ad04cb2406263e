//! `explain` for services in mode tproxy: the same pick as the proxy's, put into words.

use super::Asked;
use crate::daemon::reconciler::Reconciler;
use crate::live::{Outcome, ProxyShared};
use lbcore::api::{CandidateView, ExplainView, FlowFound, PacketKind, Verdict};
use lbcore::config::{SendProxy, Source};
use lbcore::director::{Caller, Connect, Cursors, Unconnected, connect};
use lbcore::sched::Kind;
use lbcore::service::{Member, Service, ServiceTable};
use lbcore::trace::{IN_MAINTENANCE, why_not};

impl Reconciler {
    /// What the proxy would do with a new connection, or the first datagram of a session.
    pub(super) fn explain_dialled(
        &self,
        asked: &Asked,
        at: usize,
        table: &ServiceTable,
    ) -> ExplainView {
        let service = &table.services[at];
        let caller = Caller {
            table,
            service: at,
            key: &asked.key,
            tried: &[],
            loads: &self.live.loads,
        };
        let mut answer = connect(&caller, &mut Cursors::new(0));
        let mut view = asked.unanswered();
        asked.found(service, None, table, &mut view);
        view.flow = FlowFound::Miss;
        if asked.packet == PacketKind::Ack {
            view.flow = FlowFound::NotTracked;
            view.steps.push(
                "an ACK: this host's stack knows its connection (lbctl flows --client shows it), or \
                 resets it"
                    .to_owned(),
            );
            return view;
        }
        if service.proxy.accept_proxy {
            view.steps.push(
                "clients begin with a PROXY header here: the client asked about is the one it names"
                    .to_owned(),
            );
        }
        view.steps.push(match service.kind {
            kind @ (Kind::Rr | Kind::Wrr) => {
                format!("a new connection: {kind} decides, by turns; another turn may go elsewhere")
            }
            kind => format!("a new connection: {kind} decides"),
        });
        let workers = self.live.proxies().iter();
        let open: u64 = workers
            .map(|w: &std::sync::Arc<ProxyShared>| w.service(service.id).open())
            .sum();
        let max = u64::from(service.proxy.max_connections);
        if max > 0 && open >= max {
            view.steps.push(format!(
                "{} has all {max} connections it may have (max_connections)",
                service.name
            ));
            answer = Err(Unconnected::Full);
        }
        if table.maintenance {
            answer = Err(Unconnected::Maintenance);
        }
        view.candidates = service
            .members
            .iter()
            .map(|m| self.candidate(asked, service, m, &answer, table))
            .collect();
        match answer {
            Ok(to) => chosen(asked, service, to, &mut view),
            Err(why) => refused(why, &mut view),
        }
        view
    }

    fn candidate(
        &self,
        asked: &Asked,
        service: &Service,
        member: &Member,
        answer: &Result<Connect, Unconnected>,
        table: &ServiceTable,
    ) -> CandidateView {
        let flows = self.live.loads.flows(member.id);
        let max = table
            .real(member.id)
            .map_or(0, |real| real.dial.max_connections);
        let is_chosen = |m: &Member| answer.as_ref().is_ok_and(|to| to.real == m.id);
        let why = if is_chosen(member) {
            None
        } else if let Some(why) = member.why_not {
            Some(why_not(why, member))
        } else if member.address == asked.client.ip() {
            Some("it is the client itself".to_owned())
        } else if max > 0 && flows >= max {
            Some(format!("it has all the connections it takes ({max})"))
        } else {
            let first = service.members.iter().find(|m| is_chosen(m));
            first.map(|first| format!("{} chose {}", service.kind, first.name))
        };
        CandidateView {
            name: member.name.clone(),
            address: member.address,
            port: member.port,
            state: member.state,
            weight: u32::from(member.weight),
            flows: u64::from(flows),
            chosen: is_chosen(member),
            why_not: why,
        }
    }
}

fn chosen(asked: &Asked, service: &Service, to: Connect, view: &mut ExplainView) {
    let name = service
        .members
        .iter()
        .find(|m| m.id == to.real)
        .map(|m| m.name.clone());
    let real = name.as_deref().unwrap_or("a real");
    let source = match service.proxy.source {
        Source::Client => Some(asked.client.ip()),
        Source::OwnAddress => None,
    };
    let from = source.map_or("this host's own address".to_owned(), |s| {
        format!("the client's address {s}")
    });
    view.steps
        .push(format!("{real} would be dialled at {} from {from}", to.to));
    if service.proxy.send_proxy != SendProxy::Off {
        view.steps.push(format!(
            "a PROXY header ({}) tells it the client",
            service.proxy.send_proxy.word()
        ));
    }
    if service.proxy.retries > 0 {
        view.steps.push(format!(
            "if it does not accept within {:?}, up to {} others are tried before the client notices",
            service.proxy.connect_timeout, service.proxy.retries
        ));
    }
    view.verdict = Verdict::Proxy;
    view.real = name;
    view.server = Some(to.to);
    view.source = source;
}

fn refused(why: Unconnected, view: &mut ExplainView) {
    let (outcome, words) = match why {
        Unconnected::Maintenance => {
            let word = Outcome::Maintenance.word();
            view.steps
                .push(format!("dropped: {word}: {IN_MAINTENANCE}"));
            view.verdict = Verdict::Drop;
            view.drop_reason = Some(word.to_owned());
            return;
        }
        Unconnected::NoReal => (Outcome::NoReal, "no real may serve"),
        Unconnected::Full => (
            Outcome::Full,
            "whoever may serve has all the connections it takes",
        ),
        Unconnected::OwnAddress => (
            Outcome::OwnAddress,
            "the client is the only real there is: a machine drops what comes to it from its own \
             address",
        ),
    };
    view.steps
        .push(format!("refused: {words} ({})", outcome.word()));
    view.verdict = Verdict::Refuse;
    view.drop_reason = Some(outcome.word().to_owned());
}
