//! A snapshot as a configuration alone gives it: no check was made, no MAC learned. Every real is
//! taken as up and reachable, but for those that somebody says are down.

use crate::api::RealRef;
use crate::config::{self, Config, Mode};
use crate::id::RealId;
use crate::net::{HashKey, MacAddr};
use crate::service::{
    Exhausted, Health, Inputs, Interface, RealInput, RealState, Registry, Rings, ServiceInput,
    ServiceTable, Way, compile,
};
use crate::time::Tick;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use thiserror::Error;

/// Why a configuration gives no snapshot.
#[derive(Debug, Error)]
pub enum Unsupposed {
    /// No real is called so.
    #[error("no service has a real {0}")]
    NoSuchReal(String),
    /// No id is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
}

/// What a snapshot supposes.
#[derive(Debug)]
pub struct Supposed {
    config: Config,
    key: HashKey,
    down: BTreeSet<(String, SocketAddr)>,
}

/// The interface all frames come in and leave by: the first of the configuration.
pub const IFINDEX: u32 = 1;

/// Supposes that all is well with the reals of `config`, but for those `down`: each a real's name
/// or address, with `SERVICE/` before it where only one service is meant.
///
/// # Errors
/// One of them is no real.
pub fn suppose(config: Config, key: HashKey, down: &[String]) -> Result<Supposed, Unsupposed> {
    let mut out = BTreeSet::new();
    for wanted in down {
        let (only, name) = match wanted.split_once('/') {
            Some((service, real)) => (Some(service), real),
            None => (None, wanted.as_str()),
        };
        let name = RealRef::from(name);
        let mut met = false;
        for service in &config.services {
            if only.is_some_and(|only| only != service.name) {
                continue;
            }
            let called = |real: &&config::Real| {
                let mut ports = service.ports.iter().map(|p| real.port.unwrap_or(*p));
                ports.any(|port| name.matches(&real.name, real.address, port))
            };
            for real in service.reals.iter().filter(called) {
                met = true;
                out.insert((service.name.clone(), real.place()));
            }
        }
        if !met {
            return Err(Unsupposed::NoSuchReal(wanted.clone()));
        }
    }
    Ok(Supposed {
        config,
        key,
        down: out,
    })
}

impl Supposed {
    /// The snapshot, where frames to VIPs are addressed to the MAC `own`.
    ///
    /// # Errors
    /// No id is left.
    pub fn table(&self, own: MacAddr) -> Result<ServiceTable, Unsupposed> {
        let mut registry = Registry::default();
        let mut services = Vec::with_capacity(self.config.services.len());
        for service in &self.config.services {
            services.push(ServiceInput {
                id: registry.service(&service.name)?,
                config: service,
                admin: service.admin,
                reals: self.reals(service, &mut registry)?,
                weights_due: None,
                remembers: false,
            });
        }
        let name = self.config.network.interfaces.first();
        let inputs = Inputs {
            key: &self.key,
            services,
            interfaces: vec![Interface {
                slot: 0,
                ifindex: IFINDEX,
                name: name.cloned().unwrap_or_else(|| "capture".to_owned()),
                mac: own,
            }],
            maintenance: false,
            // Late enough that every grace and drain period is over.
            now: Tick(u64::MAX / 2),
        };
        Ok(compile(&inputs, &mut Rings::default(), 1).table)
    }

    fn reals(
        &self,
        service: &config::Service,
        registry: &mut Registry,
    ) -> Result<Vec<RealInput>, Unsupposed> {
        let health = match service.checks.is_empty() {
            true => Health::Unchecked,
            false => Health::Up,
        };
        let mut reals = Vec::with_capacity(service.reals.len() + 1);
        for real in &service.reals {
            let is_down = self.down.contains(&(service.name.clone(), real.place()));
            let health = if is_down { Health::Down } else { health };
            let mut input = blank(service, real.place(), health, registry)?;
            input.name.clone_from(&real.name);
            input.max_connections = real.max_connections;
            input.weight = real.weight;
            input.effective_weight = real.weight;
            input.admin = real.admin;
            input.backup = real.backup;
            if let (Some(mac), Way::Known { mac: way, .. }) = (real.mac, &mut input.way) {
                *way = mac;
            }
            reals.push(input);
        }
        if let Some(address) = service.sorry {
            let at = SocketAddr::new(address, 0);
            let mut input = blank(service, at, Health::Unchecked, registry)?;
            input.name = format!("sorry-{address}");
            input.sorry = true;
            reals.push(input);
        }
        Ok(reals)
    }
}

/// A real of which nothing is said.
fn blank(
    service: &config::Service,
    at: SocketAddr,
    health: Health,
    registry: &mut Registry,
) -> Result<RealInput, Unsupposed> {
    let (id, epoch) = registry.real(&service.name, at)?;
    let way = match service.mode {
        Mode::Dr => Way::Known {
            ifindex: IFINDEX,
            mac: placeholder(id),
        },
        Mode::Tproxy => Way::Routed,
    };
    Ok(RealInput {
        id,
        epoch,
        name: String::new(),
        address: at.ip(),
        port: Some(at.port()).filter(|port| *port != 0),
        max_connections: 0,
        weight: 1,
        effective_weight: 1,
        admin: config::Admin::Enabled,
        backup: false,
        sorry: false,
        lingering: false,
        health,
        health_reason: "supposed".to_owned(),
        way,
        // As long ago as can be: it did not die just now.
        last: (health == Health::Down).then_some((RealState::Down, Tick(0))),
        dead_since: (health == Health::Down).then_some(Tick(0)),
        ramping_since: None,
        held: None,
        ejected: None,
        last_good: false,
    })
}

/// Stands for the MAC of a real: `02:6c:62:64` ("lbd"), which no vendor has, and its number.
fn placeholder(id: RealId) -> MacAddr {
    let [high, low] = id.0.to_be_bytes();
    MacAddr::new(0x02, 0x6c, 0x62, 0x64, high, low)
}
