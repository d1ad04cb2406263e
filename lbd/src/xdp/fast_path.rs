//! What lbd does with the program while it runs: tells it snapshots and the time, and counts what it did.

use super::Mode;
use super::endpoints::Endpoints;
use super::program::{Loaded, Program, Sizes};
use super::record::{
    self, DECLINED, Frames, InterfaceSettings, KeyRecord, Port, Ports, RealRecord, Tally,
};
use super::rings::{Rings, places_for};
use crate::live::event::Link;
use lbcore::director::{Counters, Flood, MAX_INTERFACES};
use lbcore::flow::FlowTable;
use lbcore::id::{MAX_REALS, RealId, ServiceId};
use lbcore::load::{Loads, Weightiness};
use lbcore::net::HashKey;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use tracing::{error, warn};

/// Places for what clients dial: 64 MiB.
const MAX_ENDPOINTS: usize = 1 << 20;

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// What the program's maps are sized for at the start: reloads bring more of everything.
#[derive(Clone, Copy, Debug)]
pub struct Expected {
    /// Capacity of the flow table.
    pub flow_entries: usize,
    /// Services.
    pub services: usize,
    /// VIP:port/protocol of all services.
    pub keys: usize,
    /// Reals of all services.
    pub reals: usize,
    /// How many ids reals were ever given: those that are new get higher ones.
    pub ids: usize,
}

impl Expected {
    fn sizes(&self) -> Sizes {
        Sizes {
            flow_words: FlowTable::words_for(self.flow_entries),
            half: FlowTable::buckets_for(self.flow_entries) / 2,
            // Removed reals keep their ids for a while.
            reals: (self.ids + self.reals * 4)
                .next_power_of_two()
                .clamp(1024, MAX_REALS),
            // Sparse enough that hardly any key finds its places taken.
            endpoint_bits: (self.keys * 8)
                .next_power_of_two()
                .clamp(1024, MAX_ENDPOINTS)
                .ilog2(),
            rings: places_for(self.services),
        }
    }
}

/// Where the program is attached, by place in `network.interfaces`.
type Attached = BTreeMap<usize, (u32, Mode)>;

/// The program before it is known whether any interface takes it.
pub struct Candidate {
    loaded: Loaded,
    expected: Expected,
    bpf_dir: PathBuf,
    attached: Attached,
}

impl Candidate {
    /// Loads the program; it is attached nowhere yet.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn load(bpf_dir: &Path, key: &HashKey, expected: Expected) -> Result<Self, String> {
        Ok(Candidate {
            loaded: Loaded::load(bpf_dir, key, expected.sizes())?,
            expected,
            bpf_dir: bpf_dir.to_owned(),
            attached: BTreeMap::new(),
        })
    }

    /// Attaches the program to the interface with this place. Before it is told a snapshot it declines
    /// everything.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn attach(&mut self, slot: usize, ifindex: u32, mode: Mode) -> Result<(), String> {
        self.loaded.attach(&self.bpf_dir, ifindex, mode)?;
        self.attached.insert(slot, (ifindex, mode));
        Ok(())
    }

    /// Whether an earlier lbd has left a program on this interface.
    pub fn is_pinned(&self, ifindex: u32, mode: Mode) -> bool {
        Loaded::is_pinned(&self.bpf_dir, ifindex, mode)
    }

    /// Removes links that an earlier lbd has left and this one does not use.
    pub fn forget_other_links(&self) {
        let used: Vec<PathBuf> = self
            .attached
            .values()
            .map(|(ifindex, mode)| super::link_pin(&self.bpf_dir, *ifindex, *mode))
            .collect();
        let flows = super::flows_pin(&self.bpf_dir);
        for pin in super::leftovers(&self.bpf_dir) {
            if pin != flows
                && !used.contains(&pin)
                && let Err(error) = std::fs::remove_file(&pin)
            {
                warn!(%error, pin = %pin.display(), "an old XDP link could not be removed");
            }
        }
    }

    /// For use.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn open(self) -> Result<FastPath, String> {
        let sizes = self.expected.sizes();
        let program = self.loaded.open()?;
        for slot in 0..MAX_INTERFACES {
            program.settings.set_interface(slot, None);
        }
        let empty = || vec![DECLINED; MAX_REALS].into_boxed_slice();
        Ok(FastPath {
            rings: Rings::new(program.rings),
            endpoints: Endpoints::new(program.endpoints, sizes.endpoint_bits),
            program,
            bpf_dir: self.bpf_dir,
            attached: self.attached,
            reals: [empty(), empty()],
            room_for_reals: sizes.reals,
            counted: BTreeMap::new(),
            counted_frames: [Frames::default(); MAX_INTERFACES],
            firsts: Default::default(),
            unfinished: [0; MAX_INTERFACES],
            flood: Flood::new(self.expected.flow_entries),
            taken_over: false,
            broken: false,
        })
    }
}

/// The program, and what lbd last told it.
pub struct FastPath {
    program: Program,
    bpf_dir: PathBuf,
    attached: Attached,
    /// What stands in each half.
    reals: [Box<[RealRecord]>; 2],
    /// The program counts what those with lower ids get, and declines what is for others.
    room_for_reals: usize,
    endpoints: Endpoints,
    rings: Rings,
    /// Whose ids were ever told, with their services, and what was counted of each.
    counted: BTreeMap<RealId, (ServiceId, Tally)>,
    counted_frames: [Frames; MAX_INTERFACES],
    /// What the first interface received, and what it sent.
    firsts: [Rest; 2],
    unfinished: [u64; MAX_INTERFACES],
    flood: Flood,
    taken_over: bool,
    /// The maps could not be written: everything is declined.
    broken: bool,
}

impl fmt::Debug for FastPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FastPath on {:?}", self.attached)
    }
}

impl FastPath {
    /// The flow table's memory.
    pub fn flow_words(&self) -> &'static [AtomicU64] {
        self.program.flows
    }

    /// Before a snapshot is published: the program follows it. At the first one it takes the place of the
    /// last lbd's.
    pub fn follow(&mut self, table: &ServiceTable, links: &[Link], now: Tick) {
        self.tell_time(now);
        if self.broken {
            return;
        }
        if let Err(error) = self.write(table, links, now) {
            error!(%error, "the XDP program's maps cannot be written: it declines everything from now on");
            self.broken = true;
        }
        for slot in 0..MAX_INTERFACES {
            let settings = self.interface(slot, table, links);
            let settings = settings.filter(|_| !self.broken);
            self.program.settings.set_interface(slot, settings);
        }
        if !self.taken_over {
            self.taken_over = true;
            for (ifindex, mode) in self.attached.clone().into_values() {
                if let Err(why) = self.program.take_over(&self.bpf_dir, ifindex, mode) {
                    warn!(why, "XDP: known flows are forwarded by raw sockets");
                }
            }
        }
    }

    fn interface(
        &self,
        slot: usize,
        table: &ServiceTable,
        links: &[Link],
    ) -> Option<InterfaceSettings> {
        let (ifindex, _) = self.attached.get(&slot)?;
        let mut interfaces = table.interfaces.iter();
        let interface = interfaces.find(|i| i.slot == slot && i.ifindex == *ifindex)?;
        let link = links.iter().find(|l| l.ifindex == *ifindex)?;
        Some(InterfaceSettings {
            ifindex: *ifindex,
            largest: link.mtu + ETHERNET,
            mac: interface.mac,
        })
    }

    /// The interfaces the program may send out of.
    fn ports(&self, links: &[Link]) -> Ports {
        let port = |(ifindex, mode): &(u32, Mode)| {
            let link = links.iter().find(|link| link.ifindex == *ifindex)?;
            let largest = link.mtu + ETHERNET;
            Some((
                *ifindex,
                Port {
                    largest,
                    mode: *mode,
                },
            ))
        };
        self.attached.values().filter_map(port).collect()
    }

    fn write(
        &mut self,
        table: &ServiceTable,
        links: &[Link],
        now: Tick,
    ) -> Result<(), aya::maps::MapError> {
        let half = 1 - self.program.settings.half();
        let ports = self.ports(links);
        let mut wanted = vec![DECLINED; MAX_REALS];
        let mut beyond = 0;
        for (id, real) in table.reals() {
            if id.index() >= self.room_for_reals {
                beyond += 1;
                continue;
            }
            wanted[id.index()] = record::real(real, table, &ports);
            let service = table.services[real.service].id;
            self.counted
                .entry(id)
                .or_insert((service, Tally::default()))
                .0 = service;
        }
        for (id, new) in wanted.into_iter().enumerate() {
            let told = &mut self.reals[half][id];
            if *told != new {
                let at = (half * MAX_REALS + id) as u32;
                self.program.reals.set(at, new, 0)?;
                *told = new;
            }
        }
        let placed = self.rings.place(table, now);
        let mut services: BTreeMap<KeyRecord, _> = BTreeMap::new();
        for service in &table.services {
            let at = placed.of(service.id);
            let record = record::service(service, at, table.maintenance);
            services.extend(service.keys.iter().map(|key| (record::key(key), record)));
        }
        if beyond > 0 {
            warn!(
                beyond,
                "XDP: reals that the program has no room to count go by raw sockets; a restart makes more"
            );
        }
        if placed.homeless > 0 && !self.rings.has_more_soon() {
            warn!(
                rings = placed.homeless,
                "XDP: rings without a place in the program's memory: their new flows go by raw sockets; a \
                 restart makes more"
            );
        }
        let homeless = self.endpoints.write(half, &services);
        if homeless > 0 {
            warn!(
                homeless,
                "XDP: VIP:ports without a place in the program's table go by raw sockets; a restart makes \
                 a larger one"
            );
        }
        self.program.settings.flip();
        self.rings.settle(placed, now);
        Ok(())
    }

    /// Whether rings that found no place before would find one now.
    pub fn has_room_again(&self, now: Tick) -> bool {
        self.rings.has_room_again(now)
    }

    /// Tells the program the time, by which it notes that flows live.
    pub fn tell_time(&self, now: Tick) {
        self.program.settings.set_now(now);
    }

    /// A few times a second: the time, and how many new flows each core may remember until the next
    /// call: half of what there is room for, all cores together, so that a flood meets a table that still
    /// has some when it is noticed; none in a flood.
    pub fn renew(&mut self, flows: &FlowTable<'_>, now: Tick) {
        self.tell_time(now);
        let cores = aya::util::nr_cpus().unwrap_or(1);
        let (used, capacity) = (flows.len(), flows.capacity());
        self.flood.tick(now, || used);
        let budget = match self.flood.is_on() {
            true => 0,
            false => (capacity.saturating_sub(used) / 2 / cores).max(1),
        };
        let budget = u32::try_from(budget).unwrap_or(u32::MAX);
        self.program.settings.renew_budget(budget);
    }

    /// Adds what the program has done since the last call to `counters` and `loads`.
    pub fn count(&mut self, counters: &Counters, loads: &Loads) {
        let forwarded = self.count_reals(counters, loads);
        // Of all but the first interface the program counts frames; the rest is the first one's.
        let mut others = [0_u64; 2];
        for slot in 0..MAX_INTERFACES {
            let Ok(values) = self.program.frames.get(&(slot as u32), 0) else {
                continue;
            };
            let now: Frames = sum(&values);
            let before = &mut self.counted_frames[slot];
            let [received, sent, unfinished, unremembered] =
                std::array::from_fn(|n| now[n].wrapping_sub(before[n]));
            *before = now;
            let tally = counters.interface(slot);
            tally.received.add(received);
            tally.sent.add(sent);
            others[0] += received;
            others[1] += sent;
            counters.unremembered.add(unremembered);
            self.unfinished[slot] += unfinished;
        }
        let first = counters.interface(0);
        let [received, sent] = &mut self.firsts;
        first.received.add(received.after(forwarded, others[0]));
        first.sent.add(sent.after(forwarded, others[1]));
    }

    /// The part of [`count`](Self::count) about reals; returns how many packets they got.
    fn count_reals(&mut self, counters: &Counters, loads: &Loads) -> u64 {
        let mut forwarded = 0_u64;
        for (id, (service, before)) in &mut self.counted {
            let Ok(values) = self.program.tallies.get(&u32::from(id.0), 0) else {
                continue;
            };
            let now: Tally = sum(&values);
            if now == *before {
                continue;
            }
            let [packets, bytes, began, completed, active, inactive] =
                std::array::from_fn(|n| now[n].wrapping_sub(before[n]));
            *before = now;
            for tally in [counters.real(*id), counters.service(*service)] {
                tally.packets.add(packets);
                tally.bytes.add(bytes);
                tally.new_flows.add(began);
            }
            counters.handshakes(*id).completed.add(completed);
            loads.adjust(*id, Weightiness::Active, active as i64);
            loads.adjust(*id, Weightiness::Inactive, inactive as i64);
            self.flood.add(began);
            forwarded = forwarded.wrapping_add(packets);
        }
        forwarded
    }

    /// Packets declined on the interface with this place because nobody had finished their checksum, as of
    /// the last [`count`](Self::count).
    pub fn unfinished(&self, slot: usize) -> u64 {
        self.unfinished[slot]
    }
}

/// What is left of all frames for the first interface. Others' frames are read later than all are, so what
/// is left may be too little until the next time, and even below zero: it is told when it is sure.
#[derive(Debug, Default)]
struct Rest(i64);

impl Rest {
    /// What is to be told when so many more were counted of all, and of others.
    fn after(&mut self, all: u64, others: u64) -> u64 {
        self.0 += all as i64 - others as i64;
        let sure = u64::try_from(self.0).unwrap_or(0);
        self.0 -= sure as i64;
        sure
    }
}

#[cfg(test)]
impl FastPath {
    /// As if it were attached: for runs without an interface.
    pub fn pretend_attached(&mut self, slot: usize, ifindex: u32) {
        self.attached.insert(slot, (ifindex, Mode::Generic));
        self.taken_over = true;
    }

    /// The program itself.
    pub fn xdp(&mut self) -> &mut aya::programs::Xdp {
        self.program.xdp()
    }
}

fn sum<const N: usize>(values: &aya::maps::PerCpuValues<[u64; N]>) -> [u64; N] {
    let add = |all: [u64; N], one: &[u64; N]| std::array::from_fn(|n| all[n].wrapping_add(one[n]));
    values.iter().fold([0; N], add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_never_falls_and_is_exact_once_all_is_counted() {
        let mut rest = Rest::default();
        assert_eq!(
            rest.after(100, 150),
            0,
            "others' last 50 are not among all yet"
        );
        assert_eq!(rest.after(40, 0), 0);
        assert_eq!(rest.after(70, 10), 50);
        assert_eq!(rest.after(0, 0), 0);
    }

    #[test]
    fn there_is_room_for_every_id_that_was_ever_given() {
        let room = |reals, ids| {
            let expected = Expected {
                flow_entries: 1024,
                services: 1,
                keys: 1,
                reals,
                ids,
            };
            expected.sizes().reals
        };
        assert_eq!(room(1, 0), 1024);
        assert_eq!(room(1000, 0), 4096);
        assert!(room(1000, 60_000) >= 61_000);
        assert_eq!(room(60_000, 65_536), MAX_REALS);
    }
}
