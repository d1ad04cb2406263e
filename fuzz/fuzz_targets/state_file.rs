//! A flow table as an earlier process, or somebody else, left it: refused, or whole and working.
//! The input is a list of changes to a good table: two bytes say which word, eight what to flip.
#![no_main]

use lbcore::flow::{Coarse, Entry, FlowTable, Outcome, State};
use lbcore::id::{Epoch, RealId};
use lbcore::net::{Addr, FlowKey, HashKey, Protocol, ServiceKey};
use lbcore::time::Tick;
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

const FLOWS: u16 = 12;
const NOW: Tick = Tick(1_000_000);

fn flow(n: u16) -> FlowKey {
    let service = ServiceKey {
        vip: Addr::v4([192, 0, 2, 10]),
        port: 443,
        protocol: Protocol::Tcp,
    };
    FlowKey {
        client: Addr::v4([198, 51, 100, 7]),
        client_port: 40_000 + n,
        service,
    }
}

fuzz_target!(|data: &[u8]| {
    let key = HashKey::new([7; 16]);
    let words = FlowTable::words_for(16);
    let mem: Vec<_> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let table = FlowTable::create(&mem, &key).expect("memory of the right size");
    let entry = |n| Entry {
        real: RealId(n),
        epoch: Epoch::new(1),
        state: State::Established,
        seen: Coarse::at(NOW),
    };
    let insert = |table: &FlowTable<'_>, n| {
        table
            .insert(key.flow(&flow(n)), &flow(n), entry(n), NOW, |_| false)
            .outcome
    };
    for n in 0..FLOWS {
        insert(&table, n);
    }
    for change in data.as_chunks::<10>().0 {
        let [a, b, flips @ ..] = *change;
        let at = usize::from(u16::from_le_bytes([a, b])) % words;
        mem[at].fetch_xor(u64::from_le_bytes(flips), Relaxed);
    }

    let Ok((table, recovered)) = FlowTable::open(&mem, &key) else {
        return;
    };
    let mut listed = 0;
    table.for_each(|found, _, _| {
        assert!(
            (0..FLOWS).any(|n| flow(n) == found),
            "a flow that nobody had"
        );
        listed += 1;
    });
    assert_eq!((listed, table.len()), (recovered.flows, recovered.flows));
    for n in 0..FLOWS {
        if let Some(hit) = table.lookup(key.flow(&flow(n))) {
            assert!(table.remove(hit.slot, key.flow(&flow(n)), hit.entry));
        }
    }
    assert!(table.is_empty());
    assert!(matches!(insert(&table, 1), Outcome::Stored(_)));
});
