//! What tasks and packet workers share: the snapshot goes down by one atomic swap, counts come up
//! in plain per-worker counters, and news goes to the reconciler as events.

pub mod datagrams;
pub mod event;
mod plan;
pub mod proxy;
mod tap;
mod worker;

pub use datagrams::{DatagramDrop, Way};
pub use event::Event;
pub use plan::PlanState;
pub use proxy::{Outcome, ProxyShared, ProxyTally};
pub use tap::{MAX_TAPS, Sighting, Tap, Taps};
pub use worker::{Source, WorkerShared, WorkerState};

use arc_swap::ArcSwap;
use event::Link;
use lbcore::director::{Counters, DropReason};
use lbcore::flow::{Eviction, FlowTable};
use lbcore::id::{RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::HashKey;
use lbcore::service::ServiceTable;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What the receive filter lets through, with a number that grows at each change.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Grows at each change.
    pub version: u64,
    /// Every VIP of a service, sorted.
    pub vips: Vec<IpAddr>,
}

/// The one place where the control side and the packet workers meet.
#[derive(Debug)]
pub struct Live {
    table: Arc<ArcSwap<ServiceTable>>,
    filter: ArcSwap<Filter>,
    links: ArcSwap<Vec<Link>>,
    /// All workers' and all engines' flow table.
    pub flows: FlowTable<'static>,
    /// Flows by real.
    pub loads: Loads,
    /// Who traces.
    pub taps: Taps,
    workers: Vec<Arc<WorkerShared>>,
    proxies: Vec<Arc<ProxyShared>>,
    /// What the XDP program has forwarded, where there is one. Only the reconciler writes it.
    pub fast_path: Option<Counters>,
    stop: AtomicBool,
}

/// Packets, bytes and new flows, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Packets as clients sent them.
    pub packets: u64,
    /// IP bytes as clients sent them.
    pub bytes: u64,
    /// Flows that began.
    pub new_flows: u64,
}

/// Frames of one interface, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameTotals {
    /// Received by the engine.
    pub received: u64,
    /// Sent by the engine.
    pub sent: u64,
    /// Left to the host.
    pub passed: u64,
    /// Lost in the kernel because a receive ring was full; never received.
    pub ring_drops: u64,
}

impl Live {
    /// For packet `workers` and `proxies` proxy workers, with an empty snapshot.
    pub fn new(
        key: HashKey,
        flows: FlowTable<'static>,
        workers: Vec<Arc<WorkerShared>>,
        proxies: usize,
    ) -> Self {
        Live {
            table: Arc::new(ArcSwap::from_pointee(ServiceTable::empty(key))),
            filter: ArcSwap::default(),
            links: ArcSwap::default(),
            flows,
            loads: Loads::default(),
            taps: Taps::default(),
            workers,
            proxies: (0..proxies).map(|_| Arc::default()).collect(),
            fast_path: None,
            stop: AtomicBool::new(false),
        }
    }

    /// The snapshot's place, for a worker's cache.
    pub fn table_cell(&self) -> Arc<ArcSwap<ServiceTable>> {
        self.table.clone()
    }

    /// The snapshot in force.
    pub fn table(&self) -> Arc<ServiceTable> {
        self.table.load_full()
    }

    /// Puts a snapshot in force. Only the reconciler calls this.
    pub fn publish(&self, table: ServiceTable) {
        self.table.store(Arc::new(table));
    }

    /// What receive filters shall let through.
    pub fn filter(&self) -> Arc<Filter> {
        self.filter.load_full()
    }

    /// Lets receive filters follow a changed set of VIPs; nothing happens if it is the same.
    /// Returns the version to wait for in [`Live::filters_at`].
    pub fn set_vips(&self, vips: Vec<IpAddr>) -> u64 {
        let old = self.filter.load();
        if old.vips == vips {
            return old.version;
        }
        let version = old.version + 1;
        self.filter.store(Arc::new(Filter { version, vips }));
        version
    }

    /// Whether every worker that has an engine open filters by `version` or later.
    pub fn filters_at(&self, version: u64) -> bool {
        self.workers
            .iter()
            .all(|w| w.filter_version() >= version || !w.is_open())
    }

    /// The host's interfaces as last seen.
    pub fn links(&self) -> Arc<Vec<Link>> {
        self.links.load_full()
    }

    /// Follows the host's interfaces.
    pub fn set_links(&self, links: Arc<Vec<Link>>) {
        self.links.store(links);
    }

    /// The interface called `name`, if it is there.
    pub fn link(&self, name: &str) -> Option<Link> {
        self.links.load().iter().find(|l| l.name == name).cloned()
    }

    /// All proxy workers.
    pub fn proxies(&self) -> &[Arc<ProxyShared>] {
        &self.proxies
    }

    /// All packet workers.
    pub fn workers(&self) -> &[Arc<WorkerShared>] {
        &self.workers
    }

    /// Asks workers to end.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    /// Whether workers shall end.
    pub fn stopping(&self) -> bool {
        self.stop.load(Relaxed)
    }

    fn sum(&self, of: impl Fn(&Counters) -> u64) -> u64 {
        let packets = self.workers.iter().map(|w| &w.counters);
        let proxied = self.proxies.iter().map(|p| &p.counters);
        let fast = self.fast_path.iter();
        let all = packets.chain(proxied).chain(fast);
        all.map(of).fold(0, u64::wrapping_add)
    }

    /// Of one service.
    pub fn service_totals(&self, id: ServiceId) -> Totals {
        Totals {
            packets: self.sum(|c| c.service(id).packets.get()),
            bytes: self.sum(|c| c.service(id).bytes.get()),
            new_flows: self.sum(|c| c.service(id).new_flows.get()),
        }
    }

    /// Of one real.
    pub fn real_totals(&self, id: RealId) -> Totals {
        Totals {
            packets: self.sum(|c| c.real(id).packets.get()),
            bytes: self.sum(|c| c.real(id).bytes.get()),
            new_flows: self.sum(|c| c.real(id).new_flows.get()),
        }
    }

    /// TCP handshakes of one real that clients completed, and those that nobody answered.
    pub fn handshakes(&self, id: RealId) -> (u64, u64) {
        (
            self.sum(|c| c.handshakes(id).completed.get()),
            self.sum(|c| c.handshakes(id).unanswered.get()),
        )
    }

    /// Of the interface with this place in `network.interfaces`.
    pub fn frame_totals(&self, slot: usize) -> FrameTotals {
        FrameTotals {
            received: self.sum(|c| c.interface(slot).received.get()),
            sent: self.sum(|c| c.interface(slot).sent.get()),
            passed: self.sum(|c| c.interface(slot).passed.get()),
            ring_drops: self
                .workers
                .iter()
                .filter(|w| w.slot == slot)
                .map(|w| w.ring_drops())
                .sum(),
        }
    }

    /// Drops by reason.
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|r| (*r, self.sum(|c| c.drops(*r).get())))
            .collect()
    }

    /// Flows that were not remembered because the table was full or a flood was on.
    pub fn unremembered(&self) -> u64 {
        self.sum(|c| c.unremembered.get())
    }

    /// Flows that made room for newer ones.
    pub fn evicted(&self, why: Eviction) -> u64 {
        self.sum(|c| c.evicted(why).get())
    }
}
