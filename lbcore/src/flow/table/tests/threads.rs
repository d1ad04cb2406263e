//! Several workers and an expirer on one table.

use super::*;
use std::sync::Barrier;
use std::sync::atomic::AtomicI64;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;

const WORKERS: u16 = 4;

/// Numbers that look random enough, from a seed (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }
}

/// What the callers count must be what is in the table.
#[derive(Default)]
struct Accounts(AtomicI64);

impl Accounts {
    fn inserted(&self, inserted: Inserted) {
        if let Outcome::Stored(_) = inserted.outcome {
            self.0.fetch_add(1, Relaxed);
        }
        if inserted.evicted.is_some() {
            self.gone();
        }
    }

    fn gone(&self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// A worker's real for a flow: it names both, so that an entry of another flow is noticed.
fn real(flow: u32, worker: u16) -> u16 {
    flow as u16 * WORKERS + worker
}

fn belongs(entry: Entry, flow: u32) -> bool {
    u32::from(entry.real.0 / WORKERS) == flow
}

/// No entry of another flow is ever read, no flow is in the table twice, and every flow that
/// leaves it is reported once: on a table that is much too small, so that slots change hands all
/// the time.
#[test]
fn workers_agree() {
    const FLOWS: u32 = 48;
    const STEPS: usize = 30_000;
    let mem = memory(32);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let accounts = Accounts::default();
    let work = |worker: u16| {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15 ^ u64::from(worker));
        for step in 0..STEPS {
            let now = Tick(NOW.0 + step as u64 * 8);
            let n = numbers.next(FLOWS.into()) as u32;
            match (table.lookup(hash(n)), numbers.next(8)) {
                (None, _) => {
                    let new = entry(real(n, worker), State::SynRecv, now);
                    let over = |entry: Entry| entry.idle_ms(now) > 8_000;
                    let inserted = table.insert(hash(n), &flow(n), new, now, over);
                    if let Outcome::Existing(hit) = inserted.outcome {
                        assert!(
                            belongs(hit.entry, n),
                            "insert: {:?} is not of {n}",
                            hit.entry
                        );
                    }
                    accounts.inserted(inserted);
                }
                (Some(hit), 0) => {
                    if table.remove(hit.slot, hash(n), hit.entry) {
                        accounts.gone();
                    }
                }
                (Some(hit), what) => {
                    assert!(
                        belongs(hit.entry, n),
                        "lookup: {:?} is not of {n}",
                        hit.entry
                    );
                    let state = if what < 4 {
                        State::FinWait
                    } else {
                        State::Established
                    };
                    let seen = Coarse::at(now);
                    table.update(
                        hit.slot,
                        hit.entry,
                        Entry {
                            state,
                            seen,
                            ..hit.entry
                        },
                    );
                }
            }
        }
    };
    let expire = || {
        let mut cursor = 0;
        for step in 0..STEPS {
            let now = Tick(NOW.0 + step as u64 * 8);
            let over = |entry: Entry| entry.idle_ms(now) > 4_000;
            table.expire(&mut cursor, 1, over, |_| accounts.gone());
            table.for_each(|key, entry, _| {
                let n = (0..FLOWS)
                    .find(|&n| flow(n) == key)
                    .expect("a flow that was inserted");
                assert!(belongs(entry, n), "listing: {entry:?} is not of {n}");
            });
        }
    };
    thread::scope(|scope| {
        for worker in 0..WORKERS {
            scope.spawn(move || work(worker));
        }
        scope.spawn(expire);
    });
    let left = listed(&table).len();
    assert_eq!((table.len(), accounts.0.load(Relaxed)), (left, left as i64));
    // What is left is whole: the next process would sweep nothing.
    assert_eq!(
        FlowTable::open(&mem, &key()).unwrap().1,
        Recovered {
            flows: left,
            swept: 0
        }
    );
}

/// However many workers meet a new flow at once, one of them remembers it, and the others learn
/// of that one's real.
#[test]
fn one_of_several_inserts_wins() {
    const ROUNDS: u32 = 2_000;
    let mem = memory(8 * ROUNDS as usize);
    let table = FlowTable::create(&mem, &key()).unwrap();
    let start = Barrier::new(WORKERS.into());
    let insert_all = |worker: u16| {
        let insert_one = |n| {
            start.wait();
            insert(&table, n, entry(worker, State::SynRecv, NOW), NOW).outcome
        };
        (0..ROUNDS).map(insert_one).collect::<Vec<_>>()
    };
    let outcomes: Vec<Vec<Outcome>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| scope.spawn(move || insert_all(worker)))
            .collect();
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    for n in 0..ROUNDS {
        let winner = table.lookup(hash(n)).expect("remembered").entry.real;
        let stored: Vec<_> = (0..)
            .zip(&outcomes)
            .filter(|(_, outcomes)| matches!(outcomes[n as usize], Outcome::Stored(_)))
            .map(|(worker, _)| RealId(worker))
            .collect();
        assert_eq!(stored, [winner], "round {n}");
    }
    assert_eq!(
        (table.len(), listed(&table).len()),
        (ROUNDS as usize, ROUNDS as usize)
    );
}
