//! The protocol of a flow table's slots, under every order in which two threads may come and see each
//! other's writes, as far as none is interrupted more than three times (loom). The other writer is lbd's or the
//! XDP program, of which there is a model below.

mod program;

use lbcore::flow::{Coarse, Entry, FlowTable, Outcome, State};
use lbcore::id::{Epoch, RealId};
use lbcore::net::{Addr, FlowHash, FlowKey, HashKey, Protocol, ServiceKey};
use lbcore::time::Tick;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use program::Said;

/// What two threads may do to one table.
#[derive(Clone, Copy)]
struct World {
    memory: &'static [AtomicU64],
    table: FlowTable<'static>,
}

/// Both of its buckets are everybody's: eight slots.
fn explore(test: impl Fn(World) + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    // Making a table is some 600 writes.
    model.max_branches = 20_000;
    model.check(move || {
        let words = (0..FlowTable::words_for(1)).map(|_| AtomicU64::new(0));
        let memory: &'static [AtomicU64] = words.collect::<Vec<_>>().leak();
        let key = HashKey::new(*b"0123456789abcdef");
        let table = FlowTable::create(memory, &key).expect("memory for a table");
        test(World { memory, table });
    });
}

const NOW: Tick = Tick(1_000_000);

fn hash(flow: u64) -> FlowHash {
    FlowHash(flow << 32 | flow)
}

fn key(flow: u64) -> FlowKey {
    FlowKey {
        client: Addr::v4([10, 0, 0, flow as u8]),
        client_port: 1024,
        service: ServiceKey {
            vip: Addr::v4([192, 0, 2, 10]),
            port: 443,
            protocol: Protocol::Tcp,
        },
    }
}

fn entry(real: u16, state: State) -> Entry {
    Entry {
        real: RealId(real),
        epoch: Epoch::new(1),
        state,
        seen: Coarse::at(NOW),
    }
}

impl World {
    fn insert(&self, flow: u64, real: u16) -> Outcome {
        let new = entry(real, State::SynRecv);
        let over = |entry: Entry| entry.state.closing();
        let inserted = self.table.insert(hash(flow), &key(flow), new, NOW, over);
        inserted.outcome
    }

    /// Entries of all flows that slots hold, by their signatures; every slot is whole or free.
    fn entries(&self) -> Vec<(u64, Entry)> {
        let mut all = Vec::new();
        for slot in program::slots() {
            let [signature, word] = slot.map(|at| self.memory[at].load(program::LOAD));
            if signature != 0 {
                let entry = Entry::from_word(word);
                all.push((signature, entry.expect("a whole entry")));
            }
        }
        all
    }

    /// What must be so when everybody has finished.
    fn assert_in_order(&self) {
        let entries = self.entries();
        assert_eq!(self.table.len(), entries.len(), "{entries:?}");
        let mut signatures: Vec<u64> = entries.iter().map(|(signature, _)| *signature).collect();
        signatures.sort_unstable();
        signatures.dedup();
        assert_eq!(
            signatures.len(),
            entries.len(),
            "a flow is there twice: {entries:?}"
        );
    }

    fn real_of(&self, flow: u64) -> Option<u16> {
        Some(self.table.lookup(hash(flow))?.entry.real.0)
    }
}

fn told(outcome: Outcome, proposed: u16) -> Option<u16> {
    match outcome {
        Outcome::Stored(_) => Some(proposed),
        Outcome::Existing(hit) => Some(hit.entry.real.0),
        Outcome::Full => None,
    }
}

#[test]
fn two_workers_that_meet_a_new_flow_agree_on_its_real() {
    explore(|world| {
        let other = thread::spawn(move || told(world.insert(3, 1), 1));
        let one = told(world.insert(3, 2), 2);
        let other = other.join().expect("no panic");
        world.assert_in_order();
        let real = world.real_of(3);
        assert!(real.is_some(), "one of them remembers it");
        assert_eq!((one, other), (real, real));
    });
}

/// The same, where one chooses a slot of the first bucket and the other one of the second: a flow of
/// another client takes a slot meanwhile.
#[test]
fn two_workers_agree_also_over_two_buckets() {
    explore(|world| {
        let other = thread::spawn(move || {
            assert!(matches!(world.insert(5, 7), Outcome::Stored(_)));
            told(world.insert(3, 1), 1)
        });
        let one = told(world.insert(3, 2), 2);
        let other = other.join().expect("no panic");
        world.assert_in_order();
        let real = world.real_of(3);
        assert_eq!((one, other), (real, real));
        assert_eq!(world.real_of(5), Some(7));
    });
}

#[test]
fn a_slot_that_changes_hands_never_shows_another_flows_entry() {
    explore(|world| {
        assert!(matches!(world.insert(3, 1), Outcome::Stored(_)));
        let other = thread::spawn(move || {
            let hit = world.table.lookup(hash(3)).expect("nobody else removes it");
            assert!(world.table.remove(hit.slot, hash(3), hit.entry));
            assert!(matches!(world.insert(5, 2), Outcome::Stored(_)));
        });
        assert!([None, Some(1)].contains(&world.real_of(3)));
        assert!([None, Some(2)].contains(&world.real_of(5)));
        other.join().expect("no panic");
        assert_eq!((world.real_of(3), world.real_of(5)), (None, Some(2)));
        world.assert_in_order();
    });
}

#[test]
fn a_packet_and_the_expiry_of_its_flow_do_not_both_win() {
    explore(|world| {
        assert!(matches!(world.insert(3, 1), Outcome::Stored(_)));
        let other = thread::spawn(move || {
            let (mut cursor, mut gone) = (0, 0);
            let over = |entry: Entry| entry.state == State::SynRecv;
            world.table.expire(&mut cursor, 2, over, |_| gone += 1);
            gone
        });
        let hit = world.table.lookup(hash(3));
        let updated = hit.is_some_and(|hit| {
            let new = entry(1, State::Established);
            world.table.update(hit.slot, hit.entry, new)
        });
        let gone = other.join().expect("no panic");
        assert_eq!(gone, usize::from(!updated), "one of them");
        assert_eq!(world.real_of(3), updated.then_some(1));
        world.assert_in_order();
    });
}

#[test]
fn a_flow_that_makes_room_and_its_packet_do_not_both_win() {
    explore(|world| {
        for flow in 10..18 {
            assert!(matches!(world.insert(flow, 9), Outcome::Stored(_)));
        }
        let hit = world.table.lookup(hash(12)).expect("it is there");
        let closed = entry(9, State::Close);
        assert!(world.table.update(hit.slot, hit.entry, closed));
        let other = thread::spawn(move || matches!(world.insert(3, 1), Outcome::Stored(_)));
        // A SYN on the closed flow begins it anew.
        let anew = entry(8, State::SynRecv);
        let updated = world.table.update(hit.slot, closed, anew);
        let stored = other.join().expect("no panic");
        assert!(updated != stored, "one of them has the slot");
        assert_eq!(world.real_of(12), updated.then_some(8));
        assert_eq!(world.real_of(3), stored.then_some(1));
        world.assert_in_order();
    });
}

#[test]
fn program_and_worker_that_meet_a_new_flow_store_it_once() {
    explore(|world| {
        let new = entry(1, State::SynRecv).to_word();
        let other = thread::spawn(move || program::insert(world.memory, hash(3).0, new));
        let ours = world.insert(3, 2);
        let theirs = other.join().expect("no panic");
        world.assert_in_order();
        match (ours, theirs) {
            (Outcome::Stored(_), Said::Stored) => panic!("both say they stored it"),
            (Outcome::Stored(_), _) => assert_eq!(world.real_of(3), Some(2)),
            (_, Said::Stored) => {
                assert_eq!(world.real_of(3), Some(1));
                assert_eq!(told(ours, 2), Some(1), "and we know");
            }
            // The packet that the program declined comes to the director next, and then it is stored.
            (_, Said::Yielded) => assert_eq!(world.real_of(3), None),
        }
    });
}

#[test]
fn two_cores_of_the_program_that_meet_a_new_flow_store_it_once_at_most() {
    explore(|world| {
        let [one, two] = [1, 2].map(|real| entry(real, State::SynRecv).to_word());
        let other = thread::spawn(move || program::insert(world.memory, hash(3).0, one));
        let ours = program::insert(world.memory, hash(3).0, two);
        let theirs = other.join().expect("no panic");
        world.assert_in_order();
        let expected = match (ours, theirs) {
            (Said::Stored, Said::Stored) => panic!("both say they stored it"),
            (Said::Stored, Said::Yielded) => Some(2),
            (Said::Yielded, Said::Stored) => Some(1),
            (Said::Yielded, Said::Yielded) => None,
        };
        assert_eq!(world.real_of(3), expected);
    });
}

#[test]
fn the_program_never_takes_another_flows_entry_for_its_own() {
    explore(|world| {
        assert!(matches!(world.insert(3, 1), Outcome::Stored(_)));
        let other = thread::spawn(move || {
            let hit = world.table.lookup(hash(3)).expect("nobody else removes it");
            let removed = world.table.remove(hit.slot, hash(3), hit.entry);
            if removed {
                assert!(matches!(world.insert(5, 2), Outcome::Stored(_)));
            }
            removed
        });
        let seen = program::look_up(world.memory, hash(3).0);
        let updated = seen.is_some_and(|(at, word)| {
            assert_eq!(Entry::from_word(word).map(|entry| entry.real.0), Some(1));
            program::update(
                world.memory,
                at,
                word,
                entry(1, State::Established).to_word(),
            )
        });
        let removed = other.join().expect("no panic");
        // Both, where the update came before the look of the other.
        assert!(removed || updated);
        assert_eq!(world.real_of(3), (!removed).then_some(1));
        assert_eq!(world.real_of(5), removed.then_some(2));
        world.assert_in_order();
    });
}
