#![allow(clippy::unwrap_used)]

mod eviction;
mod model;
mod recovery;
mod threads;

use super::*;
use crate::flow::{Coarse, State};
use crate::id::{Epoch, RealId};
use crate::net::{Addr, FlowKey, HashKey, Protocol, ServiceKey};
use crate::time::Tick;
use std::collections::HashMap;
use std::sync::atomic::AtomicU64;

pub const NOW: Tick = Tick(64_000_000);

pub fn key() -> HashKey {
    HashKey::new(*b"0123456789abcdef")
}

/// Memory for a table.
pub fn memory(capacity: usize) -> Vec<AtomicU64> {
    (0..FlowTable::words_for(capacity))
        .map(|_| AtomicU64::new(0))
        .collect()
}

/// The flow from the n-th client.
pub fn flow(n: u32) -> FlowKey {
    let [_, a, b, c] = n.to_be_bytes();
    let service = ServiceKey {
        vip: Addr::v4([192, 0, 2, 10]),
        port: 443,
        protocol: Protocol::Tcp,
    };
    FlowKey {
        client: Addr::v4([10, a, b, c]),
        client_port: 40_000,
        service,
    }
}

pub fn hash(n: u32) -> FlowHash {
    key().flow(&flow(n))
}

pub fn entry(real: u16, state: State, seen: Tick) -> Entry {
    Entry {
        real: RealId(real),
        epoch: Epoch::new(7),
        state,
        seen: Coarse::at(seen),
    }
}

/// Inserts the n-th flow where nothing expires.
pub fn insert(table: &FlowTable<'_>, n: u32, entry: Entry, now: Tick) -> Inserted {
    table.insert(hash(n), &flow(n), entry, now, |_| false)
}

pub fn stored(inserted: Inserted) -> Slot {
    match inserted.outcome {
        Outcome::Stored(slot) => slot,
        other => panic!("not stored: {other:?}"),
    }
}

/// Everything in the table.
pub fn listed(table: &FlowTable<'_>) -> HashMap<FlowKey, Entry> {
    let mut flows = HashMap::new();
    table.for_each(|key, entry, _| assert_eq!(flows.insert(key, entry), None, "{key:?} twice"));
    flows
}

#[test]
fn a_flow_is_found_changed_and_forgotten() {
    let mem = memory(64);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let first = entry(3, State::SynRecv, NOW);
    assert_eq!(table.lookup(hash(1)), None);

    let slot = stored(insert(&table, 1, first, NOW));
    assert_eq!(table.lookup(hash(1)), Some(Hit { slot, entry: first }));
    assert_eq!(table.lookup(hash(2)), None);
    assert_eq!(table.len(), 1);
    let again = insert(&table, 1, entry(4, State::SynRecv, NOW), NOW);
    assert_eq!(again.outcome, Outcome::Existing(Hit { slot, entry: first }));

    let second = entry(3, State::Established, NOW);
    assert!(table.update(slot, first, second));
    assert!(
        !table.update(slot, first, second),
        "the entry is another by now"
    );
    assert_eq!(table.lookup(hash(1)).unwrap().entry, second);

    assert!(
        !table.remove(slot, hash(1), first),
        "the entry is another by now"
    );
    assert!(!table.remove(slot, hash(2), second), "the flow is another");
    assert!(table.remove(slot, hash(1), second));
    assert!(
        !table.remove(slot, hash(1), second),
        "only one remover succeeds"
    );
    assert_eq!(table.lookup(hash(1)), None);
    assert!(
        !table.update(slot, second, first),
        "a stale slot changes nothing"
    );
    assert!(table.is_empty());
}

#[test]
fn hashes_that_look_like_marks_are_flows_too() {
    let mem = memory(64);
    let table = FlowTable::create(&mem, &key()).unwrap();
    for mark in [slot::FREE, slot::BUSY] {
        let hash = FlowHash(mark);
        assert_eq!(table.lookup(hash), None);
        let slot = stored(table.insert(hash, &flow(1), entry(1, State::Udp, NOW), NOW, |_| false));
        assert_eq!(table.lookup(hash).unwrap().slot, slot);
    }
}

#[test]
fn listings_show_whose_flow_it_is() {
    let mem = memory(64);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let service = ServiceKey {
        vip: "2001:db8::10".parse::<std::net::IpAddr>().unwrap().into(),
        port: 53,
        protocol: Protocol::Udp,
    };
    let client = "2001:db8:1::7".parse::<std::net::IpAddr>().unwrap().into();
    let key6 = FlowKey {
        client,
        client_port: 65_535,
        service,
    };
    let udp = entry(9, State::UdpNew, NOW);
    stored(table.insert(key().flow(&key6), &key6, udp, NOW, |_| false));
    stored(insert(&table, 1, entry(3, State::SynRecv, NOW), Tick(5)));

    let mut shown = Vec::new();
    table.for_each(|key, entry, created| shown.push((key, entry.real, created)));
    shown.sort_by_key(|flow| flow.2);
    assert_eq!(
        shown,
        [(flow(1), RealId(3), Tick(5)), (key6, RealId(9), NOW)]
    );
}

/// Expiry in slices comes round to every flow, and reports each once.
#[test]
fn expiry_reports_each_flow_once() {
    let mem = memory(256);
    let table = FlowTable::create(&mem, &key()).unwrap();
    for n in 0..100 {
        stored(insert(
            &table,
            n,
            entry((n % 2) as u16, State::Udp, NOW),
            NOW,
        ));
    }
    let (mut cursor, mut gone) = (usize::MAX - 3, 0);
    for _ in 0..table.buckets().div_ceil(5) + 1 {
        let odd = |entry: Entry| entry.real == RealId(1);
        table.expire(&mut cursor, 5, odd, |entry| {
            assert_eq!(entry.real, RealId(1));
            gone += 1;
        });
    }
    assert_eq!((gone, table.len()), (50, 50));
    assert!(listed(&table).values().all(|entry| entry.real == RealId(0)));
}

#[test]
fn capacity_is_rounded_up_to_a_power_of_two_of_buckets() {
    for (asked, given) in [
        (0, 8),
        (1, 8),
        (8, 8),
        (9, 16),
        (1000, 1024),
        (1_048_576, 1_048_576),
    ] {
        let words = FlowTable::words_for(asked);
        assert_eq!(words, 512 + given * 10, "{asked}");
    }
    assert_eq!(
        FlowTable::words_for(usize::MAX),
        FlowTable::words_for(MAX_CAPACITY)
    );
    let mem = memory(1000);
    assert_eq!(FlowTable::create(&mem, &key()).unwrap().capacity(), 1024);
    let cut = &mem[1..];
    assert_eq!(
        FlowTable::create(cut, &key()).unwrap_err(),
        LayoutError { words: cut.len() }
    );
}

/// T53: tuples chosen to fall into one bucket under another key spread like any others, and a
/// lookup reads two buckets whatever happens.
#[test]
fn collisions_cannot_be_made_without_the_key() {
    let mem = memory(1024);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let published = HashKey::new([0; 16]);
    let chosen = (0..)
        .filter(|&n| table.candidates(published.flow(&flow(n)).0)[0] == 0)
        .take(600);
    let full = chosen
        .filter(|&n| insert(&table, n, entry(1, State::Udp, NOW), NOW).outcome == Outcome::Full)
        .count();
    assert_eq!(full, 0);
}

/// How far the table fills before flows find no room: half of the capacity without a miss, three
/// quarters with less than one in 200.
#[test]
fn most_of_the_capacity_is_used_before_buckets_overflow() {
    let mem = memory(16_384);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let full_among = |flows: std::ops::Range<u32>| {
        flows
            .filter(|&n| insert(&table, n, entry(1, State::Udp, NOW), NOW).outcome == Outcome::Full)
            .count()
    };
    assert_eq!(full_among(0..8_192), 0);
    let to_three_quarters = full_among(8_192..12_288);
    assert!(
        to_three_quarters < 12_288 / 200,
        "{to_three_quarters} flows found no room"
    );
}

#[test]
fn flows_are_forgotten_by_whose_they_are_and_reported_once() {
    let mem = memory(256);
    let table = FlowTable::create(&mem, &key()).unwrap();
    for n in 0..100 {
        let real = u16::try_from(n % 4).unwrap();
        stored(insert(&table, n, entry(real, State::Established, NOW), NOW));
    }
    let client = flow(7).client;
    let mut gone = Vec::new();
    table.forget(
        |key, entry| entry.real == RealId(2) || key.client == client,
        |entry| gone.push(entry.real.0),
    );
    assert_eq!(gone.len(), 26);
    assert_eq!(gone.iter().filter(|real| **real == 2).count(), 25);
    let left = listed(&table);
    assert_eq!((left.len(), table.len()), (74, 74));
    assert!(left.values().all(|entry| entry.real != RealId(2)));
    assert!(table.lookup(hash(7)).is_none());
    assert!(table.lookup(hash(8)).is_some());
    table.forget(|_, _| true, |_| {});
    assert!(table.is_empty());
}
