//! What lbd does with the program while it runs: tells it snapshots and the time, and counts what it did.

use super::Mode;
use super::program::{Program, Sizes};
use super::record::{self, Address, DECLINED, InterfaceSettings, RealRecord};
use crate::live::event::Link;
use lbcore::director::{Counters, MAX_INTERFACES};
use lbcore::id::{MAX_REALS, RealId, ServiceId};
use lbcore::net::HashKey;
use lbcore::service::ServiceTable;
use lbcore::time::Tick;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use tracing::{error, warn};

/// Bytes of an Ethernet header.
const ETHERNET: u32 = 14;

/// The program, and what lbd last told it.
pub struct FastPath {
    program: Program,
    bpf_dir: PathBuf,
    /// By place in `network.interfaces`, where it is attached.
    attached: BTreeMap<usize, (u32, Mode)>,
    /// What stands in each half of the reals.
    halves: [Box<[RealRecord]>; 2],
    vips: BTreeSet<Address>,
    /// Whose ids were ever told, with their services, and what was counted of each.
    counted: BTreeMap<RealId, (ServiceId, [u64; 2])>,
    counted_frames: [[u64; 2]; MAX_INTERFACES],
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
    /// Loads the program; it is attached nowhere yet. `reals` is how many the configuration has.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn load(
        bpf_dir: &Path,
        key: &HashKey,
        flow_words: usize,
        half: usize,
        reals: usize,
    ) -> Result<Self, String> {
        let sizes = Sizes {
            flow_words,
            half,
            // Removed reals keep their ids for a while, and reloads bring more.
            reals: (reals * 4).next_power_of_two().clamp(1024, MAX_REALS),
        };
        let program = Program::load(bpf_dir, key, sizes)?;
        for slot in 0..MAX_INTERFACES {
            program.settings.set_interface(slot, None);
        }
        let empty = || vec![DECLINED; MAX_REALS].into_boxed_slice();
        Ok(FastPath {
            program,
            bpf_dir: bpf_dir.to_owned(),
            attached: BTreeMap::new(),
            halves: [empty(), empty()],
            vips: BTreeSet::new(),
            counted: BTreeMap::new(),
            counted_frames: [[0; 2]; MAX_INTERFACES],
            taken_over: false,
            broken: false,
        })
    }

    /// Attaches the program to the interface with this place.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn attach(&mut self, slot: usize, ifindex: u32, mode: Mode) -> Result<(), String> {
        self.program.attach(&self.bpf_dir, ifindex, mode)?;
        self.attached.insert(slot, (ifindex, mode));
        Ok(())
    }

    /// Removes links that an earlier lbd has left and this one does not use.
    pub fn forget_other_links(&self) {
        let used: BTreeSet<PathBuf> = self
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
        if let Err(error) = self.write(table) {
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

    fn write(&mut self, table: &ServiceTable) -> Result<(), aya::maps::MapError> {
        let half = 1 - self.program.settings.half();
        let mut wanted = vec![DECLINED; MAX_REALS];
        for (id, real) in table.reals() {
            wanted[id.index()] = record::real(real, table);
            let service = table.services[real.service].id;
            self.counted.entry(id).or_insert((service, [0; 2])).0 = service;
        }
        for (id, new) in wanted.into_iter().enumerate() {
            let told = &mut self.halves[half][id];
            if *told != new {
                let at = (half * MAX_REALS + id) as u32;
                self.program.reals.set(at, new, 0)?;
                *told = new;
            }
        }
        self.program.settings.flip();
        let vips: BTreeSet<Address> = table.vips().map(record::address).collect();
        for new in vips.difference(&self.vips) {
            self.program.vips.insert(new, 1, 0)?;
        }
        for gone in self.vips.difference(&vips) {
            self.program.vips.remove(gone)?;
        }
        self.vips = vips;
        Ok(())
    }

    /// Tells the program the time, by which it notes that flows live.
    pub fn tell_time(&self, now: Tick) {
        self.program.settings.set_now(now);
    }

    /// Adds what the program has forwarded since the last call to `counters`.
    pub fn count(&mut self, counters: &Counters) {
        for (id, (service, before)) in &mut self.counted {
            let Ok(values) = self.program.tallies.get(&u32::from(id.0), 0) else {
                continue;
            };
            let now = sum(&values);
            let [packets, bytes] = [0, 1].map(|n| now[n].wrapping_sub(before[n]));
            if packets > 0 {
                for tally in [counters.real(*id), counters.service(*service)] {
                    tally.packets.add(packets);
                    tally.bytes.add(bytes);
                }
                *before = now;
            }
        }
        for slot in self.attached.keys() {
            let Ok(values) = self.program.frames.get(&(*slot as u32), 0) else {
                continue;
            };
            let now = sum(&values);
            let before = &mut self.counted_frames[*slot];
            let forwarded = now[0].wrapping_sub(before[0]);
            *before = now;
            let tally = counters.interface(*slot);
            tally.received.add(forwarded);
            tally.sent.add(forwarded);
        }
    }

    /// Packets declined on the interface with this place because nobody had finished their checksum, and
    /// packets forwarded, as of the last [`count`](Self::count).
    pub fn unfinished(&self, slot: usize) -> (u64, u64) {
        let [forwarded, unfinished] = self.counted_frames[slot];
        (unfinished, forwarded)
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

fn sum(values: &aya::maps::PerCpuValues<[u64; 2]>) -> [u64; 2] {
    let add = |all: [u64; 2], one: &[u64; 2]| [0, 1].map(|n| all[n].wrapping_add(one[n]));
    values.iter().fold([0; 2], add)
}
