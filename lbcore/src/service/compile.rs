//! Configuration + health + neighbours + drains + weights -> the next snapshot.

use super::hold::hold;
use super::judge::{self, Health, Known, RealState, Rung, Serving, Way};
use super::ramp::Ramp;
use super::rings::{Rings, Wanted};
use super::table::{Dial, FlowFate, Interface, Member, Path, Real, Service, ServiceTable, WhyNot};
use super::weights;
use crate::config::{self, Admin, Mode, Track};
use crate::flow::Timeouts;
use crate::id::{Epoch, RealId, ServiceId};
use crate::net::{Addr, HashKey};
use crate::sched::{Candidate, Identity};
use crate::time::Tick;
use hashbrown::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// How often a service whose flows are remembered only while its set changes is asked whether any still
/// is.
const LOOKED_UP_AGAIN: Duration = Duration::from_secs(30);

/// What is known of one real in one service.
#[derive(Clone, Debug)]
pub struct RealInput {
    /// Its id.
    pub id: RealId,
    /// Whose id it is now.
    pub epoch: Epoch,
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// The port it is dialled at, where it has one of its own (mode tproxy).
    pub port: Option<u16>,
    /// Connections it takes at once (mode tproxy); 0 = any number.
    pub max_connections: u32,
    /// Weight in force: configured, or the operator's.
    pub weight: u16,
    /// Weight to use: that, or what the real gives itself.
    pub effective_weight: u16,
    /// Operator's wish in force.
    pub admin: Admin,
    /// Serves only when no other real is up.
    pub backup: bool,
    /// The real of last resort.
    pub sorry: bool,
    /// Removed from the configuration, its flows may end.
    pub lingering: bool,
    /// What checks say.
    pub health: Health,
    /// Why, in words.
    pub health_reason: String,
    /// The way to it.
    pub way: Way,
    /// The state it was last judged to be in, and since when.
    pub last: Option<(RealState, Tick)>,
    /// Since when it [is dead](super::is_dead), whatever its state.
    pub dead_since: Option<Tick>,
    /// Since when it grows back to its weight (slow start).
    pub ramping_since: Option<Tick>,
    /// It flaps, and is to stay down until then; why, in words.
    pub held: Option<(Tick, String)>,
    /// Clients get no answers: no new flows until then.
    pub ejected: Option<Tick>,
    /// Whether it was in the last good set.
    pub last_good: bool,
}

/// One service and all that is known of it.
#[derive(Clone, Debug)]
pub struct ServiceInput<'a> {
    /// Its id.
    pub id: ServiceId,
    /// Its configuration.
    pub config: &'a config::Service,
    /// Operator's wish in force for the whole service.
    pub admin: Admin,
    /// Its reals, lingering ones too; the sorry server last.
    pub reals: Vec<RealInput>,
    /// When weights that wait are due.
    pub weights_due: Option<Tick>,
    /// Flows of it are remembered in the flow table.
    pub remembers: bool,
}

/// All that a snapshot is made of.
#[derive(Clone, Debug)]
pub struct Inputs<'a> {
    /// The key of every hash.
    pub key: &'a HashKey,
    /// Services in file order.
    pub services: Vec<ServiceInput<'a>>,
    /// Interfaces that are there now.
    pub interfaces: Vec<Interface>,
    /// The operator wants no new flows here.
    pub maintenance: bool,
    /// Now.
    pub now: Tick,
}

/// A snapshot and what the reconciler must remember of its making.
#[derive(Debug)]
pub struct Compiled {
    /// To be published.
    pub table: ServiceTable,
    /// When time alone changes the outcome (a grace or drain period ends).
    pub next_change: Option<Tick>,
}

/// Makes the snapshot with number `generation`. Pure: the same inputs give the same table.
pub fn compile(inputs: &Inputs<'_>, rings: &mut Rings, generation: u64) -> Compiled {
    // Keyed like everything else; only the destination, which is bounded, is looked up here.
    let seed = |part: &[u8]| inputs.key.bytes(part);
    let hasher = ahash::RandomState::with_seeds(seed(b"a"), seed(b"b"), seed(b"c"), seed(b"d"));
    let mut table = ServiceTable {
        generation,
        key: inputs.key.clone(),
        services: Vec::with_capacity(inputs.services.len()),
        interfaces: inputs.interfaces.clone(),
        maintenance: inputs.maintenance,
        by_key: HashMap::with_hasher(hasher.clone()),
        vips: HashSet::with_hasher(hasher),
        reals: Vec::new(),
    };
    let mut next_change = None;
    for service in &inputs.services {
        let change = add_service(&mut table, service, inputs, rings);
        next_change = [next_change, change].into_iter().flatten().min();
    }
    rings.retain(|id| inputs.services.iter().any(|s| s.id == id));
    Compiled { table, next_change }
}

pub(super) struct Judged {
    pub state: RealState,
    pub reason: String,
    pub path: Option<Path>,
    /// Its checks pass, but it is held down until then.
    pub held_until: Option<Tick>,
}

impl Judged {
    /// Whether traffic finds it.
    pub(super) fn reachable(&self, real: &RealInput) -> bool {
        self.path.is_some() || real.way == Way::Routed
    }
}

fn add_service(
    table: &mut ServiceTable,
    input: &ServiceInput<'_>,
    inputs: &Inputs<'_>,
    rings: &mut Rings,
) -> Option<Tick> {
    let config = input.config;
    let mut judged: Vec<Judged> = input
        .reals
        .iter()
        .map(|real| judge_one(real, input.admin, &inputs.interfaces))
        .collect();
    let held = hold(&mut judged, input, inputs.now);
    let states: Vec<RealState> = judged.iter().map(|judged| judged.state).collect();
    let in_force = weights::in_force(&input.reals, &states);
    let rungs: Vec<Rung> = input
        .reals
        .iter()
        .zip(&judged)
        .zip(&in_force)
        .map(|((real, judged), weight)| Rung {
            state: judged.state,
            weight: *weight,
            backup: real.backup,
            sorry: real.sorry,
            has_path: judged.reachable(real),
            failed: judged.held_until.is_none()
                && judge::failed(judged.state, real.health, &real.way),
            last_good: real.last_good,
            ejected: real.ejected.is_some(),
        })
        .collect();
    let (serving, why_not) = judge::ladder(&rungs, config.min_healthy);

    let ramp = Ramp::new(&input.reals, &states, config.slow_start, inputs.now);
    let candidates = candidates(&input.reals, &ramp.shares(&in_force), &why_not);
    let wanted = Wanted {
        kind: config.scheduler,
        candidates,
        track: config.track,
        // Flows that are not remembered end unseen: as long as one may be silent, at least.
        patience: match config.drain_timeout {
            Duration::ZERO => config.idle_timeout,
            until => until,
        },
    };
    let built = rings.get(input.id, wanted, inputs.key, inputs.now);

    let index = table.services.len();
    let ejected = input.reals.iter().filter_map(|real| real.ejected).min();
    let remembers = config.track == Track::Changes && input.remembers;
    let past_ends = match &built.past {
        Some(past) => Some(past.until),
        // What is remembered is looked up until the last of it has ended.
        None => remembers.then(|| inputs.now + LOOKED_UP_AGAIN),
    };
    let mut next_change = [input.weights_due, ramp.next, held, ejected, past_ends]
        .into_iter()
        .flatten()
        .min();
    let mut members = Vec::with_capacity(input.reals.len());
    let known = input.reals.iter().zip(judged).zip(in_force).zip(why_not);
    for (nth, (((real, judged), weight), why_not)) in known.enumerate() {
        let since = match real.last {
            Some((state, since)) if state == judged.state => since,
            _ => inputs.now,
        };
        let candidate = why_not.is_none();
        let (fate, change) = if candidate {
            (FlowFate::Keep, None)
        } else {
            judge::fate(config, judged.state, since, real.dead_since, inputs.now)
        };
        next_change = [next_change, change].into_iter().flatten().min();
        let at = real.id.index();
        if table.reals.len() <= at {
            table.reals.resize(at + 1, None);
        }
        table.reals[at] = Some(Real {
            epoch: real.epoch,
            service: index,
            takes_new: candidate || !judged.state.leaves(),
            fate,
            path: judged.path,
            dial: Dial {
                address: real.address,
                port: real.port,
                max_connections: real.max_connections,
            },
        });
        members.push(member(real, judged, ramp.shown(nth, weight), why_not));
    }
    let keys: Vec<_> = config.keys().collect();
    for key in &keys {
        table.by_key.insert(*key, index);
        if config.mode == Mode::Dr {
            table.vips.insert(key.vip);
        }
    }
    table.services.push(Service {
        id: input.id,
        name: Arc::from(config.name.as_str()),
        keys,
        mode: config.mode,
        proxy: Arc::new(config.proxy.clone()),
        idle_timeout: config.idle_timeout,
        state: judge::service_state(serving, &rungs),
        serving,
        track: config.track,
        timeouts: Timeouts::new(config.idle_timeout),
        kind: config.scheduler,
        scheduler: built.scheduler.clone(),
        ring: built.ring.clone(),
        past: built.past.as_ref().map(|past| past.ring.clone()),
        unremembered: inputs.now < built.unremembered_until,
        looks_up: match config.track {
            Track::Flows => true,
            Track::None => false,
            Track::Changes => remembers || built.past.is_some(),
        },
        members,
    });
    next_change
}

fn judge_one(real: &RealInput, service_admin: Admin, interfaces: &[Interface]) -> Judged {
    let (state, reason) = judge::state(&Known {
        service_admin,
        admin: real.admin,
        lingering: real.lingering,
        health: real.health,
        health_reason: &real.health_reason,
        way: &real.way,
    });
    let place = match &real.way {
        Way::Known { ifindex, mac } => Some((*ifindex, *mac)),
        Way::Silent { last, .. } => *last,
        Way::Unknown | Way::Unreachable(_) | Way::Routed => None,
    };
    let path = place.and_then(|(ifindex, dst)| {
        let interface = interfaces.iter().find(|i| i.ifindex == ifindex)?;
        Some(Path {
            ifindex,
            src: interface.mac,
            dst,
        })
    });
    Judged {
        state,
        reason,
        path,
        held_until: None,
    }
}

fn candidates(reals: &[RealInput], weights: &[u16], why_not: &[Option<WhyNot>]) -> Vec<Candidate> {
    reals
        .iter()
        .zip(weights)
        .zip(why_not)
        .filter(|(_, why_not)| why_not.is_none())
        .map(|((real, weight), _)| Candidate {
            real: real.id,
            identity: Identity {
                address: Addr::from(real.address),
                port: real.port.unwrap_or(0),
            },
            weight: *weight,
        })
        .collect()
}

fn member(
    real: &RealInput,
    judged: Judged,
    effective_weight: u16,
    why_not: Option<WhyNot>,
) -> Member {
    Member {
        id: real.id,
        epoch: real.epoch,
        name: real.name.clone(),
        address: real.address,
        port: real.port,
        state: judged.state,
        reason: judged.reason,
        held_until: judged.held_until,
        ejected_until: real.ejected.filter(|_| why_not == Some(WhyNot::Ejected)),
        weight: real.weight,
        effective_weight,
        why_not,
        backup: real.backup,
        sorry: real.sorry,
        lingering: real.lingering,
    }
}

impl ServiceTable {
    /// A table without services: what workers start with.
    pub fn empty(key: HashKey) -> Self {
        let inputs = Inputs {
            key: &key,
            services: Vec::new(),
            interfaces: Vec::new(),
            maintenance: false,
            now: Tick(0),
        };
        compile(&inputs, &mut Rings::default(), 0).table
    }

    /// The reals that serve now as the last good set is remembered: of a service that serves by
    /// its own reals, those that take new flows.
    pub fn good_set(&self, service: usize) -> Option<impl Iterator<Item = RealId> + '_> {
        let service = &self.services[service];
        (service.serving == Serving::Reals).then(|| {
            service
                .members
                .iter()
                .filter(|m| m.why_not.is_none())
                .map(|m| m.id)
        })
    }
}
