//! The packet path allocates nothing: not for a known flow, not for a new one, not for a flow the
//! table has no room for.

#[path = "../benches/rig/mod.rs"]
mod rig;

use rig::{Rig, frame};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn allocations(mut work: impl FnMut()) -> u64 {
    allocation_counter::measure(&mut work).count_total
}

#[test]
fn the_director_allocates_nothing() {
    let mut rig = Rig::new(4096);
    assert!(
        allocations(|| drop(std::hint::black_box(vec![1u8]))) > 0,
        "the counter counts"
    );
    for v6 in [false, true] {
        let new = allocations(|| (0..1000).for_each(|n| rig.packet(&mut frame(n, SYN, v6))));
        let known = allocations(|| (0..1000).for_each(|n| rig.packet(&mut frame(n, ACK, v6))));
        assert_eq!((new, known), (0, 0), "v6: {v6}");
    }
    let full = allocations(|| (0..20_000).for_each(|n| rig.packet(&mut frame(n, SYN, false))));
    assert_eq!(full, 0);
}
