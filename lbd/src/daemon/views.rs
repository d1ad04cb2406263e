//! The state of lbd as people and scripts see it.

use super::reconciler::Reconciler;
use crate::control::{MetricsView, metrics::Transitions};
use crate::live::event::HealthState;
use crate::live::{FrameTotals, WorkerState};
use lbcore::api::{
    CheckView, DriftView, EngineView, FramesView, InterfaceView, LastReload, RealView, ServiceView,
    StatusView, Timestamp, VipView,
};
use lbcore::config::{self, Admin, Announce};
use lbcore::flow::Eviction;
use lbcore::id::RealId;
use lbcore::net::MacAddr;
use lbcore::service::{Member, RealState, Service, ServiceState, ServiceTable, Serving};
use lbcore::vip::{Hold, VipState};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

impl Reconciler {
    /// The whole picture.
    pub(super) fn status(&self) -> StatusView {
        let table = self.live.table();
        let readiness = self.readiness();
        let interfaces = self.interface_views();
        let frames = interfaces.iter().fold(FramesView::default(), |mut sum, i| {
            sum.received += i.frames.received;
            sum.sent += i.frames.sent;
            sum.passed += i.frames.passed;
            sum.ring_drops += i.frames.ring_drops;
            sum
        });
        let services: Vec<_> = self.service_views(&table);
        let warnings = self.warnings(&table);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Timestamp(self.started),
            revision: self.revision,
            generation: self.generation,
            ready: readiness.ready,
            ready_reason: readiness.reason,
            key_fingerprint: self.world.key.fingerprint(),
            config_file: self.config_file.display().to_string(),
            last_reload: self
                .tallies
                .last_reload
                .clone()
                .map(|(at, ok, message)| LastReload {
                    at: Timestamp(at),
                    ok,
                    message,
                }),
            last_good_in_use: self.last_good_in_use,
            drift: self.drift(),
            engines: self.engines(),
            interfaces,
            services,
            vips: self.vip_views(),
            flow_entries: self.live.flows.len() as u64,
            flow_capacity: self.live.flows.capacity() as u64,
            frames,
            drops: self
                .live
                .drops()
                .into_iter()
                .map(|(r, n)| (r.word().to_owned(), n))
                .collect(),
            warnings,
        }
    }

    fn engines(&self) -> Vec<EngineView> {
        let names = self.live.workers().iter().map(|w| w.interface.as_str());
        let names: BTreeSet<&str> = names.collect();
        let of = |interface: &str| {
            let workers: Vec<_> = self
                .live
                .workers()
                .iter()
                .filter(|w| w.interface == interface)
                .collect();
            let waiting = workers.iter().find_map(|w| match w.state() {
                WorkerState::Waiting(why) => Some(why),
                WorkerState::Running => None,
            });
            EngineView {
                name: "af_packet".to_owned(),
                interface: interface.to_owned(),
                reason: waiting.unwrap_or_else(|| {
                    "raw sockets with a receive ring: the engine of this version".to_owned()
                }),
                workers: workers.len(),
            }
        };
        names.into_iter().map(of).collect()
    }

    fn interface_views(&self) -> Vec<InterfaceView> {
        let of = |(slot, name): (usize, &String)| {
            let FrameTotals {
                received,
                sent,
                passed,
                ring_drops,
            } = self.live.frame_totals(slot);
            let link = self.world.links.iter().find(|l| l.name == *name);
            let state = match link {
                None => "missing".to_owned(),
                Some(l) if !l.up => "down".to_owned(),
                Some(l) if !l.carrier => "no carrier".to_owned(),
                Some(l) if l.addresses.is_empty() => "up, no address".to_owned(),
                Some(_) => "up".to_owned(),
            };
            InterfaceView {
                name: name.clone(),
                state,
                mac: link.map(|l| l.mac.to_string()),
                mtu: link.map_or(0, |l| l.mtu),
                frames: FramesView {
                    received,
                    sent,
                    passed,
                    ring_drops,
                },
            }
        };
        self.world
            .config
            .network
            .interfaces
            .iter()
            .enumerate()
            .map(of)
            .collect()
    }

    /// All services, in file order.
    pub(super) fn service_views(&self, table: &ServiceTable) -> Vec<ServiceView> {
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
            flows: reals.iter().map(|r| r.flows).sum(),
            new_flows: totals.new_flows,
            packets: totals.packets,
            bytes: totals.bytes,
            reals,
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
            state: match c.state {
                HealthState::Checking => RealState::Checking,
                HealthState::Up => RealState::Up,
                HealthState::Draining => RealState::Draining,
                HealthState::Down => RealState::Down,
            },
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
            effective_weight: if member.why_not.is_none() { weight } else { 0 },
            admin: config.map_or(Admin::Enabled, |c| self.world.admin_of(service, c)),
            backup: member.backup,
            removed: member.lingering,
            state: member.state,
            reason: reason(member, &checks),
            since: Timestamp(facts.map_or(self.started, |f| f.since)),
            mac: path.map(|p| p.dst.to_string()),
            interface: path
                .and_then(|p| table.interface(p.ifindex))
                .map(|i| i.name.clone()),
            checks,
            flows: u64::from(self.live.loads.flows(member.id)),
            active_flows: u64::from(self.live.loads.active(member.id)),
            new_flows: totals.new_flows,
            packets: totals.packets,
            bytes: totals.bytes,
        }
    }

    /// Who answers for the VIPs, by VIP and interface.
    pub(super) fn vip_views(&self) -> Vec<VipView> {
        let mut views = Vec::new();
        for vip in self.vips() {
            let services: Vec<&config::Service> = self
                .world
                .services()
                .filter(|s| s.vips.contains(&vip))
                .collect();
            let Some(first) = services.first() else {
                continue;
            };
            let (names, announce) = (
                services.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
                first.announce,
            );
            let known: Vec<_> = self
                .world
                .vips
                .iter()
                .filter(|((v, _), _)| *v == vip)
                .collect();
            let empty = || VipView {
                vip,
                services: names.clone(),
                interface: None,
                state: VipState::Silent,
                announce,
                mac: None,
                last_announced: None,
                conflicts: 0,
                claimed_by: None,
                note: None,
            };
            if known.is_empty() {
                views.push(empty());
            }
            for ((_, interface), news) in known {
                let link = self.world.links.iter().find(|l| l.name == *interface);
                let ours = !matches!(news.state, VipState::Silent | VipState::Conflict);
                views.push(VipView {
                    interface: Some(interface.clone()),
                    state: news.state,
                    mac: link.filter(|_| ours).map(|l| l.mac.to_string()),
                    conflicts: news.conflicts,
                    last_announced: news.announced.map(Timestamp),
                    claimed_by: news.claimed_by.map(|m: MacAddr| m.to_string()),
                    note: news.note.clone(),
                    ..empty()
                });
            }
        }
        views
    }

    fn vips(&self) -> BTreeSet<IpAddr> {
        self.world
            .services()
            .flat_map(|s| s.vips.iter().copied())
            .collect()
    }

    fn drift(&self) -> Vec<DriftView> {
        let mut drift = Vec::new();
        for (service, reals) in &self.world.overrides.reals {
            let config = self
                .world
                .config
                .services
                .iter()
                .find(|s| s.name == *service);
            for (place, changed) in reals {
                let real = config.and_then(|s| s.reals.iter().find(|r| r.place() == *place));
                let name = real.map_or_else(|| place.ip().to_string(), |r| r.name.clone());
                let key = |what: &str| format!("service[{service}].real[{name}].{what}");
                if let Some(c) = changed.admin {
                    let (file, running) = (c.file.word().to_owned(), c.running.word().to_owned());
                    drift.push(DriftView {
                        key: key("admin"),
                        file,
                        running,
                    });
                }
                if let Some(c) = changed.weight {
                    let (file, running) = (c.file.to_string(), c.running.to_string());
                    drift.push(DriftView {
                        key: key("weight"),
                        file,
                        running,
                    });
                }
            }
        }
        for (vip, hold) in &self.world.overrides.vips {
            let running = match hold {
                Hold::Default => continue,
                // What the file says anyhow.
                Hold::Take if self.announce_of(*vip) == Some(Announce::Always) => continue,
                Hold::Take => "taken",
                Hold::Release => "released",
            };
            drift.push(DriftView {
                key: format!("vip[{vip}]"),
                file: "as announce says".to_owned(),
                running: running.to_owned(),
            });
        }
        drift
    }

    /// What the first service of a VIP says of announcing it.
    fn announce_of(&self, vip: IpAddr) -> Option<Announce> {
        let mut services = self.world.services();
        Some(services.find(|s| s.vips.contains(&vip))?.announce)
    }

    fn warnings(&self, table: &ServiceTable) -> Vec<String> {
        let mut warnings = self.standing_warnings.clone();
        for worker in self.live.workers() {
            if let WorkerState::Waiting(why) = worker.state() {
                warnings.push(format!("not receiving on {}: {why}", worker.interface));
            }
        }
        for service in &table.services {
            match service.state {
                ServiceState::Panic | ServiceState::Down => warnings.push(format!(
                    "service {} is {}: {}",
                    service.name,
                    service.state,
                    state_reason(service)
                )),
                ServiceState::Up | ServiceState::Degraded => {}
            }
        }
        for ((vip, interface), news) in &self.world.vips {
            if let Some(note) = &news.note {
                warnings.push(format!("VIP {vip} on {interface}: {note}"));
            }
        }
        if let Some(trouble) = self.guard_trouble() {
            warnings.push(trouble);
        }
        let unremembered = self.live.unremembered();
        if unremembered > 0 {
            warnings.push(format!(
                "{unremembered} flows were not remembered (table full, or a flood): the ring \
                 answered for them; a larger network.flow_entries makes room"
            ));
        }
        warnings
    }

    /// Everything that is counted.
    pub(super) fn metrics(&self) -> MetricsView {
        let table = self.live.table();
        let mut evictions = BTreeMap::new();
        for why in [Eviction::Expired, Eviction::Closing, Eviction::Opening] {
            evictions.insert(why.word().to_owned(), self.live.evicted(why));
        }
        evictions.insert("unremembered".to_owned(), self.live.unremembered());
        let of = |(id, to): (&RealId, &BTreeMap<&'static str, u64>)| {
            let (service, member) = table.member(*id)?;
            Some(Transitions {
                service: service.name.to_string(),
                real: member.name.clone(),
                to: to.clone(),
            })
        };
        MetricsView {
            status: self.status(),
            maintenance: false,
            reloads_ok: self.tallies.reloads_ok,
            reloads_refused: self.tallies.reloads_refused,
            last_reload_success: self.tallies.last_success,
            evictions,
            restored: self.tallies.restored.clone(),
            transitions: self.tallies.transitions.iter().filter_map(of).collect(),
        }
    }
}

/// Why the service is in its state, in words.
fn state_reason(service: &Service) -> String {
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
