//! The program that hands frames of services to AF_XDP sockets, on one interface.
//!
//! Nothing of it outlives this process: without lbd nobody would read the sockets.

use super::program::{chain, made, not_attached, taken, words};
use super::record::{self, KeyRecord};
use super::{Mode, Passed};
use crate::live::event::Link;
use crate::sys::xsk::Xsk;
use aya::maps::{HashMap, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::Xdp;
use aya::programs::links::FdLink;
use aya::programs::xdp::XdpMode as AyaMode;
use aya::{Ebpf, EbpfLoader};
use lbcore::config;
use lbcore::net::MacAddr;
use lbcore::service::ServiceTable;
use std::collections::BTreeSet;
use std::fmt;
use std::os::fd::AsRawFd;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Release;
use tracing::error;

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/to_sockets.bpf.o"));

/// The name of the program.
const NAME: &str = "to_sockets";

/// 64-bit words of `struct settings`.
const SETTINGS_WORDS: usize = 2;

/// The program on one interface, and what lbd last told it.
pub struct ToSockets {
    slot: usize,
    ifindex: u32,
    room: u32,
    settings: &'static [AtomicU64],
    balanced: HashMap<MapData, KeyRecord, u8>,
    passed: PerCpuArray<MapData, [u64; 2]>,
    told: BTreeSet<KeyRecord>,
    /// Its map could not be written: everything goes up the stack.
    broken: bool,
    /// Its end is the program's.
    link: Option<FdLink>,
    // The program needs its maps.
    ebpf: Ebpf,
}

impl fmt::Debug for ToSockets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToSockets on {}", self.ifindex)
    }
}

impl ToSockets {
    /// Loads the program for the interface with place `slot`; it is attached nowhere yet. `room`: bytes
    /// of a frame that a socket has room for.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn load(slot: usize, ifindex: u32, queues: u32, room: u32) -> Result<ToSockets, String> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("sockets", queues)
            .load(OBJECT)
            .map_err(|error| format!("the program cannot be made: {}", chain(&error)))?;
        program(&mut ebpf)?
            .load()
            .map_err(|error| format!("the kernel refuses the program: {}", chain(&error)))?;
        let settings = words(taken(&mut ebpf, "settings")?, SETTINGS_WORDS)?;
        Ok(ToSockets {
            slot,
            ifindex,
            room,
            settings,
            balanced: made(&mut ebpf, "balanced")?,
            passed: made(&mut ebpf, "passed")?,
            told: BTreeSet::new(),
            broken: false,
            link: None,
            ebpf,
        })
    }

    /// Redirects to these sockets, and attaches the program. Before it is told a snapshot everything goes up
    /// the stack.
    ///
    /// # Errors
    /// Why not, in words.
    pub fn attach<'a>(
        &mut self,
        sockets: impl Iterator<Item = &'a Xsk>,
        mode: Mode,
    ) -> Result<(), String> {
        let mut map: XskMap<MapData> = made(&mut self.ebpf, "sockets")?;
        for socket in sockets {
            map.set(socket.queue(), socket.as_raw_fd(), 0)
                .map_err(|error| chain(&error))?;
        }
        let flag = match mode {
            Mode::Native => AyaMode::Driver,
            Mode::Generic => AyaMode::Skb,
        };
        let program = program(&mut self.ebpf)?;
        let id = program
            .attach_to_if_index(self.ifindex, flag)
            .map_err(|error| not_attached(&error))?;
        let link = program.take_link(id).map_err(|error| chain(&error))?;
        let link = link
            .try_into()
            .map_err(|_| "XDP links need Linux 5.9".to_owned())?;
        self.link = Some(link);
        Ok(())
    }

    /// Before a snapshot is published: what it does not balance any more goes up the stack again.
    pub fn withdraw(&mut self, table: &ServiceTable) {
        let wanted = keys(table);
        let gone: Vec<KeyRecord> = self.told.difference(&wanted).copied().collect();
        for key in gone {
            let removed = self.balanced.remove(&key);
            self.told.remove(&key);
            self.note(removed);
        }
    }

    /// After a snapshot was published: what it balances goes to the sockets.
    pub fn offer(&mut self, table: &ServiceTable, links: &[Link]) {
        let mut interfaces = table.interfaces.iter();
        let interface = interfaces.find(|i| i.slot == self.slot && i.ifindex == self.ifindex);
        let link = links.iter().find(|link| link.ifindex == self.ifindex);
        match (interface, link) {
            (Some(interface), Some(link)) if !self.broken => self.set(interface.mac, link.mtu),
            _ => self.settings[0].store(0, Release),
        }
        let new: Vec<KeyRecord> = keys(table).difference(&self.told).copied().collect();
        for key in new {
            let inserted = self.balanced.insert(key, 1, 0);
            if inserted.is_ok() {
                self.told.insert(key);
            }
            self.note(inserted);
        }
    }

    fn set(&self, mac: MacAddr, mtu: u32) {
        let [a, b, c, d, e, f] = mac.octets();
        self.settings[1].store(u64::from_ne_bytes([a, b, c, d, e, f, 0, 0]), Release);
        let [[a, b, c, d], [e, f, g, h]] = [mtu, self.room].map(u32::to_ne_bytes);
        self.settings[0].store(u64::from_ne_bytes([a, b, c, d, e, f, g, h]), Release);
    }

    /// Out of step the program could take what is the host's.
    fn note(&mut self, written: Result<(), MapError>) {
        if let Err(error) = written {
            let why = chain(&error);
            error!(
                why,
                "the program's services cannot be written: raw sockets have every frame"
            );
            self.broken = true;
            self.settings[0].store(0, Release);
        }
    }

    /// What went up the stack so far.
    pub fn passed(&self) -> Passed {
        let Ok(values) = self.passed.get(&0, 0) else {
            return Passed::default();
        };
        let sum = |n: usize| values.iter().map(|one| one[n]).fold(0, u64::wrapping_add);
        Passed {
            unfinished: sum(0),
            too_large: sum(1),
        }
    }

    /// The place of its interface.
    pub fn slot(&self) -> usize {
        self.slot
    }

    /// The program, for tests.
    #[cfg(test)]
    pub fn xdp(&mut self) -> &mut Xdp {
        program(&mut self.ebpf).expect("the program")
    }
}

fn program(ebpf: &mut Ebpf) -> Result<&mut Xdp, String> {
    let program = ebpf.program_mut(NAME).ok_or("the object has no program")?;
    program.try_into().map_err(|error| chain(&error))
}

/// What a snapshot balances in mode dr.
fn keys(table: &ServiceTable) -> BTreeSet<KeyRecord> {
    let dr = table
        .services
        .iter()
        .filter(|service| service.mode == config::Mode::Dr);
    dr.flat_map(|service| service.keys.iter().map(record::key))
        .collect()
}
