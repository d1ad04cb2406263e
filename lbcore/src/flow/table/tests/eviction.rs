//! Who makes room. A table of two buckets has the same eight slots for every flow.

use super::*;
use State::*;
use rstest::rstest;

const EIGHT: [State; 8] = [Established; 8];

/// Fills the eight slots: flow n in `states[n]`, last seen `10 + n` seconds ago.
fn full_table(table: &FlowTable<'_>, states: [State; 8]) {
    for (n, state) in (0u32..).zip(states) {
        let seen = Tick(NOW.0 - 10_000 - 1_000 * u64::from(n));
        stored(insert(table, n, entry(n as u16, state, seen), seen));
    }
    assert_eq!(table.len(), 8);
}

fn with(changes: &[(usize, State)]) -> [State; 8] {
    let mut states = EIGHT;
    for &(n, state) in changes {
        states[n] = state;
    }
    states
}

/// T51, T52: closing flows go first, then those of which only the opening was seen, the oldest of
/// each; flows in use stay.
#[rstest]
#[case(with(&[(2, FinWait), (5, Close), (7, SynRecv)]), 5, Eviction::Closing)]
#[case(with(&[(1, TimeWait), (7, SynRecv)]), 1, Eviction::Closing)]
#[case(with(&[(1, SynRecv), (4, Adopted), (6, Udp)]), 4, Eviction::Opening)]
#[case(with(&[(3, UdpNew)]), 3, Eviction::Opening)]
fn the_least_useful_flow_makes_room(
    #[case] states: [State; 8],
    #[case] victim: u16,
    #[case] why: Eviction,
) {
    let mem = memory(8);
    let table = FlowTable::create(&mem, &key()).unwrap();
    full_table(&table, states);
    let inserted = insert(&table, 100, entry(100, SynRecv, NOW), NOW);
    let slot = stored(inserted);
    let evicted = inserted.evicted.unwrap();
    assert_eq!((evicted.entry.real, evicted.why), (RealId(victim), why));
    assert_eq!(table.lookup(hash(100)).unwrap().slot, slot);
    assert_eq!(table.lookup(hash(victim.into())), None);
    assert_eq!((table.len(), listed(&table).len()), (8, 8));
}

#[test]
fn a_flow_that_is_over_goes_before_all_others() {
    let mem = memory(8);
    let table = FlowTable::create(&mem, &key()).unwrap();
    full_table(&table, with(&[(7, Close)]));
    let over = |entry: Entry| entry.real == RealId(2);
    let inserted = table.insert(hash(100), &flow(100), entry(100, SynRecv, NOW), NOW, over);
    stored(inserted);
    let evicted = inserted.evicted.unwrap();
    assert_eq!(
        (evicted.entry.real, evicted.why),
        (RealId(2), Eviction::Expired)
    );
}

/// T52: a full table of flows in use, and flows seen in the last five seconds whatever their
/// state, stay as they are.
#[test]
fn flows_in_use_never_make_room() {
    let mem = memory(8);
    let table = FlowTable::create(&mem, &key()).unwrap();
    full_table(&table, EIGHT);
    let nothing = Inserted {
        outcome: Outcome::Full,
        evicted: None,
    };
    assert_eq!(insert(&table, 100, entry(100, SynRecv, NOW), NOW), nothing);

    let mem = memory(8);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let seen = Tick(NOW.0 - 4_000);
    for (n, state) in (0..).zip([
        SynRecv, FinWait, Close, TimeWait, Adopted, UdpNew, Udp, SynRecv,
    ]) {
        stored(insert(&table, n, entry(1, state, seen), seen));
    }
    assert_eq!(insert(&table, 100, entry(100, SynRecv, NOW), NOW), nothing);
    assert_eq!(table.lookup(hash(100)), None);
    assert_eq!(table.len(), 8);
    let later = Tick(NOW.0 + 2_000);
    assert!(
        insert(&table, 100, entry(100, SynRecv, later), later)
            .evicted
            .is_some()
    );
}

/// T51: a flood of openings through a table of flows in use never takes one of them.
#[test]
fn a_flood_takes_only_its_own() {
    let mem = memory(1024);
    let table = FlowTable::create(&mem, &key()).unwrap();
    for n in 0..500 {
        stored(insert(&table, n, entry(1, Established, NOW), NOW));
    }
    for n in 500..20_000 {
        let now = Tick(NOW.0 + 64 * u64::from(n));
        if let Some(evicted) = insert(&table, n, entry(2, SynRecv, now), now).evicted {
            assert_eq!(evicted.entry.real, RealId(2));
        }
    }
    assert!((0..500).all(|n| table.lookup(hash(n)).is_some()));
    assert_eq!(table.len(), listed(&table).len());
}
