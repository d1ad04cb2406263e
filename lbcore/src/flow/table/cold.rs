//! The cold words of a slot: whose flow it is and since when, for listings and for checking what
//! an earlier process left.
//!
//! | word | |
//! |---|---|
//! | 0, 1 | client |
//! | 2, 3 | VIP |
//! | 4 | client port, VIP port, protocol: 16 bits each from the top |
//! | 5 | tick of the insert |
//! | 6, 7 | zero |

use super::atomic::fence;
use super::layout::Bucket;
use crate::net::{Addr, FlowKey, Protocol, ServiceKey};
use crate::time::Tick;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

/// Writes the words of a slot that is busy and the caller's.
pub(super) fn write(words: &Bucket, key: &FlowKey, created: Tick) {
    // Whoever reads one of these words sees, behind its own fence, that the slot is busy.
    fence(Release);
    let [client_high, client_low] = halves(key.client);
    let [vip_high, vip_low] = halves(key.service.vip);
    let ports = u64::from(key.client_port) << 48
        | u64::from(key.service.port) << 32
        | u64::from(key.service.protocol.number()) << 16;
    let values = [
        client_high,
        client_low,
        vip_high,
        vip_low,
        ports,
        created.0,
        0,
        0,
    ];
    for (word, value) in words.iter().zip(values) {
        word.store(value, Relaxed);
    }
}

/// Reads the words; they belong to the flow that the slot's signature named before, if it names
/// it afterwards too. `None` if they are no flow.
pub(super) fn read(words: &Bucket) -> Option<(FlowKey, Tick)> {
    let [
        client_high,
        client_low,
        vip_high,
        vip_low,
        ports,
        created,
        ..,
    ] = words.each_ref().map(|word| word.load(Relaxed));
    fence(Acquire);
    let service = ServiceKey {
        vip: address([vip_high, vip_low]),
        port: (ports >> 32) as u16,
        protocol: Protocol::from_number(u8::try_from(ports >> 16 & 0xffff).ok()?)?,
    };
    let client = address([client_high, client_low]);
    Some((
        FlowKey {
            client,
            client_port: (ports >> 48) as u16,
            service,
        },
        Tick(created),
    ))
}

fn halves(address: Addr) -> [u64; 2] {
    let bits = u128::from_be_bytes(address.octets());
    [(bits >> 64) as u64, bits as u64]
}

fn address([high, low]: [u64; 2]) -> Addr {
    Addr::v6((u128::from(high) << 64 | u128::from(low)).to_be_bytes())
}
