//! Frames through the pure path, for `scripts/instructions.sh`, which counts what the processor
//! executes for them: `instructions CASE`, where a case is known-v4, known-v6, new-v4 or new-v6.
//! Everything is the same in every run, so the count moves only with the code and the compiler.
//! A program, not a benchmark, so that building it takes none of what tests and benchmarks need.

#[path = "mod.rs"]
mod rig;

use rig::{Rig, frame};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

/// How many frames; the script divides by it.
const FRAMES: u32 = 10_000;

/// What is counted: nothing else is inside of it.
#[inline(never)]
fn pass_frames(rig: &mut Rig, frames: &mut [[u8; 80]]) {
    for frame in frames {
        rig.packet(frame);
    }
}

fn main() {
    let case = std::env::args().nth(1).unwrap_or_default();
    let (known, v6) = match case.as_str() {
        "known-v4" => (true, false),
        "known-v6" => (true, true),
        "new-v4" => (false, false),
        "new-v6" => (false, true),
        other => panic!("{other:?}? known-v4, known-v6, new-v4 or new-v6"),
    };
    let mut rig = Rig::new(FRAMES as usize * 4);
    let frames = |flags| (0..FRAMES).map(move |n| frame(n, flags, v6));
    if known {
        for flags in [SYN, ACK] {
            for mut frame in frames(flags) {
                rig.packet(&mut frame);
            }
        }
    }
    let mut frames: Vec<_> = frames(if known { ACK } else { SYN }).collect();
    pass_frames(&mut rig, &mut frames);
    println!("{FRAMES} frames");
}
