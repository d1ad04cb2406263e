//! Any frames, one after the other: each is forwarded, passed or dropped, and counted once; a
//! forwarded one differs in its two MAC addresses alone, any other not at all. The flow table
//! lives on from input to input, as it does from frame to frame.
#![no_main]

#[path = "../../lbcore/benches/rig/mod.rs"]
mod rig;

use lbcore::director::{DropReason, Verdict};
use libfuzzer_sys::fuzz_target;
use rig::{Rig, frame};
use std::cell::RefCell;

thread_local! {
    static RIG: RefCell<Rig> = RefCell::new(half_full());
}

fuzz_target!(|data: &[u8]| {
    RIG.with_borrow_mut(|rig| {
        let mut rest = data;
        while let Some((&len, more)) = rest.split_first() {
            let (frame, after) = more.split_at(usize::from(len).min(more.len()));
            rest = after;
            one(rig, frame);
        }
    });
});

/// A small table with some flows, so that frames meet known ones and evict others.
fn half_full() -> Rig {
    const SYN: u8 = 0x02;
    let mut rig = Rig::new(64);
    for n in 0..32 {
        rig.packet(&mut frame(n, SYN, n % 2 == 0));
    }
    rig
}

fn one(rig: &mut Rig, frame: &[u8]) {
    let drops = |rig: &Rig| -> u64 {
        DropReason::ALL
            .iter()
            .map(|r| rig.counters.drops(*r).get())
            .sum()
    };
    let passed = |rig: &Rig| rig.counters.interface(0).passed.get();
    let (drops_before, passed_before) = (drops(rig), passed(rig));
    let mut sent = frame.to_vec();
    let verdict = rig.packet(&mut sent);
    let counted = (drops(rig) - drops_before, passed(rig) - passed_before);
    match verdict {
        Verdict::Forward(_) => {
            assert_eq!(counted, (0, 0));
            assert_eq!(sent[12..], frame[12..]);
        }
        Verdict::Pass => assert_eq!((counted, &sent[..]), ((0, 1), frame)),
        Verdict::Drop(_) => assert_eq!((counted, &sent[..]), ((1, 0), frame)),
    }
}
