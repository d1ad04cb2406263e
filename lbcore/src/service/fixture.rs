//! A small world for tests: configuration text in, inputs and snapshot out.

use super::*;
use crate::config::{self, Config};
use crate::net::{HashKey, MacAddr};
use crate::time::Tick;
use std::collections::{BTreeMap, BTreeSet};

/// MAC of its interface.
pub const OWN_MAC: MacAddr = MacAddr(2, 0, 0, 0, 0, 1);
/// Its interface: the number of the loopback, by which the kernel says that the frames of test runs of
/// BPF programs come in.
pub const IFINDEX: u32 = 1;

/// A configuration, what is known of its reals, and the making of snapshots from both.
pub struct World {
    /// What the file says.
    pub config: Config,
    /// Of every hash.
    pub key: HashKey,
    /// Who has which id.
    pub registry: Registry,
    /// By real; those it does not name are up.
    pub health: BTreeMap<String, Health>,
    /// By real; those it does not name are known.
    pub ways: BTreeMap<String, Way>,
    /// State by real, and since when.
    pub last: BTreeMap<String, (RealState, Tick)>,
    /// Since when a real is dead.
    pub dead: BTreeMap<String, Tick>,
    /// Since when a real grows.
    pub ramping: BTreeMap<String, Tick>,
    /// Who is to be held, until when and why.
    pub held: BTreeMap<String, (Tick, String)>,
    /// Who is ejected, and until when.
    pub ejected: BTreeMap<String, Tick>,
    /// The last good set.
    pub last_good: Vec<String>,
    /// Weights that reals give themselves.
    pub says: BTreeMap<String, u16>,
    /// Reals that are no longer configured, and whose flows may end.
    pub lingering: BTreeSet<String>,
    /// The operator wants no new flows.
    pub maintenance: bool,
    /// Flows are remembered in the flow table.
    pub remembers: bool,
    /// The time.
    pub now: Tick,
    rings: Rings,
    generation: u64,
}

impl World {
    /// Every real is up and reachable at 02:00:00:00:00:xx, xx its address's last byte.
    pub fn new(toml: &str) -> Self {
        World {
            config: config::parse(toml).unwrap_or_else(|e| panic!("{e:#?}")),
            key: HashKey::new([7; 16]),
            registry: Registry::default(),
            health: BTreeMap::new(),
            ways: BTreeMap::new(),
            last: BTreeMap::new(),
            dead: BTreeMap::new(),
            ramping: BTreeMap::new(),
            held: BTreeMap::new(),
            ejected: BTreeMap::new(),
            last_good: Vec::new(),
            says: BTreeMap::new(),
            lingering: BTreeSet::new(),
            maintenance: false,
            remembers: false,
            now: Tick(1_000_000),
            rings: Rings::default(),
            generation: 0,
        }
    }

    /// One service `web` at 192.0.2.10:443 (and 2001:db8::10) with reals rs1.. of these weights.
    pub fn web(extra: &str, weights: &[u16]) -> Self {
        let mut toml = format!(
            "[network]\ninterface = \"eth0\"\n[[service]]\nname = \"web\"\n\
             vip = [\"192.0.2.10\", \"2001:db8::10\"]\nport = 443\nprotocol = \"tcp\"\n{extra}\n\
             [[service.check]]\ntype = \"tcp\"\n"
        );
        for (i, weight) in weights.iter().enumerate() {
            toml += &format!(
                "[[service.real]]\nname = \"rs{}\"\naddress = \"192.0.2.{}\"\nweight = {weight}\n",
                i + 1,
                21 + i
            );
        }
        Self::new(&toml)
    }

    /// The MAC of the real whose address ends so.
    pub fn mac(last: u8) -> MacAddr {
        MacAddr(2, 0, 0, 0, 0, last)
    }

    /// Its checks fail.
    pub fn down(&mut self, real: &str) {
        self.health.insert(real.to_owned(), Health::Down);
    }

    fn real(&mut self, service: &config::Service, real: &config::Real, sorry: bool) -> RealInput {
        let (id, epoch) = self
            .registry
            .real(&service.name, real.place())
            .expect("an id");
        let last_byte = match real.address {
            std::net::IpAddr::V4(a) => a.octets()[3],
            std::net::IpAddr::V6(a) => a.octets()[15],
        };
        let known = match service.mode {
            config::Mode::Dr => Way::Known {
                ifindex: IFINDEX,
                mac: Self::mac(last_byte),
            },
            config::Mode::Tproxy => Way::Routed,
        };
        let checked = if sorry { Health::Unchecked } else { Health::Up };
        let health = self.health.get(&real.name).copied().unwrap_or(checked);
        let way = self.ways.get(&real.name).cloned().unwrap_or(known);
        let dead_since = match super::is_dead(health, &way) {
            true => Some(*self.dead.entry(real.name.clone()).or_insert(self.now)),
            false => {
                self.dead.remove(&real.name);
                None
            }
        };
        RealInput {
            id,
            epoch,
            name: real.name.clone(),
            address: real.address,
            port: real.port,
            max_connections: real.max_connections,
            weight: real.weight,
            effective_weight: match (real.weight, self.says.get(&real.name)) {
                (1.., Some(says)) => *says,
                (configured, _) => configured,
            },
            admin: real.admin,
            backup: real.backup,
            sorry,
            lingering: self.lingering.contains(&real.name),
            health,
            health_reason: "as the test says".to_owned(),
            way,
            last: self.last.get(&real.name).copied(),
            dead_since,
            ramping_since: self.ramping.get(&real.name).copied(),
            held: self.held.get(&real.name).cloned(),
            ejected: self.ejected.get(&real.name).copied(),
            last_good: self.last_good.contains(&real.name),
        }
    }

    /// What the next process finds of the rings.
    ///
    /// # Panics
    /// When they do not come back as they were written.
    pub fn restart(&mut self) {
        let written = serde_json::to_string(&self.rings.remembered()).expect("JSON");
        let read = serde_json::from_str(&written).expect("as it was written");
        self.rings = Rings::recovered(&read, &self.key);
    }

    /// The next snapshot, with what else comes of it.
    pub fn compile(&mut self) -> Compiled {
        let config = self.config.clone();
        let mut services = Vec::new();
        for service in &config.services {
            let id = self.registry.service(&service.name).expect("an id");
            let mut reals: Vec<_> = service
                .reals
                .iter()
                .map(|r| self.real(service, r, false))
                .collect();
            if let Some(address) = service.sorry {
                let real = config::Real {
                    name: "sorry".to_owned(),
                    address,
                    weight: 1,
                    ..service.reals[0].clone()
                };
                reals.push(self.real(service, &real, true));
            }
            services.push(ServiceInput {
                id,
                config: service,
                admin: service.admin,
                reals,
                weights_due: None,
                remembers: self.remembers,
            });
        }
        let interfaces = vec![Interface {
            slot: 0,
            ifindex: IFINDEX,
            name: "eth0".into(),
            mac: OWN_MAC,
        }];
        let inputs = Inputs {
            key: &self.key,
            services,
            interfaces,
            maintenance: self.maintenance,
            now: self.now,
        };
        self.generation += 1;
        let compiled = compile(&inputs, &mut self.rings, self.generation);
        for member in compiled.table.services.iter().flat_map(|s| &s.members) {
            let since = match self.last.get(&member.name) {
                Some((state, since)) if *state == member.state => *since,
                _ => self.now,
            };
            let before = self.last.insert(member.name.clone(), (member.state, since));
            let began = self.ramping.remove(&member.name);
            if let Some(since) = super::ramping(before, member.state, began, self.now) {
                self.ramping.insert(member.name.clone(), since);
            }
        }
        compiled
    }

    /// The next snapshot.
    pub fn table(&mut self) -> ServiceTable {
        self.compile().table
    }
}
