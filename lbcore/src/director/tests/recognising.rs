//! Frames recognised ahead of their turn.

use super::*;
use proptest::prelude::*;

/// What becomes of frames when a group is recognised before the first of it is decided about.
fn in_groups(bench: &mut Bench, frames: &mut [Vec<u8>], group: usize) -> Vec<(Decision, Verdict)> {
    let meta = FrameMeta {
        ifindex: IFINDEX,
        ..FrameMeta::default()
    };
    let mut done = Vec::new();
    for frames in frames.chunks_mut(group) {
        let ahead: Vec<_> = frames
            .iter()
            .map(|frame| recognise(frame, &meta, &bench.table))
            .collect();
        for (frame, recognised) in frames.iter_mut().zip(&ahead) {
            let view = View {
                table: &bench.table,
                flows: &bench.flows,
                loads: &bench.loads,
                cursors: &bench.cursors,
                flood: bench.flood,
            };
            let decision = decide_recognised(recognised, &view, bench.now);
            let verdict = commit(&decision, frame, &view, &bench.counters, 0, bench.now);
            bench.cursors.placed(&decision, &bench.table);
            done.push((decision, verdict));
        }
    }
    done
}

/// One of a few flows at any point of its life, to us or to somebody else, whole or cut short.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let flags = prop::sample::select(vec!["S", "A", "FA", "R"]);
    (1000..1004_u16, flags, 0..8_u8, 20..54_usize).prop_map(|(port, flags, kind, kept)| {
        let mut frame = tcp_frame(port, flags);
        match kind {
            0 => frame[5] ^= 1,
            1 => frame.truncate(kept),
            2 => frame[20] |= 0x20,
            _ => {}
        }
        frame
    })
}

proptest! {
    /// A group is decided about as its frames are one by one: nothing of a frame that was recognised is
    /// changed by those before it.
    #[test]
    fn a_group_is_decided_as_its_frames_one_by_one(
        frames in prop::collection::vec(any_frame(), 1..40),
        group in 1..12_usize,
    ) {
        let (mut ours, mut theirs) = (frames.clone(), frames);
        let world = || World::web("scheduler = \"rr\"", &[1, 1, 1]);
        let done = in_groups(&mut Bench::new(world()), &mut ours, group);
        let mut bench = Bench::new(world());
        let wanted: Vec<_> = theirs.iter_mut().map(|frame| bench.run(frame)).collect();
        prop_assert_eq!(done, wanted);
        prop_assert_eq!(ours, theirs);
    }
}
