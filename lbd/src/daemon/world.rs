//! Everything the reconciler knows, and how it becomes the inputs of the next snapshot.

use super::persist::{Overrides, RememberedHealth, Set};
use crate::live::event::{HealthNews, HealthState, Link, NeighborNews, Reach, VipNews};
use lbcore::config::{self, Config};
use lbcore::id::{Epoch, RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::HashKey;
use lbcore::service::{
    Exhausted, Health, Inputs, Interface, RealInput, RealState, Registry, ServiceInput,
    ServiceTable, Way,
};
use lbcore::time::Tick;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// What is known of one real beside its configuration.
#[derive(Clone, Debug)]
pub struct RealFacts {
    /// Whose id it is.
    pub epoch: Epoch,
    /// What its checks said last; `None`: nothing yet.
    pub health: Option<(HealthState, String)>,
    /// The state it was last judged to be in, and since when.
    pub last: Option<(RealState, Tick)>,
    /// The same moment on the wall clock, for people.
    pub since: SystemTime,
    /// The name it has, or had before it was removed.
    pub name: String,
}

/// News of a real that is on hold because the trouble may be ours.
type Held = BTreeMap<RealId, HealthNews>;

/// Everything the reconciler knows.
#[derive(Debug)]
pub struct World {
    /// The configuration in force.
    pub config: Config,
    /// The key of every hash.
    pub key: HashKey,
    /// Who has which id.
    pub registry: Registry,
    /// The operator's wishes.
    pub overrides: Overrides,
    /// Facts by real.
    pub reals: HashMap<RealId, RealFacts>,
    /// Ways by real address.
    pub ways: HashMap<IpAddr, Way>,
    /// The host's interfaces.
    pub links: Arc<Vec<Link>>,
    /// Who answers for VIPs, by VIP and interface.
    pub vips: BTreeMap<(IpAddr, String), VipNews>,
    /// Services that are no longer configured, while their flows end.
    pub lingering: Vec<config::Service>,
    last_good: HashMap<ServiceId, BTreeSet<RealId>>,
    carrier_since: HashMap<String, Option<Tick>>,
    held: Held,
}

impl World {
    /// A world in which nothing has been seen yet, except what the last lbd remembered.
    pub fn new(config: Config, key: HashKey, overrides: Overrides, set: Set) -> Self {
        let mut reals = HashMap::new();
        for (_, address, id, epoch) in set.registry.reals() {
            let remembered = set.health.get(&id.0);
            reals.insert(id, RealFacts::remembered(epoch, address, remembered));
        }
        let last_good = set
            .last_good
            .iter()
            .map(|(id, reals)| (ServiceId(*id), reals.iter().map(|r| RealId(*r)).collect()))
            .collect();
        World {
            config,
            key,
            registry: set.registry,
            overrides,
            reals,
            ways: HashMap::new(),
            links: Arc::default(),
            vips: BTreeMap::new(),
            lingering: Vec::new(),
            last_good,
            carrier_since: HashMap::new(),
            held: Held::new(),
        }
    }

    /// Configured services, then those whose flows may end.
    pub fn services(&self) -> impl Iterator<Item = &config::Service> {
        self.config.services.iter().chain(&self.lingering)
    }

    /// Keeps services that `old` had and the configuration no longer has, while their flows end;
    /// unless somebody else has their VIP and port now.
    pub fn linger(&mut self, old: &Config, loads: &Loads) {
        let now_served = |vip: &IpAddr, port: &u16, of: &config::Service| {
            self.config.services.iter().any(|s| {
                s.protocol == of.protocol && s.vips.contains(vip) && s.ports.contains(port)
            })
        };
        let free = |of: &config::Service| {
            of.vips
                .iter()
                .all(|vip| of.ports.iter().all(|port| !now_served(vip, port, of)))
        };
        let has_flows = |of: &config::Service| {
            self.registry
                .reals_of(&of.name)
                .any(|(_, real)| loads.flows(real) > 0)
        };
        let named = |name: &str| self.config.services.iter().any(|s| s.name == name);
        let gone = old.services.iter().chain(&self.lingering);
        self.lingering = gone
            .filter(|s| !named(&s.name) && free(s) && has_flows(s))
            .cloned()
            .collect();
    }

    /// The operator's wish in force for one real: changed by command, else the file's.
    pub fn admin_of(&self, service: &config::Service, real: &config::Real) -> config::Admin {
        let changed = self
            .overrides
            .reals
            .get(&service.name)
            .and_then(|r| r.get(&real.address));
        changed
            .and_then(|c| c.admin)
            .map_or(real.admin, |c| c.running)
    }

    /// Takes news of a real's checks. True if it changes anything now.
    pub fn hear_health(&mut self, news: HealthNews, now: Tick) -> bool {
        let holding = news.state == HealthState::Down && self.trouble_is_ours(now);
        let Some(facts) = self.reals.get_mut(&news.real) else {
            return false;
        };
        if facts.epoch != news.epoch {
            return false;
        }
        if holding {
            self.held.insert(news.real, news);
            return false;
        }
        self.held.remove(&news.real);
        facts.health = Some((news.state, news.reason));
        true
    }

    /// Whether a failed check may be our own link's fault: no carrier, or only just again.
    fn trouble_is_ours(&self, now: Tick) -> bool {
        let holddown = self.config.network.link_holddown;
        self.config
            .network
            .interfaces
            .iter()
            .any(|name| match self.carrier_since.get(name) {
                Some(Some(since)) => now < *since + holddown,
                Some(None) => true,
                None => false,
            })
    }

    /// Failures that were on hold and that nothing took back: they count now. True if there were.
    pub fn release_held(&mut self, now: Tick) -> bool {
        if self.held.is_empty() || self.trouble_is_ours(now) {
            return false;
        }
        let held = std::mem::take(&mut self.held);
        let mut any = false;
        for news in held.into_values() {
            any |= self.hear_health(news, now);
        }
        any
    }

    /// Takes news of the host's interfaces.
    pub fn hear_links(&mut self, links: Arc<Vec<Link>>, now: Tick) {
        let first = self.links.is_empty();
        for name in &self.config.network.interfaces {
            let carrier = links.iter().any(|l| l.name == *name && l.up && l.carrier);
            let known = self.carrier_since.get(name).copied();
            let next = match (carrier, known) {
                (false, _) => None,
                // Carrier that was there when we came is no carrier-up.
                (true, None) if first => Some(Tick(0)),
                (true, Some(Some(since))) => Some(since),
                (true, _) => Some(now),
            };
            self.carrier_since.insert(name.clone(), next);
        }
        self.links = links;
    }

    /// Takes news of the way to a real. True if it changes anything.
    pub fn hear_neighbor(&mut self, news: NeighborNews) -> bool {
        let last = match self.ways.get(&news.address) {
            Some(Way::Known { ifindex, mac }) => Some((*ifindex, *mac)),
            Some(Way::Silent { last, .. }) => *last,
            _ => None,
        };
        let way = match news.reach {
            Reach::Neighbor { ifindex, mac } => Way::Known { ifindex, mac },
            Reach::Unresolved { ifindex } => {
                let asked = if news.address.is_ipv4() {
                    "ARP"
                } else {
                    "neighbour solicitation"
                };
                let on = self.link_name(ifindex).unwrap_or("its interface");
                let reason = format!("{} does not answer {asked} on {on}", news.address);
                Way::Silent { last, reason }
            }
            Reach::Unreachable(why) => Way::Unreachable(why),
        };
        let changed = self.ways.get(&news.address) != Some(&way);
        self.ways.insert(news.address, way);
        changed
    }

    fn link_name(&self, ifindex: u32) -> Option<&str> {
        self.links
            .iter()
            .find(|l| l.ifindex == ifindex)
            .map(|l| l.name.as_str())
    }

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
    pub fn inputs<'a>(
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
            overrides: &self.overrides,
            reals: &mut self.reals,
            ways: &self.ways,
            last_good: &self.last_good,
            loads,
            interfaces,
        };
        let inputs = Self::inputs(&self.config, &self.lingering, &self.key, &mut known, now)?;
        Ok(with(&inputs))
    }

    /// Remembers what a snapshot says of states and last good sets. Returns the reals whose state
    /// changed, with the state before.
    pub fn learn(
        &mut self,
        table: &ServiceTable,
        now: Tick,
        wall: SystemTime,
    ) -> Vec<(RealId, Option<RealState>)> {
        let mut changed = Vec::new();
        for (index, service) in table.services.iter().enumerate() {
            if let Some(good) = table.good_set(index) {
                self.last_good.insert(service.id, good.collect());
            }
            for member in &service.members {
                let Some(facts) = self.reals.get_mut(&member.id) else {
                    continue;
                };
                let before = facts.last.map(|(state, _)| state);
                if before != Some(member.state) {
                    facts.last = Some((member.state, now));
                    facts.since = wall;
                    changed.push((member.id, before));
                }
            }
        }
        changed
    }

    /// What the next lbd must know.
    pub fn set(&self, generation: u64) -> Set {
        let health = self.reals.iter().filter_map(|(id, facts)| {
            let (state, reason) = facts.health.as_ref()?;
            let health = health_of(*state);
            Some((
                id.0,
                RememberedHealth {
                    health,
                    reason: reason.clone(),
                },
            ))
        });
        Set {
            key_fingerprint: self.key.fingerprint(),
            registry: self.registry.clone(),
            generation,
            health: health.collect(),
            last_good: self
                .last_good
                .iter()
                .map(|(id, reals)| (id.0, reals.iter().map(|r| r.0).collect()))
                .collect(),
        }
    }

    /// Forgets reals and services that are no longer configured and have no flows left. True if
    /// anything was forgotten.
    pub fn forget_the_gone(&mut self, loads: &Loads) -> bool {
        let (config, lingering) = (&self.config, &mut self.lingering);
        let before = lingering.len();
        lingering.retain(|service| {
            self.registry
                .reals_of(&service.name)
                .any(|(_, real)| loads.flows(real) > 0)
        });
        let kept = |name: &str| {
            config
                .services
                .iter()
                .chain(lingering.iter())
                .find(|s| s.name == *name)
        };
        let gone: Vec<RealId> = self
            .registry
            .reals()
            .filter(|(service, address, id, _)| {
                let configured = kept(service).is_some_and(|s| {
                    s.sorry == Some(*address) || s.reals.iter().any(|r| r.address == *address)
                });
                !configured && loads.flows(*id) == 0
            })
            .map(|(_, _, id, _)| id)
            .collect();
        for id in &gone {
            self.registry.retire_real(*id);
            self.reals.remove(id);
            self.held.remove(id);
        }
        let names: Vec<String> = self
            .registry
            .services()
            .filter(|name| kept(name).is_none())
            .map(str::to_owned)
            .collect();
        for name in &names {
            if self.registry.reals_of(name).next().is_none() {
                self.registry.retire_service(name);
            }
        }
        !gone.is_empty() || before != self.lingering.len()
    }
}

impl RealFacts {
    fn new(epoch: Epoch, name: &str) -> Self {
        RealFacts {
            epoch,
            health: None,
            last: None,
            since: SystemTime::now(),
            name: name.to_owned(),
        }
    }

    fn remembered(epoch: Epoch, address: IpAddr, health: Option<&RememberedHealth>) -> Self {
        let mut facts = RealFacts::new(epoch, &address.to_string());
        facts.health = health.and_then(|r| match r.health {
            Health::Up => Some((HealthState::Up, r.reason.clone())),
            Health::Down => Some((HealthState::Down, r.reason.clone())),
            Health::Checking | Health::Unchecked => None,
        });
        facts
    }
}

fn health_of(state: HealthState) -> Health {
    match state {
        HealthState::Checking => Health::Checking,
        HealthState::Up => Health::Up,
        HealthState::Down => Health::Down,
    }
}

/// What the inputs are made of beside the configuration.
#[derive(Debug)]
pub struct Known<'a> {
    registry: &'a mut Registry,
    overrides: &'a Overrides,
    reals: &'a mut HashMap<RealId, RealFacts>,
    ways: &'a HashMap<IpAddr, Way>,
    last_good: &'a HashMap<ServiceId, BTreeSet<RealId>>,
    loads: &'a Loads,
    interfaces: Vec<Interface>,
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
        for real in &service.reals {
            let mut input = self.real(id, service, &real.name, real.address, checked)?;
            let changed = self
                .overrides
                .reals
                .get(&service.name)
                .and_then(|reals| reals.get(&real.address))
                .copied()
                .unwrap_or_default();
            input.weight = changed.weight.map_or(real.weight, |c| c.running);
            input.admin = changed.admin.map_or(real.admin, |c| c.running);
            input.backup = real.backup;
            input.lingering = gone;
            reals.push(input);
        }
        reals.extend(self.lingering_reals(id, service)?);
        if let Some(address) = service.sorry {
            let name = format!("sorry-{address}");
            let mut input = self.real(id, service, &name, address, false)?;
            input.sorry = true;
            reals.push(input);
        }
        Ok(ServiceInput {
            id,
            config: service,
            admin,
            reals,
        })
    }

    /// Reals that were removed while they had flows.
    fn lingering_reals(
        &mut self,
        id: ServiceId,
        service: &config::Service,
    ) -> Result<Vec<RealInput>, Exhausted> {
        let configured = |address: &IpAddr| {
            service.sorry == Some(*address) || service.reals.iter().any(|r| r.address == *address)
        };
        let removed: Vec<IpAddr> = self
            .registry
            .reals_of(&service.name)
            .filter(|(address, real)| !configured(address) && self.loads.flows(*real) > 0)
            .map(|(address, _)| address)
            .collect();
        let mut inputs = Vec::new();
        for address in removed {
            let known = self.registry.real(&service.name, address, 0)?;
            let name = self.reals.get(&known.0).map(|f| f.name.clone());
            let name = name.unwrap_or_else(|| address.to_string());
            let mut input = self.real(id, service, &name, address, false)?;
            input.lingering = true;
            inputs.push(input);
        }
        Ok(inputs)
    }

    fn real(
        &mut self,
        service_id: ServiceId,
        service: &config::Service,
        name: &str,
        address: IpAddr,
        checked: bool,
    ) -> Result<RealInput, Exhausted> {
        let (id, epoch) = self.registry.real(&service.name, address, 0)?;
        let facts = self
            .reals
            .entry(id)
            .or_insert_with(|| RealFacts::new(epoch, name));
        if facts.epoch != epoch {
            *facts = RealFacts::new(epoch, name);
        }
        if facts.name != name {
            facts.name = name.to_owned();
        }
        let (health, health_reason) = match (&facts.health, checked) {
            (_, false) => (Health::Unchecked, String::new()),
            (Some((state, reason)), true) => (health_of(*state), reason.clone()),
            (None, true) => (Health::Checking, String::new()),
        };
        Ok(RealInput {
            id,
            epoch,
            name: name.to_owned(),
            address,
            weight: 1,
            admin: config::Admin::Enabled,
            backup: false,
            sorry: false,
            lingering: false,
            health,
            health_reason,
            way: self.ways.get(&address).cloned().unwrap_or(Way::Unknown),
            last: facts.last,
            last_good: self
                .last_good
                .get(&service_id)
                .is_some_and(|set| set.contains(&id)),
        })
    }
}
