//! What the doctor needs to know, gathered for its visit.

use super::plans;
use super::reconciler::Reconciler;
use super::reload;
use super::world::World;
use crate::doctor::{
    self, Busiest, DirectPlan, DoctorPlan, FileState, HeldVip, HostPlan, Machine, Patient, Running,
    VipPath,
};
use crate::live::Outcome;
use crate::proxy::{ConnectionRow, ListAsk, Proxy};
use lbcore::api::{ApiError, ErrorCode, MAX_FLOWS_LISTED, Response};
use lbcore::config::{self, Admin, Config, Mode, Source, Via};
use lbcore::id::{RealId, ServiceId};
use lbcore::service::{RealState, Service, ServiceTable, Way};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::sync::{Semaphore, oneshot};

/// One visit at a time: each dials every real.
static VISITS: Semaphore = Semaphore::const_new(1);

/// Clients whose addresses may be borrowed: of both families, and not all on some real's network.
const CLIENTS_KNOWN: usize = 64;

/// A proxy worker that is stuck shall not keep the doctor away.
const WORKERS_ANSWER_WITHIN: Duration = Duration::from_secs(2);

impl Reconciler {
    /// Sends the doctor, who answers when done.
    pub(super) fn doctor(
        &self,
        client: Option<IpAddr>,
        reply: oneshot::Sender<Result<Response, ApiError>>,
    ) {
        let Ok(visit) = VISITS.try_acquire() else {
            let error = ApiError::new(ErrorCode::Unavailable, "the doctor is here already");
            let _ = reply.send(Err(error.hint("ask again in some seconds")));
            return;
        };
        let table = self.live.table();
        let mut plan = self.doctor_plan(client, &table);
        let running = self.facts_of_running();
        let config = self.world.config.clone();
        let proxy = self.proxy.clone();
        tokio::spawn(async move {
            let rows = connections(proxy.as_deref()).await;
            plan.host = Some(host(config, running).await);
            plan.seen = seen(&rows);
            plan.busiest = busier(plan.busiest, busiest(&rows, &table));
            let view = doctor::examine(plan).await;
            // Before the answer: who has it may ask again.
            drop(visit);
            let _ = reply.send(Ok(Response::Doctor(Box::new(view))));
        });
    }

    fn doctor_plan(&self, client: Option<IpAddr>, table: &ServiceTable) -> DoctorPlan {
        let proxied = || table.services.iter().filter(|s| s.mode == Mode::Tproxy);
        let no_ports = |id: ServiceId| {
            let workers = self.live.proxies().iter();
            let counts = workers.map(|w| w.service(id).ended(Outcome::NoPorts).get());
            counts.sum::<u64>()
        };
        // From our own address, all connections to a real share its ports.
        let ours = proxied().filter(|s| s.proxy.source == Source::OwnAddress);
        let ours = ours.flat_map(|s| s.members.iter().map(move |m| (s, m)));
        let busiest = ours.map(|(service, member)| Busiest {
            real: format!("{}/{}", service.name, member.name),
            connections: u64::from(self.live.loads.flows(member.id)),
        });
        DoctorPlan {
            host: None,
            reals: proxied().flat_map(patients).collect(),
            vips: proxied()
                .flat_map(|s| s.keys.iter().map(|k| k.vip.ip()))
                .collect(),
            direct: direct(&self.world),
            config: self.config_file.clone(),
            intercept: plans::intercept(&self.world),
            restored: ["nft", "rule", "route"]
                .iter()
                .filter_map(|kind| self.tallies.restored.get(*kind))
                .sum(),
            trouble: self.proxy_trouble(),
            client,
            seen: Vec::new(),
            no_ports: proxied().map(|s| no_ports(s.id)).sum(),
            busiest: busiest.max_by_key(|b| b.connections),
            silent_to_clients: self
                .silent_to_clients()
                .into_iter()
                .map(|silent| (silent.name.clone(), silent.seen()))
                .collect(),
            links: self.live.links(),
        }
    }
}

impl Reconciler {
    /// What this lbd knows of itself; how the file compares is read beside it.
    fn facts_of_running(&self) -> Running {
        Running {
            started: self.started,
            revision: self.revision,
            loaded: self.tallies.last_success,
            file: self.config_file.clone(),
            compared: FileState::Same,
            last_good_in_use: self.last_good_in_use,
            drift: self.drift().into_iter().map(|d| d.key).collect(),
            guard: plans::guard(&self.world),
            engines: self.engines(),
            live: self.live.clone(),
        }
    }
}

/// With the file as it is now.
async fn host(config: Config, mut running: Running) -> HostPlan {
    let file = running.file.clone();
    let in_force = config.clone();
    let compared = tokio::task::spawn_blocking(move || compare(&file, &in_force)).await;
    if let Ok(compared) = compared {
        running.compared = compared;
    }
    HostPlan {
        config,
        running: Some(running),
    }
}

fn compare(file: &Path, in_force: &Config) -> FileState {
    let mut loaded = match reload::load(file) {
        Ok(loaded) => loaded.config,
        Err(refused) => return FileState::Bad(refused.summary),
    };
    let mut changes = reload::keep_until_restart(in_force, &mut loaded);
    let diff = config::diff(in_force, &loaded);
    changes.extend(diff.changes.iter().map(ToString::to_string));
    if changes.is_empty() {
        FileState::Same
    } else {
        FileState::Differs(changes)
    }
}

fn patients(service: &Service) -> Vec<Patient> {
    let Some(key) = service.keys.first() else {
        return Vec::new();
    };
    let members = service.members.iter().filter(|m| !m.lingering);
    members
        .map(|m| Patient {
            name: format!("{}/{}", service.name, m.name),
            protocol: key.protocol,
            at: SocketAddr::new(m.address, m.port.unwrap_or(key.port)),
            borrowed: service.proxy.source == Source::Client,
            disabled: m.state == RealState::Disabled,
        })
        .collect()
}

/// What is configured in mode dr, and what is known of it.
fn direct(world: &World) -> DirectPlan {
    let services = || {
        let services = world.config.services.iter();
        services.filter(|s| s.mode == Mode::Dr)
    };
    let mut plan = DirectPlan {
        interfaces: world.config.network.interfaces.clone(),
        ..DirectPlan::default()
    };
    let mut known: HashMap<IpAddr, usize> = HashMap::new();
    let mut add = |name: String, address: IpAddr, disabled: bool| {
        let at = *known.entry(address).or_insert(plan.machines.len());
        match plan.machines.get_mut(at) {
            Some(machine) => machine.disabled &= disabled,
            None => plan.machines.push(Machine {
                name,
                address,
                way: world.ways.get(&address).cloned().unwrap_or(Way::Unknown),
                disabled,
            }),
        }
    };
    for service in services() {
        for real in &service.reals {
            let disabled = real.admin == Admin::Disabled;
            let name = format!("{}/{}", service.name, real.name);
            add(name, real.address, disabled);
        }
        if let Some(sorry) = service.sorry {
            add(format!("{}/sorry", service.name), sorry, false);
        }
    }
    plan.paths = services().flat_map(|s| paths(world, s)).collect();
    let vips: HashSet<IpAddr> = services().flat_map(|s| s.vips.iter().copied()).collect();
    let held = world.vips.values().filter(|news| vips.contains(&news.vip));
    plan.vips = held
        .map(|news| HeldVip {
            vip: news.vip,
            interface: news.interface.clone(),
            state: news.state,
            claimed_by: news.claimed_by,
        })
        .collect();
    plan
}

/// Reals of a service that is checked along the way of clients' packets.
fn paths(world: &World, service: &config::Service) -> Vec<VipPath> {
    if !service.checks.iter().any(|check| check.via == Via::Vip) {
        return Vec::new();
    }
    let enabled = service.reals.iter();
    let enabled = enabled.filter(|r| r.admin != Admin::Disabled);
    let path = |real: &config::Real| {
        let id = world.registry.known_real(&service.name, real.place());
        let facts = id.and_then(|id| world.reals.get(&id));
        VipPath {
            service: service.name.clone(),
            address: real.address,
            name: format!("{}/{}", service.name, real.name),
            way: world
                .ways
                .get(&real.address)
                .cloned()
                .unwrap_or(Way::Unknown),
            health: facts.and_then(|facts| facts.health.clone()),
        }
    };
    enabled.map(path).collect()
}

/// What the proxy has open, as far as one listing goes.
async fn connections(proxy: Option<&Proxy>) -> Vec<ConnectionRow> {
    let Some(proxy) = proxy else {
        return Vec::new();
    };
    let ask = ListAsk {
        service: None,
        real: None,
        client: None,
        protocol: None,
        state: None,
        limit: MAX_FLOWS_LISTED,
    };
    tokio::time::timeout(WORKERS_ANSWER_WITHIN, proxy.list(&ask))
        .await
        .unwrap_or_default()
}

/// The clients of these connections, the latest first.
fn seen(rows: &[ConnectionRow]) -> Vec<IpAddr> {
    let mut by_age: Vec<(Duration, IpAddr)> =
        rows.iter().map(|row| (row.age, row.client.ip())).collect();
    by_age.sort_unstable();
    let mut known = HashSet::new();
    let clients = by_age.into_iter().map(|(_, client)| client);
    clients
        .filter(|client| known.insert(*client))
        .take(CLIENTS_KNOWN)
        .collect()
}

/// The client and real with the most connections between them, where clients' addresses are used.
fn busiest(rows: &[ConnectionRow], table: &ServiceTable) -> Option<Busiest> {
    let mut pairs: HashMap<(IpAddr, RealId), u64> = HashMap::new();
    for row in rows {
        if let Some(real) = row.real {
            *pairs.entry((row.client.ip(), real)).or_default() += 1;
        }
    }
    let of = |((_, real), connections): ((IpAddr, RealId), u64)| {
        let (service, member) = table.member(real)?;
        (service.proxy.source == Source::Client).then(|| Busiest {
            real: format!("{}/{}", service.name, member.name),
            connections,
        })
    };
    let pairs = pairs.into_iter().filter_map(of);
    pairs.max_by_key(|b| b.connections)
}

fn busier(one: Option<Busiest>, other: Option<Busiest>) -> Option<Busiest> {
    one.into_iter().chain(other).max_by_key(|b| b.connections)
}
