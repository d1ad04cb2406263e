//! Services and their reals, as people see them.

use crate::daemon::reconciler::Reconciler;
use crate::live::event::HealthState;
use crate::live::{Outcome, ProxyTally};
use crate::sys::clock;
use lbcore::api::{
    CheckView, DialView, HandshakesView, ProxyView, RealView, ServiceView, Timestamp,
};
use lbcore::config::{self, Admin, Mode};
use lbcore::id::ServiceId;
use lbcore::net::Protocol;
use lbcore::service::{Member, RealState, Service, ServiceTable, Serving};
use std::net::SocketAddr;

impl Reconciler {
    /// All services, in file order.
    pub(in crate::daemon) fn service_views(&self, table: &ServiceTable) -> Vec<ServiceView> {
        let of = |config: &config::Service| {
            let service = table.services.iter().find(|s| *s.name == *config.name)?;
            Some(self.service_view(config, service, table))
        };
        self.world.services().filter_map(of).collect()
    }

    /// One service with its reals.
    fn service_view(
        &self,
        config: &config::Service,
        service: &Service,
        table: &ServiceTable,
    ) -> ServiceView {
        let reals: Vec<_> = service
            .members
            .iter()
            .map(|m| self.real_view(config, m, table))
            .collect();
        let totals = self.live.service_totals(service.id);
        ServiceView {
            name: config.name.clone(),
            description: config.description.clone(),
            labels: config.labels.clone(),
            endpoints: service
                .keys
                .iter()
                .map(|k| SocketAddr::new(k.vip.ip(), k.port))
                .collect(),
            protocol: config.protocol,
            mode: config.mode,
            scheduler: config.scheduler,
            admin: config.admin,
            state: service.state,
            state_reason: state_reason(service),
            checks: config.checks.iter().map(check_words).collect(),
            min_healthy: config.min_healthy,
            sorry: config.sorry,
            proxy: (config.mode == Mode::Tproxy).then(|| self.proxy_view(config, service.id)),
            flows: reals.iter().map(|r| r.flows).sum(),
            new_flows: totals.new_flows,
            packets: packets_known(config).then_some(totals.packets),
            bytes: totals.bytes,
            reals,
        }
    }

    /// How a tproxy service is proxied, and what became of its connections.
    fn proxy_view(&self, config: &config::Service, id: ServiceId) -> ProxyView {
        let sum = |of: &dyn Fn(&ProxyTally) -> u64| {
            let workers = self.live.proxies().iter();
            workers.map(|w| of(w.service(id))).sum::<u64>()
        };
        let proxy = &config.proxy;
        ProxyView {
            source: proxy.source.word().to_owned(),
            send_proxy: proxy.send_proxy.word().to_owned(),
            accept_proxy: proxy.accept_proxy,
            trusted_sources: proxy.trusted_sources.clone(),
            connect_timeout_ms: u64::try_from(proxy.connect_timeout.as_millis())
                .unwrap_or(u64::MAX),
            retries: proxy.retries,
            max_connections: proxy.max_connections,
            max_connections_per_source: proxy.max_connections_per_source,
            connections: sum(&ProxyTally::open),
            results: Outcome::ALL
                .iter()
                .map(|how| (how.word().to_owned(), sum(&|t| t.ended(*how).get())))
                .collect(),
            bytes_in: sum(&|t| t.to_real.get()),
            bytes_out: sum(&|t| t.to_client.get()),
        }
    }

    fn real_view(
        &self,
        service: &config::Service,
        member: &Member,
        table: &ServiceTable,
    ) -> RealView {
        let config = service
            .reals
            .iter()
            .find(|r| r.address == member.address && r.port == member.port);
        let facts = self.world.reals.get(&member.id);
        let totals = self.live.real_totals(member.id);
        let path = table.real(member.id).and_then(|r| r.path);
        let weight = u32::from(member.weight);
        let checks = self.board.checks(member.id).into_iter().map(|c| CheckView {
            check: c.check,
            state: said(c.state),
            reason: c.last.map(|l| l.reason).unwrap_or_default(),
        });
        let checks: Vec<CheckView> = checks.collect();
        RealView {
            name: member.name.clone(),
            description: config.map(|c| c.description.clone()).unwrap_or_default(),
            labels: config.map(|c| c.labels.clone()).unwrap_or_default(),
            address: member.address,
            port: member
                .port
                .or(service.ports.first().copied())
                .unwrap_or_default(),
            weight,
            effective_weight: match member.why_not {
                None => u32::from(member.effective_weight),
                Some(_) => 0,
            },
            observed_weight: facts.and_then(|f| f.observed_weight).map(u32::from),
            admin: config.map_or(Admin::Enabled, |c| c.admin),
            backup: member.backup,
            removed: member.lingering,
            state: member.state,
            reason: reason(member, &checks),
            since: Timestamp(facts.map_or(self.started, |f| f.since)),
            dial: (service.mode == Mode::Tproxy).then(|| DialView {
                port: member.port,
                max_connections: table.real(member.id).map_or(0, |r| r.dial.max_connections),
            }),
            mac: path.map(|p| p.dst.to_string()),
            interface: path
                .and_then(|p| table.interface(p.ifindex))
                .map(|i| i.name.clone()),
            checks,
            flows: u64::from(self.live.loads.flows(member.id)),
            active_flows: u64::from(self.live.loads.active(member.id)),
            new_flows: totals.new_flows,
            packets: packets_known(service).then_some(totals.packets),
            bytes: totals.bytes,
            handshakes: (service.mode == Mode::Dr && service.protocol == Protocol::Tcp).then(
                || {
                    let (completed, unanswered) = self.live.handshakes(member.id);
                    HandshakesView {
                        completed,
                        unanswered,
                    }
                },
            ),
            history: Vec::new(),
        }
    }
}

/// Whether we see the packets, and not only what was in them.
fn packets_known(service: &config::Service) -> bool {
    service.mode == Mode::Dr || service.protocol == Protocol::Udp
}

/// Why the service is in its state, in words.
pub(in crate::daemon) fn state_reason(service: &Service) -> String {
    let own = || service.members.iter().filter(|m| !m.sorry && !m.lingering);
    let up = own().filter(|m| m.state.serves()).count();
    let all = own().count();
    match service.serving {
        Serving::Reals => format!("{up} of {all} reals up"),
        Serving::Backups => "no ordinary real is up: the backups serve".to_owned(),
        Serving::Sorry => "no real is up: the sorry server answers".to_owned(),
        Serving::LastGood => {
            format!(
                "checks fail for {} of {all} reals: the last good set goes on",
                all - up
            )
        }
        Serving::Nobody if all == 0 => "it has no reals".to_owned(),
        Serving::Nobody if service.mode == Mode::Tproxy => {
            "no real may serve, clients are refused (no_real): see why in the reals' reasons"
                .to_owned()
        }
        Serving::Nobody => {
            "no real may serve, new flows are dropped (no_real): see why in the reals' reasons"
                .to_owned()
        }
    }
}

/// The state's reason; of a real that is up, what its checks said last.
fn reason(member: &Member, checks: &[CheckView]) -> String {
    let said: Vec<&str> = checks
        .iter()
        .map(|c| c.reason.as_str())
        .filter(|r| !r.is_empty())
        .collect();
    if let Some(until) = member.held_until {
        let left = until.since(clock::now()).div_ceil(1000);
        let why = member.reason.trim_start_matches("held down: ");
        return format!("held down for {left} s more: {why}");
    }
    if let Some(until) = member.ejected_until {
        let left = until.since(clock::now()).div_ceil(1000);
        return format!("no new flows for {left} s more: most clients got no answer");
    }
    match member.state {
        RealState::Up if !said.is_empty() => said.join("; "),
        _ => member.reason.clone(),
    }
}

/// `tcp :8080 every 2s`
fn check_words(check: &config::Check) -> String {
    let port = check
        .port
        .map(|port| format!(" :{port}"))
        .unwrap_or_default();
    format!("{}{port} every {:?}", check.kind.word(), check.interval)
}

/// What a check says, in the words of a real's state.
pub(in crate::daemon) fn said(state: HealthState) -> RealState {
    match state {
        HealthState::Checking => RealState::Checking,
        HealthState::Up => RealState::Up,
        HealthState::Draining => RealState::Draining,
        HealthState::Down => RealState::Down,
    }
}
