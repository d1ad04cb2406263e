//! The table against a plain map that follows the same rules.

use super::*;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, State),
    Packet(u32, State),
    Remove(u32),
    Expire,
    Wait(u64),
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(vec![
        State::SynRecv,
        State::Established,
        State::FinWait,
        State::Close,
        State::Adopted,
        State::Udp,
        State::UdpNew,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0u32..16, state()).prop_map(|(n, state)| Step::Insert(n, state)),
        3 => (0u32..16, state()).prop_map(|(n, state)| Step::Packet(n, state)),
        1 => (0u32..16).prop_map(Step::Remove),
        1 => Just(Step::Expire),
        2 => (1u64..100).prop_map(|units| Step::Wait(units * 64)),
    ]
}

const TIMEOUT_MS: u64 = 12_000;

/// Flows of a table whose eight slots every flow may take.
#[derive(Default)]
struct Model(HashMap<u32, Entry>);

impl Model {
    /// Ranks as [`Eviction`]; the flow that makes room, where one may.
    fn victim(&self, now: Tick) -> Option<(u8, u64)> {
        let rank = |entry: &Entry| match entry {
            entry if entry.idle_ms(now) > TIMEOUT_MS => Some(0),
            entry if entry.idle_ms(now) < 5_000 => None,
            entry if entry.state.closing() => Some(1),
            entry if entry.state.opening() => Some(2),
            _ => None,
        };
        let ranked = self
            .0
            .values()
            .filter_map(|e| Some((rank(e)?, e.idle_ms(now))));
        ranked.min_by_key(|&(rank, idle)| (rank, std::cmp::Reverse(idle)))
    }

    fn forget(&mut self, entry: Entry) {
        let n = self
            .0
            .iter()
            .find(|(_, e)| **e == entry)
            .map(|(n, _)| *n)
            .unwrap();
        self.0.remove(&n);
    }
}

proptest! {
    #[test]
    fn the_table_is_a_bounded_map(steps in prop::collection::vec(step(), 1..200)) {
        let mem = memory(8);
        let table = FlowTable::create(&mem, &key()).unwrap();
        let mut model = Model::default();
        let (mut now, mut cursor) = (NOW, 0);
        for step in steps {
            match step {
                Step::Wait(ms) => now = Tick(now.0 + ms),
                Step::Insert(n, state) => {
                    // The real names the flow, so that every entry is another one.
                    let new = entry(n as u16, state, now);
                    let over = |entry: Entry| entry.idle_ms(now) > TIMEOUT_MS;
                    let inserted = table.insert(hash(n), &flow(n), new, now, over);
                    let known = model.0.get(&n).copied();
                    if let Some(evicted) = inserted.evicted {
                        prop_assert_eq!(model.0.len(), 8);
                        let chosen = (evicted.why as u8, evicted.entry.idle_ms(now));
                        prop_assert_eq!(Some(chosen), model.victim(now));
                        model.forget(evicted.entry);
                    }
                    match inserted.outcome {
                        Outcome::Stored(_) => {
                            prop_assert_eq!(model.0.insert(n, new), None);
                            prop_assert!(model.0.len() <= 8);
                        }
                        Outcome::Existing(hit) => prop_assert_eq!(Some(hit.entry), known),
                        Outcome::Full => {
                            prop_assert!(known.is_none() && model.0.len() == 8);
                            prop_assert_eq!(model.victim(now), None);
                        }
                    }
                }
                Step::Packet(n, state) => {
                    let found = table.lookup(hash(n));
                    prop_assert_eq!(found.map(|hit| hit.entry), model.0.get(&n).copied());
                    if let Some(hit) = found {
                        let new = entry(n as u16, state, now);
                        prop_assert!(table.update(hit.slot, hit.entry, new));
                        model.0.insert(n, new);
                    }
                }
                Step::Remove(n) => {
                    if let Some(hit) = table.lookup(hash(n)) {
                        prop_assert!(table.remove(hit.slot, hash(n), hit.entry));
                        prop_assert_eq!(model.0.remove(&n), Some(hit.entry));
                    }
                }
                Step::Expire => {
                    let over = |entry: Entry| entry.idle_ms(now) > TIMEOUT_MS;
                    table.expire(&mut cursor, 2, over, |entry| model.forget(entry));
                    prop_assert!(model.0.values().all(|entry| !over(*entry)));
                }
            }
            let by_key: HashMap<_, _> = model.0.iter().map(|(n, e)| (flow(*n), *e)).collect();
            prop_assert_eq!(listed(&table), by_key);
            prop_assert_eq!(table.len(), model.0.len());
        }
    }
}
