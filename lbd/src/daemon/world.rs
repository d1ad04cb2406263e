//! Everything the reconciler knows: what it hears, what it remembers, what it forgets. How that
//! becomes the inputs of the next snapshot is in `inputs`.

mod inputs;

use super::persist::{Overrides, RememberedReal, Set};
use crate::live::event::{HealthNews, HealthState, Link, NeighborNews, Reach, VipNews};
use crate::neigh::Wanted;
use lbcore::api::InMaintenance;
use lbcore::config::{self, Config};
use lbcore::health::{Damping, Ejections};
use lbcore::id::{Epoch, RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::{HashKey, MacAddr};
use lbcore::service::{
    Exhausted, Health, RealState, Registry, Rings, ServiceTable, Settled, Way, ramping,
};
use lbcore::time::Tick;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Reals that fail within this time one after the other fail of one cause, ours more likely than
/// theirs: all of them are the last good set. Checks of one real fail `fall` intervals after the
/// cause, and not all begin at once; the usual ones are done in ten seconds.
const CASCADE: Duration = Duration::from_secs(30);

/// What is known of one real beside its configuration.
#[derive(Clone, Debug)]
pub struct RealFacts {
    /// Whose id it is.
    pub epoch: Epoch,
    /// Its own address.
    pub address: IpAddr,
    /// What its checks said last; `None`: nothing yet, or nothing that still counts.
    pub health: Option<(Health, String)>,
    /// The weight it last gave itself.
    pub observed_weight: Option<u16>,
    /// What the last lbd knew of its checks, for whoever goes on with them.
    pub initial: Option<HealthState>,
    /// The state it was last judged to be in, and since when.
    pub last: Option<(RealState, Tick)>,
    /// Since when it is dead, whatever its state.
    pub dead_since: Option<Tick>,
    /// Since when it grows back to its weight (slow start).
    pub ramping_since: Option<Tick>,
    /// Since when its checks pass.
    pub passing_since: Option<Tick>,
    /// How often it went down lately.
    pub damping: Damping,
    /// The same moment on the wall clock, for people.
    pub since: SystemTime,
    /// The name it has, or had before it was removed.
    pub name: String,
    /// The interface and MAC that the configuration names, or named before it was removed.
    pub pins: Option<Wanted>,
}

/// News that are on hold because the trouble may be ours.
#[derive(Clone, Debug, Default)]
struct Held {
    health: BTreeMap<RealId, HealthNews>,
    neighbors: BTreeMap<IpAddr, NeighborNews>,
}

/// The reals that panic mode goes on with.
#[derive(Clone, Debug, Default)]
struct LastGood {
    reals: BTreeSet<RealId>,
    /// Whether the service no longer serves by its reals: then the set stays as it is. Before,
    /// reals that fail leave it after [`CASCADE`].
    settled: bool,
}

impl LastGood {
    fn has(&self, real: RealId, last: Option<(RealState, Tick)>, now: Tick) -> bool {
        let lately = match last {
            Some((RealState::Down, since)) => now < since + CASCADE,
            _ => true,
        };
        self.reals.contains(&real) && (self.settled || lately)
    }
}

/// Everything the reconciler knows. A copy of it is where a change is tried out.
#[derive(Clone, Debug)]
pub struct World {
    /// The configuration in force, changes with `--runtime` included.
    pub config: Config,
    /// Reals whose weight was set with `--runtime`: that goes before the one they give themselves.
    pub pinned: HashSet<(String, SocketAddr)>,
    /// Reals that were removed with `--now`: their flows do not linger.
    pub at_once: BTreeSet<(String, SocketAddr)>,
    /// The key of every hash.
    pub key: HashKey,
    /// Who has which id.
    pub registry: Registry,
    /// The operator's wishes.
    pub overrides: Overrides,
    /// Since when and by whose wish this lbd takes no new flows.
    pub maintenance: Option<InMaintenance>,
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
    /// Reals with an id that the configuration does not name: they go with their last flow.
    leaving: Vec<Leaving>,
    /// Services that may have flows nobody has counted, by the last snapshot.
    uncounted: HashSet<ServiceId>,
    last_good: HashMap<ServiceId, LastGood>,
    /// Weights that reals give themselves, as they are in force.
    settled: HashMap<ServiceId, Settled>,
    /// Who gets no new flows because clients got no answers.
    pub ejections: HashMap<ServiceId, Ejections>,
    carrier_since: HashMap<String, Option<Tick>>,
    held: Held,
}

/// A real that is to be forgotten once it has no flows.
#[derive(Clone, Debug)]
struct Leaving {
    service: String,
    at: SocketAddr,
    id: RealId,
}

impl World {
    /// A world in which nothing has been seen yet, except what the last lbd remembered.
    pub fn new(
        config: Config,
        key: HashKey,
        overrides: Overrides,
        set: Set,
        now: (Tick, SystemTime),
    ) -> Self {
        let mut reals = HashMap::new();
        for (_, at, id, epoch) in set.registry.reals() {
            let mut facts = RealFacts::new(epoch, at.ip(), &at.ip().to_string());
            if let Some(remembered) = set.reals.get(&id.0) {
                facts.remember(remembered, now);
            }
            reals.insert(id, facts);
        }
        let last_good = set.last_good.iter().map(|(id, reals)| {
            let reals = reals.iter().map(|r| RealId(*r)).collect();
            let settled = true;
            (ServiceId(*id), LastGood { reals, settled })
        });
        let last_good = last_good.collect();
        let ways = set.ways.iter().map(|(address, (ifindex, mac))| {
            let (ifindex, mac) = (*ifindex, MacAddr::from(*mac));
            (*address, Way::Known { ifindex, mac })
        });
        let ways = ways.collect();
        let mut world = World {
            config,
            pinned: HashSet::new(),
            at_once: set.at_once,
            key,
            registry: set.registry,
            overrides,
            maintenance: None,
            reals,
            ways,
            links: Arc::default(),
            vips: BTreeMap::new(),
            lingering: Vec::new(),
            leaving: Vec::new(),
            uncounted: set.rings.keys().map(|id| ServiceId(*id)).collect(),
            last_good,
            settled: HashMap::new(),
            ejections: HashMap::new(),
            carrier_since: HashMap::new(),
            held: Held::default(),
        };
        let known = |(service, at): &(String, SocketAddr)| {
            let known = world.registry.known_real(service, *at);
            known.is_some()
        };
        world.at_once.retain(known);
        world.forgive_the_configured();
        world
    }

    /// Configured services, then those whose flows may end.
    pub fn services(&self) -> impl Iterator<Item = &config::Service> {
        self.config.services.iter().chain(&self.lingering)
    }

    /// Whether there are ids for everybody in `config`.
    ///
    /// # Errors
    /// No id is left.
    pub fn check_room(&self, config: &Config) -> Result<(), Exhausted> {
        let mut registry = self.registry.clone();
        for service in &config.services {
            registry.service(&service.name)?;
            for at in service.places() {
                registry.real(&service.name, at)?;
            }
        }
        Ok(())
    }

    /// A service that has only another name than in `old` keeps its ids, and so its flows and its
    /// health.
    pub fn follow_renames(&mut self, old: &Config) {
        let gone = |name: &str| self.config.services.iter().all(|s| s.name != *name);
        for service in &self.config.services {
            if old.services.iter().any(|s| s.name == service.name) {
                continue;
            }
            let keys: HashSet<_> = service.keys().collect();
            let before = old
                .services
                .iter()
                .find(|s| gone(&s.name) && s.keys().any(|key| keys.contains(&key)));
            if let Some(before) = before
                && self.registry.rename_service(&before.name, &service.name)
            {
                let places = std::mem::take(&mut self.at_once).into_iter();
                let renamed = places.map(|(name, at)| match name == before.name {
                    true => (service.name.clone(), at),
                    false => (name, at),
                });
                self.at_once = renamed.collect();
            }
        }
        self.forgive_the_configured();
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
        let named = |name: &str| self.config.services.iter().any(|s| s.name == name);
        let gone = old.services.iter().chain(&self.lingering);
        self.lingering = gone
            .filter(|s| !named(&s.name) && free(s) && self.has_flows(&s.name, loads))
            .cloned()
            .collect();
    }

    /// Services that have ids and are not configured.
    pub fn missing(&self) -> BTreeSet<String> {
        let configured = |name: &str| self.config.services.iter().any(|s| s.name == *name);
        let known = self.registry.services();
        known
            .filter(|name| !configured(name))
            .map(str::to_owned)
            .collect()
    }

    /// Whether a service has a real with flows, or with some that nobody counts.
    fn has_flows(&self, name: &str, loads: &Loads) -> bool {
        let id = self.registry.known_service(name);
        let uncounted = id.is_some_and(|id| self.uncounted.contains(&id));
        let mut reals = self.registry.reals_of(name);
        reals.any(|(_, real)| uncounted || loads.flows(real) > 0)
    }

    /// Lets flows linger again of reals that are configured again, should they be removed another time.
    fn forgive_the_configured(&mut self) {
        let services = &self.config.services;
        self.at_once.retain(|(name, at)| {
            let service = services.iter().find(|service| service.name == *name);
            service.is_none_or(|service| service.places().all(|place| place != *at))
        });
    }

    /// Takes news of a real's checks. True if it changes anything now.
    pub fn hear_health(&mut self, news: HealthNews, now: Tick) -> bool {
        let Some(facts) = self.reals.get(&news.real) else {
            return false;
        };
        if facts.epoch != news.epoch {
            return false;
        }
        let failed = news.state == HealthState::Down && !news.declined;
        if failed && self.trouble_is_ours(facts.address, now) {
            self.held.health.insert(news.real, news);
            return false;
        }
        self.held.health.remove(&news.real);
        let health = match news.state {
            HealthState::Checking => Health::Checking,
            HealthState::Up => Health::Up,
            HealthState::Draining => Health::Draining,
            HealthState::Down if news.declined => Health::Declined,
            HealthState::Down => Health::Down,
        };
        if let Some(facts) = self.reals.get_mut(&news.real) {
            facts.passing_since = match health {
                Health::Up => facts.passing_since.or(Some(now)),
                _ => None,
            };
            facts.health = Some((health, news.reason));
            // Who no longer says keeps what it said.
            facts.observed_weight = news.weight.or(facts.observed_weight);
        }
        true
    }

    /// Lets a real go that is held because it flapped, and forgets that it did. True if it was held.
    pub fn pardon(&mut self, service: &str, place: SocketAddr, now: Tick) -> bool {
        let id = self.registry.known_real(service, place);
        let Some(facts) = id.and_then(|id| self.reals.get_mut(&id)) else {
            return false;
        };
        let down = matches!(facts.last, Some((RealState::Down, _)));
        let held = down && facts.held(now).is_some_and(|(until, _)| now < until);
        facts.damping.clear();
        held
    }

    /// Whether a real's silence may be the fault of our own link to it: no carrier, or only just
    /// again. Where its interface is not known, all of them would have to be in trouble.
    fn trouble_is_ours(&self, address: IpAddr, now: Tick) -> bool {
        let network = &self.config.network;
        let in_trouble = |name: &String| match self.carrier_since.get(name) {
            Some(Some(since)) => now < *since + network.link_holddown,
            Some(None) => true,
            None => false,
        };
        let by = match self.ways.get(&address) {
            Some(Way::Known { ifindex, .. }) => self.link_name(*ifindex),
            Some(Way::Silent { last, .. }) => last.and_then(|(i, _)| self.link_name(i)),
            Some(Way::Unknown | Way::Unreachable(_) | Way::Routed) | None => None,
        };
        let mut interfaces = network.interfaces.iter();
        match by {
            Some(by) => interfaces.any(|name| name == by && in_trouble(name)),
            None => !network.interfaces.is_empty() && interfaces.all(in_trouble),
        }
    }

    /// Failures that were on hold and that nothing took back: they count now. True if there were.
    pub fn release_held(&mut self, now: Tick) -> bool {
        let held = std::mem::take(&mut self.held);
        let mut any = false;
        for news in held.health.into_values() {
            any |= self.hear_health(news, now);
        }
        for news in held.neighbors.into_values() {
            any |= self.hear_neighbor(news, now);
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
    pub fn hear_neighbor(&mut self, news: NeighborNews, now: Tick) -> bool {
        let last = match self.ways.get(&news.address) {
            Some(Way::Known { ifindex, mac }) => Some((*ifindex, *mac)),
            Some(Way::Silent { last, .. }) => *last,
            _ => None,
        };
        let silent = matches!(news.reach, Reach::Unresolved { .. });
        if silent && last.is_some() && self.trouble_is_ours(news.address, now) {
            self.held.neighbors.insert(news.address, news);
            return false;
        }
        self.held.neighbors.remove(&news.address);
        let way = match news.reach {
            Reach::Neighbor { ifindex, mac } => Way::Known { ifindex, mac },
            Reach::Unresolved { ifindex, no_room } => {
                let (asked, family) = match news.address {
                    IpAddr::V4(_) => ("ARP", "ipv4"),
                    IpAddr::V6(_) => ("neighbour solicitation", "ipv6"),
                };
                let on = self.link_name(ifindex).unwrap_or("its interface");
                let reason = match no_room {
                    false => format!("{} does not answer {asked} on {on}", news.address),
                    true => format!(
                        "this host's neighbour table has no room for {}: raise \
                         net.{family}.neigh.default.gc_thresh3",
                        news.address
                    ),
                };
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
            for member in &service.members {
                let Some(facts) = self.reals.get_mut(&member.id) else {
                    continue;
                };
                facts.ramping_since = ramping(facts.last, member.state, facts.ramping_since, now);
                let before = facts.last.map(|(state, _)| state);
                if before != Some(member.state) {
                    facts.note_turn(member.state, now);
                    facts.last = Some((member.state, now));
                    facts.since = wall;
                    changed.push((member.id, before));
                }
            }
            self.learn_good(table, index, now);
        }
        self.settled
            .retain(|id, _| table.services.iter().any(|s| s.id == *id));
        let uncounted = table.services.iter().filter(|s| s.unremembered);
        self.uncounted = uncounted.map(|s| s.id).collect();
        self.ejections
            .retain(|id, _| table.services.iter().any(|s| s.id == *id));
        self.last_good
            .retain(|id, _| table.services.iter().any(|s| s.id == *id));
        changed
    }

    /// Remembers whom panic mode would go on with.
    fn learn_good(&mut self, table: &ServiceTable, index: usize, now: Tick) {
        let service = &table.services[index];
        let good = self.last_good.entry(service.id).or_default();
        let before = service.members.iter().map(|m| m.id).filter(|id| {
            let last = self.reals.get(id).and_then(|facts| facts.last);
            good.has(*id, last, now)
        });
        let before: BTreeSet<RealId> = before.collect();
        let Some(serving) = table.good_set(index) else {
            good.reals = before;
            good.settled = true;
            return;
        };
        let down = |id: &RealId| {
            let facts = self.reals.get(id);
            matches!(facts.and_then(|f| f.last), Some((RealState::Down, since)) if now < since + CASCADE)
        };
        good.reals = before.into_iter().filter(down).chain(serving).collect();
        good.settled = false;
    }

    /// What the next lbd must know.
    pub fn set(&self, generation: u64, rings: &Rings) -> Set {
        let reals = self.reals.iter().map(|(id, facts)| {
            let remembered = RememberedReal {
                health: facts.health.clone(),
                weight: self.settled.values().find_map(|settled| settled.of(*id)),
                state: facts.last.map(|(state, since)| (state, since.0)),
            };
            (id.0, remembered)
        });
        let ways = self.ways.iter().filter_map(|(address, way)| match way {
            Way::Known { ifindex, mac } => Some((*address, (*ifindex, mac.octets()))),
            Way::Unknown | Way::Silent { .. } | Way::Unreachable(_) | Way::Routed => None,
        });
        Set {
            registry: self.registry.clone(),
            generation,
            reals: reals.collect(),
            ways: ways.collect(),
            last_good: self
                .last_good
                .iter()
                .map(|(id, good)| (id.0, good.reals.iter().map(|r| r.0).collect()))
                .collect(),
            rings: rings.remembered(),
            at_once: self.at_once.clone(),
        }
    }

    /// Forgets reals and services that are no longer configured and have no flows left. True if
    /// anything was forgotten. Costs what is leaving, which is mostly nothing.
    pub fn forget_the_gone(&mut self, loads: &Loads, table: &ServiceTable) -> bool {
        let ended = |leaving: &Leaving| {
            loads.flows(leaving.id) == 0 && !table.may_have_uncounted(leaving.id)
        };
        if !self.leaving.iter().any(ended) {
            return false;
        }
        let (gone, leaving) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(ended);
        self.leaving = leaving;
        let gone: Vec<Leaving> = gone;
        for Leaving { service, at, id } in &gone {
            self.registry.retire_real(service, *at);
            self.reals.remove(id);
            self.held.health.remove(id);
            self.at_once.remove(&(service.clone(), *at));
            if self.registry.reals_of(service).next().is_none() {
                self.lingering.retain(|s| s.name != *service);
            }
        }
        let known: HashSet<IpAddr> = self.registry.reals().map(|(_, at, _, _)| at.ip()).collect();
        self.ways.retain(|address, _| known.contains(address));
        self.held
            .neighbors
            .retain(|address, _| known.contains(address));
        true
    }
}

impl RealFacts {
    fn new(epoch: Epoch, address: IpAddr, name: &str) -> Self {
        RealFacts {
            epoch,
            address,
            health: None,
            observed_weight: None,
            ramping_since: None,
            passing_since: None,
            damping: Damping::default(),
            initial: None,
            last: None,
            dead_since: None,
            since: SystemTime::now(),
            name: name.to_owned(),
            pins: None,
        }
    }

    fn pin(&mut self, real: &config::Real) {
        let named = real.interface.is_some() || real.mac.is_some();
        self.pins = named.then(|| Wanted {
            address: real.address,
            interface: real.interface.clone(),
            mac: real.mac,
        });
    }

    fn remember(&mut self, remembered: &RememberedReal, (now, wall): (Tick, SystemTime)) {
        self.health = remembered.health.clone();
        self.observed_weight = remembered.weight;
        self.initial = match self.health {
            Some((Health::Up, _)) => Some(HealthState::Up),
            Some((Health::Draining, _)) => Some(HealthState::Draining),
            Some((Health::Down | Health::Declined, _)) => Some(HealthState::Down),
            Some((Health::Checking | Health::Unchecked, _)) | None => None,
        };
        self.last = remembered.state.map(|(state, since)| {
            // A tick to come is of another boot.
            let since = Tick(since).min(now);
            self.since = wall - Duration::from_millis(now.since(since));
            (state, since)
        });
    }

    /// Counts ups and downs. A real is down for what its checks say, or because it was held: only
    /// the first is one more.
    fn note_turn(&mut self, to: RealState, now: Tick) {
        let served = self.last.is_some_and(|(before, _)| before.serves());
        let failed = matches!(self.health, Some((Health::Down, _)));
        match to {
            RealState::Up => self.damping.up(now),
            RealState::Down if served && failed => self.damping.down(now),
            _ => {}
        }
    }

    /// Until when it is to stay down because it flaps, and why.
    fn held(&self, now: Tick) -> Option<(Tick, String)> {
        let (hold, why) = self.damping.hold(now)?;
        Some((self.passing_since? + hold, why))
    }

    /// Nobody asks any more how it is: when somebody does again, it begins anew.
    fn unchecked(&mut self) {
        self.health = None;
        self.observed_weight = None;
        self.initial = None;
        self.passing_since = None;
        self.damping.clear();
    }
}

#[cfg(test)]
mod tests;
