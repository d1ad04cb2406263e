//! What program and lbd both read, byte for byte as `bpf/known_flows.bpf.c` lays it out.

use lbcore::config::{Mode, Track};
use lbcore::flow::Coarse;
use lbcore::net::{Addr, MacAddr};
use lbcore::service::{FlowFate, Real, ServiceTable};
use lbcore::time::Tick;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::{Acquire, Release};

/// `struct real`.
pub type RealRecord = [u64; 4];

/// `struct address`.
pub type Address = [u64; 2];

/// A real whose flows are declined.
pub const DECLINED: RealRecord = [0; 4];

/// As long as a flow may be silent at most, in units of [`Coarse`]: differences of the program's
/// 32-bit clock are told apart up to here.
const LONGEST_IDLE: u64 = 1 << 30;

/// What the program is to do with known flows of `real`: forward them where the director always would,
/// else decline.
pub fn real(real: &Real, table: &ServiceTable) -> RealRecord {
    let service = &table.services[real.service];
    let plain = real.fate == FlowFate::Keep
        && service.mode == Mode::Dr
        && matches!(service.track, Track::Flows);
    let Some(path) = real.path.filter(|_| plain) else {
        return DECLINED;
    };
    let idle = (service.timeouts.idle_ms() / Coarse::UNIT_MS).min(LONGEST_IDLE);
    let (dst, src) = (mac(path.dst), mac(path.src));
    [
        u64::from(real.epoch.get()) | 1 << 16 | u64::from(path.ifindex) << 32,
        idle | dst << 32,
        (dst >> 32) | src << 16,
        0,
    ]
}

/// The six bytes as they stand in memory, in the low 48 bits.
fn mac(address: MacAddr) -> u64 {
    let [a, b, c, d, e, f] = address.octets();
    u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
}

/// A VIP as the program looks it up.
pub fn address(addr: &Addr) -> Address {
    let bytes = addr.octets();
    let (high, low) = bytes.split_at(8);
    [high, low].map(|half| {
        let mut word = [0; 8];
        word.copy_from_slice(half);
        u64::from_le_bytes(word)
    })
}

/// Bytes of `struct settings`.
pub const SETTINGS_BYTES: usize = 8 + 16 * MAX_INTERFACES;

/// The program's bound on interfaces: `lbcore::director`'s.
const MAX_INTERFACES: usize = 16;
const _: () = assert!(MAX_INTERFACES == lbcore::director::MAX_INTERFACES);

/// An interface that is not there: no frame comes in by it.
const ABSENT: u32 = u32::MAX;

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
pub struct Settings(&'static [AtomicU32]);

impl Settings {
    /// On that memory.
    pub fn new(memory: &'static [AtomicU32]) -> Self {
        Settings(memory)
    }

    /// Tells the program the time.
    pub fn set_now(&self, now: Tick) {
        self.0[0].store(Coarse::at(now).units(), Release);
    }

    /// Which half of the reals is in force.
    pub fn half(&self) -> usize {
        (self.0[1].load(Acquire) & 1) as usize
    }

    /// Puts the other half in force.
    pub fn flip(&self) {
        self.0[1].store(1 - self.half() as u32, Release);
    }

    /// What the program does on the interface with this place; `None`: nothing.
    pub fn set_interface(&self, slot: usize, wanted: Option<InterfaceSettings>) {
        let at = 2 + 4 * slot;
        let [ifindex, largest, mac_low, mac_high] = [0, 1, 2, 3].map(|n| &self.0[at + n]);
        let Some(wanted) = wanted else {
            largest.store(0, Release);
            ifindex.store(ABSENT, Release);
            return;
        };
        let bytes = mac(wanted.mac);
        let new = [bytes as u32, (bytes >> 32) as u32];
        let old = [mac_low.load(Acquire), mac_high.load(Acquire)];
        if ifindex.load(Acquire) != wanted.ifindex || old != new {
            // Nothing is forwarded while half of it is the old one.
            largest.store(0, Release);
            mac_low.store(new[0], Release);
            mac_high.store(new[1], Release);
            ifindex.store(wanted.ifindex, Release);
        }
        largest.store(wanted.largest, Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stand_as_in_a_packet() {
        let v4 = Addr::v4([192, 0, 2, 10]);
        assert_eq!(address(&v4), [0, 0x0a02_00c0_ffff_0000]);
        let bytes: [u8; 16] = std::array::from_fn(|n| n as u8);
        assert_eq!(
            address(&Addr::v6(bytes)),
            [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908]
        );
    }
}
