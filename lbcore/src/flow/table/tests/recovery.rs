//! What the next process finds (T21).

use super::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

fn filled(mem: &[AtomicU64], flows: u32) {
    let table = FlowTable::create(mem, &key()).unwrap();
    for n in 0..flows {
        stored(insert(
            &table,
            n,
            entry(n as u16, State::Established, NOW),
            NOW,
        ));
    }
}

/// T19: every flow goes on where it was.
#[test]
fn the_next_process_finds_every_flow() {
    let mem = memory(1024);
    filled(&mem, 600);
    let (table, recovered) = FlowTable::open(&mem, &key()).unwrap();
    assert_eq!(
        recovered,
        Recovered {
            flows: 600,
            swept: 0
        }
    );
    assert_eq!(table.len(), 600);
    for n in 0..600 {
        assert_eq!(table.lookup(hash(n)).unwrap().entry.real, RealId(n as u16));
    }
}

/// T21: another size, another version, another key, or no table at all: said clearly, and nothing
/// is touched.
#[test]
fn a_table_that_is_not_ours_is_refused() {
    let mem = memory(64);
    assert_eq!(FlowTable::open(&mem, &key()).unwrap_err(), OpenError::Magic);
    filled(&mem, 10);
    let words = mem.len();

    for cut in [0, 1, 512, words / 2, words - 1] {
        let found = FlowTable::open(&mem[..cut], &key()).unwrap_err();
        assert_eq!(found, OpenError::Size { words: cut });
    }
    // Half of a larger table has the size of a table.
    let larger = memory(128);
    filled(&larger, 10);
    let half = &larger[..words];
    assert_eq!(
        FlowTable::open(half, &key()).unwrap_err(),
        OpenError::Size { words }
    );

    let other_key = HashKey::new([9; 16]);
    assert_eq!(
        FlowTable::open(&mem, &other_key).unwrap_err(),
        OpenError::Key
    );

    let version = mem[1].swap(99, Relaxed);
    assert_eq!(
        FlowTable::open(&mem, &key()).unwrap_err(),
        OpenError::Version { found: 99 }
    );
    mem[1].store(version, Relaxed);
    assert_eq!(FlowTable::open(&mem, &key()).unwrap().1.flows, 10);
}

/// A killed writer leaves a slot busy, pending, or gone: it is free again, and room for others.
#[test]
fn half_written_slots_are_swept() {
    let mem = memory(8);
    filled(&mem, 8);
    let table = FlowTable::open(&mem, &key()).unwrap().0;
    let cells: Vec<_> = (0..3)
        .map(|n| table.slot(table.lookup(hash(n)).unwrap().slot))
        .collect();
    cells[0].take_over();
    cells[1].write(slot::pending(entry(1, State::SynRecv, NOW)));
    assert!(cells[2].bury(entry(2, State::Established, NOW).to_word()));

    let (table, recovered) = FlowTable::open(&mem, &key()).unwrap();
    assert_eq!(recovered, Recovered { flows: 5, swept: 3 });
    assert_eq!(listed(&table).len(), 5);
    for n in 100..103 {
        stored(insert(&table, n, entry(1, State::SynRecv, NOW), NOW));
    }
}

proptest! {
    /// T21: flipped bits anywhere: refused, or every flow that is left is one that was there, and
    /// the table works on.
    #[test]
    fn flipped_bits_are_harmless(
        flips in prop::collection::vec((any::<prop::sample::Index>(), 0u32..64), 1..40),
    ) {
        let mem = memory(32);
        filled(&mem, 20);
        for (at, bit) in flips {
            let word = &mem[at.index(mem.len())];
            word.store(word.load(Relaxed) ^ 1 << bit, Relaxed);
        }
        if let Ok((table, recovered)) = FlowTable::open(&mem, &key()) {
            let left = listed(&table);
            prop_assert_eq!(left.len(), recovered.flows);
            prop_assert_eq!(table.len(), recovered.flows);
            prop_assert!(left.keys().all(|key| (0..20).any(|n| flow(n) == *key)));
            table.expire(&mut 0, usize::MAX, |_| true, |_| ());
            prop_assert!(table.is_empty());
            for n in 0..8 {
                stored(insert(&table, n, entry(1, State::Udp, NOW), NOW));
            }
        }
    }

    /// T21: a file of any content.
    #[test]
    fn any_content_is_harmless(
        words in prop::collection::vec(any::<u64>(), 592),
        header_is_ours: bool,
    ) {
        let mem: Vec<_> = words.into_iter().map(AtomicU64::new).collect();
        if header_is_ours {
            let ours = memory(8);
            filled(&ours, 0);
            for (word, ours) in mem.iter().zip(&ours[..4]) {
                word.store(ours.load(Relaxed), Relaxed);
            }
        }
        match FlowTable::open(&mem, &key()) {
            Ok((table, recovered)) => {
                prop_assert!(header_is_ours);
                prop_assert_eq!(recovered.flows, 0);
                stored(insert(&table, 1, entry(1, State::Udp, NOW), NOW));
            }
            Err(_) => prop_assert!(!header_is_ours),
        }
    }
}
