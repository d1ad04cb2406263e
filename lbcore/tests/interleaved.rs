//! The protocol of a flow table's slots, under every order in which two or three threads may come and see
//! each other's writes, as far as none is interrupted more than a few times (loom). The other writer is lbd's
//! or the XDP program, of which there is a model below.

mod giving_way;
mod program;
mod readers;

use lbcore::flow::{Coarse, Entry, FlowTable, Inserted, Outcome, Recovered, State};
use lbcore::id::{Epoch, RealId};
use lbcore::net::{Addr, FlowHash, FlowKey, HashKey, Protocol, ServiceKey};
use lbcore::time::Tick;
use loom::sync::atomic::AtomicU64;
use loom::thread;
use std::sync::{Arc, Mutex};

/// What the threads may do to one table.
#[derive(Clone, Copy)]
struct World {
    memory: &'static [AtomicU64],
    table: FlowTable<'static>,
}

/// Both of its buckets are everybody's: eight slots.
fn explore(test: impl Fn(World) + Sync + Send + 'static) {
    explore_after(|_| (), 3, test);
}

/// The same for a table in which somebody has been before.
fn explore_after(
    before: impl Fn(World) + Sync + Send + 'static,
    interruptions: usize,
    test: impl Fn(World) + Sync + Send + 'static,
) {
    // Making a table is some 600 writes: once, and copied for each interleaving.
    let words = Arc::new(Mutex::new(Vec::new()));
    let out = Arc::clone(&words);
    check(0, move || {
        let memory = memory(vec![0; FlowTable::words_for(1)]);
        let table = FlowTable::create(memory, &hash_key()).expect("memory for a table");
        before(World { memory, table });
        let words = memory.iter().map(|word| word.load(program::LOAD));
        *out.lock().expect("no panic") = words.collect();
    });
    let words = words.lock().expect("no panic").clone();
    check(interruptions, move || {
        let memory = memory(words.clone());
        let (table, _) = FlowTable::open(memory, &hash_key()).expect("a table");
        test(World { memory, table });
    });
}

fn check(interruptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(interruptions);
    model.max_branches = 20_000;
    model.check(test);
}

fn memory(words: Vec<u64>) -> &'static [AtomicU64] {
    let words = words.into_iter().map(AtomicU64::new);
    words.collect::<Vec<_>>().leak()
}

const NOW: Tick = Tick(1_000_000);

fn hash_key() -> HashKey {
    HashKey::new(*b"0123456789abcdef")
}

fn hash(flow: u8) -> FlowHash {
    hash_key().flow(&key(flow))
}

fn key(flow: u8) -> FlowKey {
    FlowKey {
        client: Addr::v4([10, 0, 0, flow]),
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

/// When a flow is inserted.
fn created(flow: u8) -> Tick {
    Tick(NOW.0 + u64::from(flow))
}

/// Who inserts.
#[derive(Clone, Copy, Debug)]
enum Writer {
    Worker,
    Program,
}

impl World {
    fn insert(&self, flow: u8, real: u16) -> Inserted {
        let new = entry(real, State::SynRecv);
        let over = |entry: Entry| entry.state.closing();
        self.table
            .insert(hash(flow), &key(flow), new, created(flow), over)
    }

    /// What the program says of it: whether the flow is remembered.
    fn program_inserts(&self, flow: u8, real: u16) -> bool {
        let new = entry(real, State::SynRecv).to_word();
        let now = created(flow).0;
        program::insert(self.memory, hash(flow).0, &key(flow), new, now)
    }

    /// Has a writer insert a flow, and says which real it is told the flow has.
    fn told(&self, writer: Writer, flow: u8, proposed: u16) -> Option<u16> {
        match writer {
            Writer::Worker => told(self.insert(flow, proposed).outcome, proposed),
            Writer::Program => self.program_inserts(flow, proposed).then_some(proposed),
        }
    }

    /// Forgets a flow that is there.
    fn forget(&self, flow: u8) {
        let hit = self.table.lookup(hash(flow)).expect("it is there");
        assert!(self.table.remove(hit.slot, hash(flow), hit.entry));
    }

    fn real_of(&self, flow: u8) -> Option<u16> {
        Some(self.table.lookup(hash(flow))?.entry.real.0)
    }

    /// Signatures of all slots that are not free, each with a whole entry.
    fn signatures(&self) -> Vec<u64> {
        let slots = program::slots().map(|slot| slot.map(|at| self.memory[at].load(program::LOAD)));
        slots
            .filter(|[signature, _]| *signature != 0)
            .map(|[signature, word]| {
                assert!(
                    Entry::from_word(word).is_some(),
                    "a slot is lost: {word:#x}"
                );
                signature
            })
            .collect()
    }

    /// What must be so when everybody has finished: no slot is lost, no flow is there twice, all are counted,
    /// and the next process finds them.
    fn assert_in_order(&self) {
        let mut signatures = self.signatures();
        let flows = signatures.len();
        assert_eq!(self.table.len(), flows, "the count");
        signatures.sort_unstable();
        signatures.dedup();
        assert_eq!(signatures.len(), flows, "a flow is there twice");
        let (_, recovered) = FlowTable::open(self.memory, &hash_key()).expect("a table");
        assert_eq!(recovered, Recovered { flows, swept: 0 });
    }
}

fn told(outcome: Outcome, proposed: u16) -> Option<u16> {
    match outcome {
        Outcome::Stored(_) => Some(proposed),
        Outcome::Existing(hit) => Some(hit.entry.real.0),
        Outcome::Full => None,
    }
}

fn is_stored(inserted: Inserted) -> bool {
    matches!(inserted.outcome, Outcome::Stored(_))
}

#[test]
fn two_workers_that_meet_a_new_flow_agree_on_its_real() {
    explore(|world| {
        let other = thread::spawn(move || world.told(Writer::Worker, 3, 1));
        let one = world.told(Writer::Worker, 3, 2);
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
            assert!(is_stored(world.insert(5, 7)));
            world.told(Writer::Worker, 3, 1)
        });
        let one = world.told(Writer::Worker, 3, 2);
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
        assert!(is_stored(world.insert(3, 1)));
        let other = thread::spawn(move || {
            world.forget(3);
            assert!(is_stored(world.insert(5, 2)));
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
        assert!(is_stored(world.insert(3, 1)));
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

/// Eight flows, of which these have been closed.
fn full(closed: &'static [u8]) -> impl Fn(World) + Sync + Send + 'static {
    move |world| {
        for flow in 10..18 {
            assert!(is_stored(world.insert(flow, 9)));
        }
        for &flow in closed {
            let hit = world.table.lookup(hash(flow)).expect("it is there");
            let closed = entry(9, State::Close);
            assert!(world.table.update(hit.slot, hit.entry, closed));
        }
    }
}

#[test]
fn a_flow_that_makes_room_and_its_packet_do_not_both_win() {
    explore_after(full(&[12]), 3, |world| {
        let hit = world.table.lookup(hash(12)).expect("it is there");
        let other = thread::spawn(move || is_stored(world.insert(3, 1)));
        // A SYN on the closed flow begins it anew.
        let anew = entry(8, State::SynRecv);
        let updated = world.table.update(hit.slot, hit.entry, anew);
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
        let other = thread::spawn(move || world.program_inserts(3, 1));
        let ours = world.insert(3, 2);
        let theirs = other.join().expect("no panic");
        world.assert_in_order();
        assert!(is_stored(ours) != theirs, "one of them: {ours:?}");
        let real = if theirs { 1 } else { 2 };
        assert_eq!(world.real_of(3), Some(real));
        assert_eq!(told(ours.outcome, 2), Some(real), "and we know");
    });
}

#[test]
fn two_cores_of_the_program_that_meet_a_new_flow_store_it_once() {
    explore(|world| {
        let other = thread::spawn(move || world.program_inserts(3, 1));
        let ours = world.program_inserts(3, 2);
        let theirs = other.join().expect("no panic");
        world.assert_in_order();
        assert!(ours != theirs, "one of them");
        assert_eq!(world.real_of(3), Some(if theirs { 1 } else { 2 }));
    });
}

#[test]
fn the_program_never_takes_another_flows_entry_for_its_own() {
    explore(|world| {
        assert!(is_stored(world.insert(3, 1)));
        let other = thread::spawn(move || {
            let hit = world.table.lookup(hash(3)).expect("nobody else removes it");
            let removed = world.table.remove(hit.slot, hash(3), hit.entry);
            if removed {
                assert!(is_stored(world.insert(5, 2)));
            }
            removed
        });
        let updated = program::look_up(world.memory, hash(3).0).is_some_and(|(at, word)| {
            let Some(seen) = Entry::from_word(word) else {
                return false;
            };
            assert_eq!(seen.real.0, 1);
            let new = entry(1, State::Established).to_word();
            program::update(world.memory, at, word, new)
        });
        let removed = other.join().expect("no panic");
        // Both, where the update came before the look of the other.
        assert!(removed || updated);
        assert_eq!(world.real_of(3), (!removed).then_some(1));
        assert_eq!(world.real_of(5), removed.then_some(2));
        world.assert_in_order();
    });
}
