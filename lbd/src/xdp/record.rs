//! What program and lbd both read, byte for byte as `bpf/maps.h` lays it out.

use super::Mode;
use lbcore::config::{Mode as Way, Track};
use lbcore::flow::Coarse;
use lbcore::net::{Addr, MacAddr, ServiceKey};
use lbcore::sched::{Kind, Ring};
use lbcore::service::{FlowFate, Real, Service, ServiceTable};
use lbcore::time::Tick;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// `struct real`.
pub type RealRecord = [u64; 4];

/// `struct service`.
pub type ServiceRecord = [u64; 2];

/// The key of a `struct endpoint`.
pub type KeyRecord = [u64; 3];

/// `struct tally`: packets, bytes, flows begun, handshakes completed, and by how many the active and the
/// inactive flows have become more.
pub type Tally = [u64; 6];

/// `struct frames`: received, sent, declined as unfinished, flows not remembered.
pub type Frames = [u64; 4];

/// A real whose flows are declined.
pub const DECLINED: RealRecord = [0; 4];

/// A service that is not there.
pub const ABSENT_SERVICE: ServiceRecord = [0; 2];

/// As long as a flow may be silent at most, in units of [`Coarse`]: differences of the program's
/// 32-bit clock are told apart up to here.
const LONGEST_IDLE: u64 = 1 << 30;

const THERE: u64 = 1;
const BY_RING: u64 = 2;
const BY_SOURCE: u64 = 4;
const TRACK_NONE: u64 = 8;
const TRACK_CHANGES: u64 = 16;
const LOOKS_UP: u64 = 32;
const PAST_BY_SOURCE: u64 = 64;

const KEEPS: u64 = 1;
const TAKES_NEW: u64 = 2;
const REDIRECTED: u64 = 4;
const PRESENT: u64 = 8;

/// No ring.
const NO_RING: u64 = 0xffff_ffff;

/// Elements of the map that one ring takes: four slots in each.
pub const RING_WORDS: usize = Ring::SIZE.div_ceil(4);

/// Where the rings of a service begin in the map of rings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RingsAt {
    /// Its ring, if there is one and the map has room for it.
    pub ring: Option<usize>,
    /// The ring before the change that is under way.
    pub past: Option<usize>,
}

/// What the program is to do for `service`, if anything.
pub fn service(service: &Service, at: RingsAt, maintenance: bool) -> ServiceRecord {
    // A change whose older ring has no place cannot be followed.
    let followed = service.past.is_some() == at.past.is_some();
    if service.mode != Way::Dr || (service.track == Track::Changes && !followed) {
        return ABSENT_SERVICE;
    }
    let by_hash = matches!(service.kind, Kind::Maglev | Kind::Sh) || service.track == Track::None;
    // Only where changes are tracked does the program ask the older ring.
    let asks_all = service.past.is_none() || service.track == Track::Changes;
    let mut flags = THERE;
    if by_hash && asks_all && at.ring.is_some() && !maintenance {
        flags |= BY_RING;
    }
    if service.kind == Kind::Sh {
        flags |= BY_SOURCE;
    }
    if service
        .past
        .as_ref()
        .is_some_and(|past| past.kind == Kind::Sh)
    {
        flags |= PAST_BY_SOURCE;
    }
    flags |= match service.track {
        Track::Flows => 0,
        Track::None => TRACK_NONE,
        Track::Changes => TRACK_CHANGES,
    };
    if service.looks_up {
        flags |= LOOKS_UP;
    }
    let idle = (service.timeouts.idle_ms() / Coarse::UNIT_MS).min(LONGEST_IDLE);
    let place = |at: Option<usize>| at.map_or(NO_RING, |at| at as u64);
    [
        u64::from(service.id.0) | flags << 16 | idle << 32,
        place(at.ring) | place(at.past) << 32,
    ]
}

/// Where the program runs, and what leaves there: by interface index.
pub type Ports = BTreeMap<u32, Port>;

/// One interface the program may send frames out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The largest frame, from its Ethernet header on.
    pub largest: u32,
    /// Where the program runs there.
    pub mode: Mode,
}

/// What the program is to do with flows of `real`: forward them where the director always would, else
/// decline.
pub fn real(real: &Real, table: &ServiceTable, ports: &Ports) -> RealRecord {
    let service = &table.services[real.service];
    let mut flags = PRESENT;
    if real.takes_new {
        flags |= TAKES_NEW;
    }
    let path = real.path.filter(|_| service.mode == Way::Dr);
    let port = path.and_then(|path| ports.get(&path.ifindex));
    let (Some(path), Some(port)) = (path, port) else {
        return [
            u64::from(real.epoch.get()) | flags << 16,
            0,
            0,
            service.id.0.into(),
        ];
    };
    if real.fate == FlowFate::Keep {
        flags |= KEEPS;
    }
    // Behind a driver every interface takes what is sent; in drivers, those that run XDP themselves.
    if ports.values().all(|other| other.mode == port.mode) {
        flags |= REDIRECTED;
    }
    let (dst, src) = (mac(path.dst), mac(path.src));
    [
        u64::from(real.epoch.get()) | flags << 16 | u64::from(path.ifindex) << 32,
        u64::from(port.largest) | dst << 32,
        (dst >> 32) | src << 16,
        service.id.0.into(),
    ]
}

/// The six bytes as they stand in memory, in the low 48 bits.
fn mac(address: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = address.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// What clients dial as the program looks it up.
pub fn key(key: &ServiceKey) -> KeyRecord {
    let [high, low] = address(&key.vip);
    let port = u16::from_ne_bytes(key.port.to_be_bytes());
    [
        high,
        low,
        u64::from(port) | u64::from(key.protocol.number()) << 16,
    ]
}

fn address(addr: &Addr) -> [u64; 2] {
    let bytes = addr.octets();
    let (high, low) = bytes.split_at(8);
    [high, low].map(|half| {
        let mut word = [0; 8];
        word.copy_from_slice(half);
        u64::from_le_bytes(word)
    })
}

/// Writes a ring to its place in the map of rings. Nothing may read it there yet.
pub fn write_ring(memory: &[AtomicU64], at: usize, ring: &Ring) {
    for (word, slots) in memory[at..].iter().zip(ring.slots().chunks(4)) {
        let mut packed = 0;
        for (n, slot) in slots.iter().enumerate() {
            packed |= u64::from(*slot) << (16 * n);
        }
        word.store(packed, Relaxed);
    }
}

/// Words of `struct settings`.
pub const SETTINGS_WORDS: usize = 3 + 2 * MAX_INTERFACES;

/// The program's bound on interfaces: `lbcore::director`'s.
const MAX_INTERFACES: usize = 16;
const _: () = assert!(MAX_INTERFACES == lbcore::director::MAX_INTERFACES);

/// An interface that is not there: no frame comes in by it.
const ABSENT: u64 = u32::MAX as u64;

/// One interface of the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterfaceSettings {
    /// Its index.
    pub ifindex: u32,
    /// The largest frame that goes on as it is, from its Ethernet header on.
    pub largest: u32,
    /// Its MAC.
    pub mac: MacAddr,
}

/// `struct settings`, in memory the program reads.
#[derive(Debug)]
pub struct Settings(&'static [AtomicU64]);

impl Settings {
    /// On that memory.
    pub fn new(memory: &'static [AtomicU64]) -> Self {
        Settings(memory)
    }

    /// Tells the program the time.
    pub fn set_now(&self, now: Tick) {
        self.0[0].store(now.0, Release);
    }

    /// Which half of services and reals is in force.
    pub fn half(&self) -> usize {
        (self.0[1].load(Acquire) & 1) as usize
    }

    /// Puts the other half in force.
    pub fn flip(&self) {
        self.0[1].fetch_xor(1, Release);
    }

    /// From now on each core may remember so many new flows.
    pub fn renew_budget(&self, flows: u32) {
        self.0[2].store(u64::from(flows), Release);
        self.0[1].fetch_add(1 << 32, Release);
    }

    /// What the program does on the interface with this place; `None`: nothing.
    pub fn set_interface(&self, slot: usize, wanted: Option<InterfaceSettings>) {
        let at = 3 + 2 * slot;
        let (index, address) = (&self.0[at], &self.0[at + 1]);
        let Some(wanted) = wanted else {
            index.store(ABSENT, Release);
            return;
        };
        let (ifindex, new) = (u64::from(wanted.ifindex), mac(wanted.mac));
        if index.load(Acquire) as u32 != wanted.ifindex || address.load(Acquire) != new {
            // Nothing is forwarded while half of it is the old one.
            index.store(ifindex, Release);
            address.store(new, Release);
        }
        index.store(ifindex | u64::from(wanted.largest) << 32, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbcore::net::Protocol;

    #[test]
    fn keys_stand_as_in_a_packet() {
        let v4 = Addr::v4([192, 0, 2, 10]);
        let dialled = ServiceKey {
            vip: v4,
            port: 443,
            protocol: Protocol::Tcp,
        };
        assert_eq!(key(&dialled), [0, 0x0a02_00c0_ffff_0000, 0x06_bb01]);
        let bytes: [u8; 16] = std::array::from_fn(|n| n as u8);
        assert_eq!(
            address(&Addr::v6(bytes)),
            [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]
        );
    }
}
