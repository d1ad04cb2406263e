//! What is known, as the inputs of the next snapshot.

use super::{LastGood, Leaving, RealFacts, World};
use lbcore::config::{self, Config, Mode, NodeWeight, Track};
use lbcore::health::Ejections;
use lbcore::id::{RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::HashKey;
use lbcore::service::{
    Exhausted, Health, Inputs, Interface, RealInput, Registry, ServiceInput, Settled, Way, is_dead,
};
use lbcore::time::Tick;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

impl World {
    /// The interfaces of the configuration that are there now.
    pub fn interfaces(&self) -> Vec<Interface> {
        let of = |(slot, name): (usize, &String)| {
            let link = self.links.iter().find(|l| l.name == *name)?;
            let (ifindex, mac) = (link.ifindex, link.mac);
            Some(Interface {
                slot,
                ifindex,
                name: name.clone(),
                mac,
            })
        };
        self.config
            .network
            .interfaces
            .iter()
            .enumerate()
            .filter_map(of)
            .collect()
    }

    /// The inputs of the next snapshot. Gives ids to whoever has none.
    ///
    /// # Errors
    /// No id is left.
    fn inputs<'a>(
        config: &'a Config,
        lingering: &'a [config::Service],
        key: &'a HashKey,
        rest: &mut Known<'_>,
        now: Tick,
    ) -> Result<Inputs<'a>, Exhausted> {
        let mut services = Vec::new();
        for (service, gone) in config
            .services
            .iter()
            .map(|s| (s, false))
            .chain(lingering.iter().map(|s| (s, true)))
        {
            services.push(rest.service(service, gone)?);
        }
        Ok(Inputs {
            key,
            services,
            interfaces: rest.interfaces.clone(),
            maintenance: rest.maintenance,
            now,
        })
    }

    /// Compiles the next snapshot's inputs and hands them to `with`.
    ///
    /// # Errors
    /// No id is left.
    pub fn with_inputs<T>(
        &mut self,
        loads: &Loads,
        now: Tick,
        with: impl FnOnce(&Inputs<'_>) -> T,
    ) -> Result<T, Exhausted> {
        let interfaces = self.interfaces();
        let mut known = Known {
            registry: &mut self.registry,
            pinned: &self.pinned,
            at_once: &self.at_once,
            reals: &mut self.reals,
            ways: &self.ways,
            last_good: &self.last_good,
            settled: &mut self.settled,
            ejections: &self.ejections,
            uncounted: &self.uncounted,
            loads,
            interfaces,
            maintenance: self.maintenance.is_some(),
            now,
        };
        let inputs = Self::inputs(&self.config, &self.lingering, &self.key, &mut known, now)?;
        let services: HashSet<&str> = inputs
            .services
            .iter()
            .map(|s| s.config.name.as_str())
            .collect();
        let named: HashSet<RealId> = inputs
            .services
            .iter()
            .flat_map(|s| &s.reals)
            .filter(|r| !r.lingering)
            .map(|r| r.id)
            .collect();
        let done = with(&inputs);
        let idle = self.registry.services().filter(|name| {
            !services.contains(name) && self.registry.reals_of(name).next().is_none()
        });
        for name in idle.map(str::to_owned).collect::<Vec<_>>() {
            self.registry.retire_service(&name);
        }
        self.leaving = self
            .registry
            .reals()
            .filter(|(_, _, id, _)| !named.contains(id))
            .map(|(service, at, id, _)| Leaving {
                service: service.to_owned(),
                at,
                id,
            })
            .collect();
        Ok(done)
    }
}

/// What the inputs are made of beside the configuration.
#[derive(Debug)]
struct Known<'a> {
    registry: &'a mut Registry,
    pinned: &'a HashSet<(String, SocketAddr)>,
    at_once: &'a BTreeSet<(String, SocketAddr)>,
    reals: &'a mut HashMap<RealId, RealFacts>,
    ways: &'a HashMap<IpAddr, Way>,
    last_good: &'a HashMap<ServiceId, LastGood>,
    settled: &'a mut HashMap<ServiceId, Settled>,
    ejections: &'a HashMap<ServiceId, Ejections>,
    uncounted: &'a HashSet<ServiceId>,
    loads: &'a Loads,
    interfaces: Vec<Interface>,
    maintenance: bool,
    now: Tick,
}

impl Known<'_> {
    fn service<'c>(
        &mut self,
        service: &'c config::Service,
        gone: bool,
    ) -> Result<ServiceInput<'c>, Exhausted> {
        let id = self.registry.service(&service.name)?;
        let admin = if gone {
            config::Admin::Drain
        } else {
            service.admin
        };
        let checked = !service.checks.is_empty();
        let mut reals = Vec::with_capacity(service.reals.len() + 1);
        // Who may have the weight it gives itself: the operator's word goes before, and so does 0.
        let mut follow = HashSet::new();
        // Of flows that are not remembered nobody knows whether they have ended.
        let uncounted = self.may_be_uncounted(id, service);
        let has_flows = |registry: &Registry, loads: &Loads, at| {
            let known = registry.known_real(&service.name, at);
            known.is_some_and(|id| uncounted || loads.flows(id) > 0)
        };
        for real in &service.reals {
            if gone && !has_flows(self.registry, self.loads, real.place()) {
                continue;
            }
            let place = (service.name.clone(), real.place());
            let admin = match gone && self.at_once.contains(&place) {
                true => config::Admin::Disabled,
                false => real.admin,
            };
            let asked = checked && !gone && admin != config::Admin::Disabled;
            let mut input = self.real(id, service, &real.name, real.place(), asked)?;
            if checked && !asked {
                input.health = Health::Checking;
            }
            if let Some(facts) = self.reals.get_mut(&input.id) {
                facts.pin(real);
            }
            input.weight = real.weight;
            input.effective_weight = input.weight;
            if !self.pinned.contains(&place) && input.weight > 0 {
                follow.insert(input.id);
            }
            input.admin = admin;
            input.backup = real.backup;
            input.max_connections = real.max_connections;
            input.lingering = gone;
            reals.push(input);
        }
        reals.extend(self.lingering_reals(id, service)?);
        let sorry = service
            .sorry
            .map(|address| SocketAddr::new(address, 0))
            .filter(|at| !gone || has_flows(self.registry, self.loads, *at));
        if let Some(at) = sorry {
            let name = format!("sorry-{}", at.ip());
            let mut input = self.real(id, service, &name, at, false)?;
            input.sorry = true;
            input.lingering = gone;
            reals.push(input);
        }
        let remembers = service.track == Track::Changes
            && reals.iter().any(|real| self.loads.flows(real.id) > 0);
        let weights_due = self.weigh(id, service, &follow, &mut reals);
        Ok(ServiceInput {
            id,
            config: service,
            admin,
            reals,
            weights_due,
            remembers,
        })
    }

    /// Whether a service may have flows that nobody has counted.
    fn may_be_uncounted(&self, id: ServiceId, service: &config::Service) -> bool {
        service.track == Track::Changes || self.uncounted.contains(&id)
    }

    /// Gives reals the weights they give themselves, where the service wants it. Returns when those
    /// that wait are due.
    fn weigh(
        &mut self,
        id: ServiceId,
        service: &config::Service,
        follow: &HashSet<RealId>,
        reals: &mut [RealInput],
    ) -> Option<Tick> {
        if service.node_weight() != NodeWeight::Endpoints {
            self.settled.remove(&id);
            return None;
        }
        let said = follow.iter().filter_map(|real| {
            let facts = self.reals.get(real)?;
            Some((*real, facts.observed_weight?))
        });
        let said = said.collect();
        let settled = self.settled.entry(id).or_default();
        let due = settled.follow(&said, self.now);
        for real in reals {
            if let Some(weight) = settled.of(real.id) {
                real.effective_weight = weight;
            }
        }
        due
    }

    /// Reals that were removed while they had flows.
    fn lingering_reals(
        &mut self,
        id: ServiceId,
        service: &config::Service,
    ) -> Result<Vec<RealInput>, Exhausted> {
        let configured: HashSet<SocketAddr> = service.places().collect();
        let uncounted = self.may_be_uncounted(id, service);
        let removed: Vec<SocketAddr> = self
            .registry
            .reals_of(&service.name)
            .filter(|(at, _)| !configured.contains(at))
            // As above.
            .filter(|(_, real)| uncounted || self.loads.flows(*real) > 0)
            .map(|(at, _)| at)
            .collect();
        let mut inputs = Vec::new();
        for at in removed {
            let known = self.registry.real(&service.name, at)?;
            let name = self.reals.get(&known.0).map(|f| f.name.clone());
            let name = name.unwrap_or_else(|| at.ip().to_string());
            let mut input = self.real(id, service, &name, at, false)?;
            input.lingering = true;
            if self.at_once.contains(&(service.name.clone(), at)) {
                input.admin = config::Admin::Disabled;
            }
            inputs.push(input);
        }
        Ok(inputs)
    }

    fn real(
        &mut self,
        service_id: ServiceId,
        service: &config::Service,
        name: &str,
        at: SocketAddr,
        asked: bool,
    ) -> Result<RealInput, Exhausted> {
        let (id, epoch) = self.registry.real(&service.name, at)?;
        let facts = self
            .reals
            .entry(id)
            .or_insert_with(|| RealFacts::new(epoch, at.ip(), name));
        if facts.epoch != epoch {
            *facts = RealFacts::new(epoch, at.ip(), name);
        }
        if !asked {
            facts.unchecked();
        }
        if facts.name != name {
            facts.name = name.to_owned();
        }
        let (health, health_reason) = match (&facts.health, asked) {
            (_, false) => (Health::Unchecked, String::new()),
            (Some((health, reason)), true) => (*health, reason.clone()),
            (None, true) => (Health::Checking, String::new()),
        };
        let way = match service.mode {
            Mode::Dr => self.ways.get(&at.ip()).cloned().unwrap_or(Way::Unknown),
            Mode::Tproxy => Way::Routed,
        };
        let dead = is_dead(health, &way);
        facts.dead_since = dead.then(|| facts.dead_since.unwrap_or(self.now));
        Ok(RealInput {
            id,
            epoch,
            name: name.to_owned(),
            address: at.ip(),
            port: (at.port() != 0).then_some(at.port()),
            max_connections: 0,
            weight: 1,
            effective_weight: 1,
            admin: config::Admin::Enabled,
            backup: false,
            sorry: false,
            lingering: false,
            health,
            health_reason,
            way,
            last: facts.last,
            dead_since: facts.dead_since,
            ramping_since: facts.ramping_since,
            held: facts.held(self.now).filter(|_| service.damping),
            ejected: self
                .ejections
                .get(&service_id)
                .filter(|_| service.passive)
                .and_then(|ejections| ejections.until(id, self.now)),
            last_good: self
                .last_good
                .get(&service_id)
                .is_some_and(|good| good.has(id, facts.last, self.now)),
        })
    }
}
