//! The pure director, no I/O: parse, find the service and the flow, rewrite, count.
//!
//! `cargo bench -p lbcore --bench director`

mod rig;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use rig::{Rig, frame};

/// Known flows, met in an order that no prefetcher guesses.
fn known_flows(c: &mut Criterion) {
    for (flows, v6) in [
        (1_000u32, false),
        (1_000, true),
        (1_000_000, false),
        (1_000_000, true),
    ] {
        // Twice the flows: at 1 million the table of 2 million is half full.
        let mut rig = Rig::new(flows as usize * 2);
        for n in 0..flows {
            rig.packet(&mut frame(n, 0x02, v6));
            rig.packet(&mut frame(n, 0x10, v6));
        }
        let family = if v6 { "ipv6" } else { "ipv4" };
        let mut state = 1u32;
        c.bench_function(&format!("known flow, {flows} flows, {family}"), |b| {
            b.iter_batched_ref(
                || {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    frame(
                        ((u64::from(state) * u64::from(flows)) >> 32) as u32,
                        0x10,
                        v6,
                    )
                },
                |frame| rig.packet(frame),
                BatchSize::NumIterations(4096),
            );
        });
    }
}

/// SYNs of flows never seen, into a table that has room.
fn new_flows(c: &mut Criterion) {
    let mut rig = Rig::new(1 << 24);
    let mut n = 0u32;
    c.bench_function("new flow, maglev, ipv4", |b| {
        b.iter_batched_ref(
            || {
                n += 1;
                frame(n, 0x02, false)
            },
            |frame| rig.packet(frame),
            BatchSize::NumIterations(4096),
        );
    });
}

criterion_group!(benches, known_flows, new_flows);
criterion_main!(benches);
