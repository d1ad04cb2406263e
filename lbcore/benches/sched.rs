//! What choosing a real costs: the ring's filling (once for every change of the set, on the
//! control side) and a pick (once for every new flow, in the packet path).

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use lbcore::id::RealId;
use lbcore::load::Loads;
use lbcore::net::{Addr, FlowHash, HashKey};
use lbcore::sched::{Candidate, Identity, Kind, Pick, Ring, Scheduler};
use std::hint::black_box;

fn candidates(count: u16, weight: impl Fn(u16) -> u16) -> Vec<Candidate> {
    (0..count)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let address = Addr::v4([10, 0, high, low]);
            let identity = Identity { address, port: 0 };
            let weight = weight(number);
            Candidate {
                real: RealId(number),
                identity,
                weight,
            }
        })
        .collect()
}

fn build(c: &mut Criterion) {
    let key = HashKey::new([7; 16]);
    for count in [3, 10, 100, 400] {
        let set = candidates(count, |_| 1);
        c.bench_with_input(BenchmarkId::new("ring build", count), &set, |b, set| {
            b.iter(|| Ring::build(black_box(set), &key));
        });
    }
    let mixed = candidates(400, |number| 1 + number * 7 % 256);
    c.bench_function("ring build/400 mixed weights", |b| {
        b.iter(|| Ring::build(black_box(&mixed), &key));
    });
    c.bench_function("wrr build/400 mixed weights", |b| {
        b.iter(|| Scheduler::build(Kind::Wrr, black_box(&mixed)));
    });
}

fn pick(c: &mut Criterion) {
    let key = HashKey::new([7; 16]);
    let loads = Loads::default();
    let set = candidates(100, |number| 1 + number % 5);
    let ring = Ring::build(&set, &key);
    for kind in [
        Kind::Rr,
        Kind::Wrr,
        Kind::Lc,
        Kind::Wlc,
        Kind::Sh,
        Kind::Maglev,
    ] {
        let scheduler = Scheduler::build(kind, &set);
        let mut cursor = 0u64;
        c.bench_function(&format!("pick of 100/{kind}"), |b| {
            b.iter(|| {
                cursor += 1;
                let hash = FlowHash(cursor.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                let ring = ring.as_ref();
                let pick = Pick {
                    cursor,
                    ring,
                    flow: hash,
                    source: hash,
                    loads: &loads,
                };
                black_box(scheduler.pick(black_box(&pick)))
            });
        });
    }
}

criterion_group!(benches, build, pick);
criterion_main!(benches);
