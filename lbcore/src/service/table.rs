//! The snapshot: everything a packet's fate depends on beside the flow table, immutable once made.

use super::judge::{RealState, ServiceState, Serving};
use crate::config::{Mode, Proxy, Track};
use crate::flow::{Entry, Timeouts};
use crate::id::{Epoch, RealId, ServiceId};
use crate::net::{Addr, HashKey, MacAddr, ServiceKey};
use crate::sched::{Kind, Ring, Scheduler};
use crate::time::Tick;
use hashbrown::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// An interface VIP traffic arrives on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its place in `network.interfaces`: the index of its counters.
    pub slot: usize,
    /// Kernel index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Its MAC: what frames to a VIP are addressed to, and what forwarded ones come from.
    pub mac: MacAddr,
}

/// How frames get to a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path {
    /// The interface they leave by.
    pub ifindex: u32,
    /// Their new source: that interface's MAC.
    pub src: MacAddr,
    /// Their new destination: the real's MAC.
    pub dst: MacAddr,
}

/// How a real is dialled in mode tproxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dial {
    /// Its own address.
    pub address: IpAddr,
    /// `None`: the port the client dialled.
    pub port: Option<u16>,
    /// Connections it takes at once; 0 = any number.
    pub max_connections: u32,
}

impl Dial {
    /// Where it is dialled for a client that dialled `port`.
    pub fn to(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.address, self.port.unwrap_or(port))
    }
}

/// What becomes of flows a real already has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowFate {
    /// They stay.
    Keep,
    /// Another real gets them, by the ring.
    Rehash,
    /// Their packets are dropped.
    Drop,
}

/// One real in one service, as the packet path sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Real {
    /// Whose id this is now.
    pub epoch: Epoch,
    /// Index into [`ServiceTable::services`].
    pub service: usize,
    /// Whether a SYN on one of its flows stays with it; false while it drains, is dead or gone.
    pub takes_new: bool,
    /// What becomes of its flows.
    pub fate: FlowFate,
    /// How frames get there; `None`: its MAC was never learned, or it is dialled.
    pub path: Option<Path>,
    /// How it is dialled, in mode tproxy.
    pub dial: Dial,
}

/// Why a real is not a candidate for new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// Its state says so (down, draining, disabled, checking).
    State(RealState),
    /// Its weight is 0.
    WeightZero,
    /// It is a backup, and a real is up.
    Backup,
    /// It is the sorry server, and a real is up.
    Sorry,
    /// Its MAC is not known.
    NoPath,
    /// Its checks pass, but most clients get no answer from it.
    Ejected,
    /// It was not in the last good set that panic mode keeps.
    NotLastGood,
}

/// A real as people see it: for `status` and `explain`, never read per packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its id.
    pub id: RealId,
    /// Whose id it is now.
    pub epoch: Epoch,
    /// Its name.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// The port it is dialled at, where it has one of its own.
    pub port: Option<u16>,
    /// State.
    pub state: RealState,
    /// The state's reason, in words.
    pub reason: String,
    /// Its checks pass, but it flaps: down until then.
    pub held_until: Option<Tick>,
    /// Its checks pass, but most clients get no answer: no new flows until then.
    pub ejected_until: Option<Tick>,
    /// Configured weight, or the operator's.
    pub weight: u16,
    /// What the scheduler uses where it is a candidate: that, or what the real gives itself.
    pub effective_weight: u16,
    /// `None`: it is a candidate.
    pub why_not: Option<WhyNot>,
    /// Serves only when no other real is up.
    pub backup: bool,
    /// The real of last resort.
    pub sorry: bool,
    /// No longer configured; its flows may end.
    pub lingering: bool,
}

/// A virtual service.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its id.
    pub id: ServiceId,
    /// Its name.
    pub name: Arc<str>,
    /// Every VIP:port/protocol it answers for.
    pub keys: Vec<ServiceKey>,
    /// How traffic reaches its reals.
    pub mode: Mode,
    /// How it is proxied, in mode tproxy.
    pub proxy: Arc<Proxy>,
    /// A connection or session without traffic ends after this long.
    pub idle_timeout: Duration,
    /// Its state.
    pub state: ServiceState,
    /// Who serves, and so why.
    pub serving: Serving,
    /// Whether flows are remembered.
    pub track: Track,
    /// When flows are forgotten.
    pub timeouts: Timeouts,
    /// The scheduler's name.
    pub kind: Kind,
    /// Picks a real for a new flow.
    pub scheduler: Arc<Scheduler>,
    /// Answers for packets without a flow, a full table and floods; `None`: nobody may serve.
    pub ring: Option<Arc<Ring>>,
    /// With `track = "changes"`, while a change is under way: the ring before it.
    pub past: Option<PastRing>,
    /// Whether there may be flows that are not remembered, and counted nowhere.
    pub unremembered: bool,
    /// Whether packets of its flows are looked up in the flow table.
    pub looks_up: bool,
    /// The reals, in file order, the sorry server last.
    pub members: Vec<Member>,
}

/// The ring before a change, and whose it was: what is hashed to ask it, the scheduler says.
#[derive(Clone, Debug)]
pub struct PastRing {
    /// The scheduler of then.
    pub kind: Kind,
    /// Its ring.
    pub ring: Arc<Ring>,
}

/// The snapshot. Made by [`super::compile`] alone.
#[derive(Clone, Debug)]
pub struct ServiceTable {
    /// Counts published snapshots.
    pub generation: u64,
    /// The key of every hash.
    pub key: HashKey,
    /// All services, in file order.
    pub services: Vec<Service>,
    /// Interfaces frames come in by.
    pub interfaces: Vec<Interface>,
    /// This lbd takes no new flows, by the operator's wish; those it has go on.
    pub maintenance: bool,
    pub(super) by_key: HashMap<ServiceKey, usize, ahash::RandomState>,
    pub(super) vips: HashSet<Addr, ahash::RandomState>,
    pub(super) reals: Vec<Option<Real>>,
}

impl ServiceTable {
    /// The service that answers for `key`, with its index.
    #[inline]
    pub fn service(&self, key: &ServiceKey) -> Option<(usize, &Service)> {
        let at = *self.by_key.get(key)?;
        Some((at, &self.services[at]))
    }

    /// Whether any service in mode dr has this VIP.
    pub fn is_vip(&self, addr: &Addr) -> bool {
        self.vips.contains(addr)
    }

    /// The real that has this id now.
    #[inline]
    pub fn real(&self, id: RealId) -> Option<&Real> {
        self.reals.get(id.index())?.as_ref()
    }

    /// Every real that has an id.
    pub fn reals(&self) -> impl Iterator<Item = (RealId, &Real)> {
        let ids = (0..=u16::MAX).map(RealId);
        ids.zip(&self.reals)
            .filter_map(|(id, real)| Some((id, real.as_ref()?)))
    }

    /// Every VIP of services in mode dr.
    pub fn vips(&self) -> impl Iterator<Item = &Addr> {
        self.vips.iter()
    }

    /// The real a flow entry speaks of, unless the id has another owner by now.
    #[inline]
    pub fn real_of(&self, entry: &Entry) -> Option<&Real> {
        self.real(entry.real)
            .filter(|real| real.epoch == entry.epoch)
    }

    /// Whether flows that nobody counts may still be with this real: a change of its service is under way.
    pub fn may_have_uncounted(&self, id: RealId) -> bool {
        let service = self.real(id).map(|real| &self.services[real.service]);
        service.is_some_and(|service| service.past.is_some())
    }

    /// The interface with this kernel index.
    #[inline]
    pub fn interface(&self, ifindex: u32) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.ifindex == ifindex)
    }

    /// Whether a flow entry has outlived its timeout, or its real.
    #[inline]
    pub fn is_expired(&self, entry: &Entry, now: Tick) -> bool {
        match self.real_of(entry) {
            Some(real) => self.services[real.service].timeouts.expired(entry, now),
            None => true,
        }
    }

    /// The member a real id belongs to, with its service.
    pub fn member(&self, id: RealId) -> Option<(&Service, &Member)> {
        let service = &self.services[self.real(id)?.service];
        Some((service, service.members.iter().find(|m| m.id == id)?))
    }
}
