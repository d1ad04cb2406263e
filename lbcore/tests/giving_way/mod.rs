//! Whoever gives way frees its own slot, and nobody else's: what becomes of it when another flow takes it at
//! once, with an entry that looks the same as the one that stood there.

use super::Writer::{Program, Worker};
use super::{World, Writer, explore_after, full, told};
use loom::thread;
use rstest::rstest;

/// One flow in the first bucket: of two that come next the first one takes the second bucket, and gives way
/// to the other.
fn one_flow(world: World) {
    assert_eq!(world.told(Worker, 10, 9), Some(9));
}

impl World {
    /// Whoever was told of a flow's real finds it there.
    fn assert_true(&self, told: &[(u8, Option<u16>)]) {
        self.assert_in_order();
        for &(flow, told) in told {
            assert!(
                told.is_none() || self.real_of(flow) == told,
                "flow {flow}: told {told:?}, {:?} stands there",
                self.real_of(flow)
            );
        }
    }
}

#[rstest]
fn two_writers_of_a_flow_lose_no_slot_to_the_next_flow(
    #[values(Worker, Program)] one: Writer,
    #[values(Worker, Program)] two: Writer,
    #[values(Worker, Program)] next: Writer,
) {
    explore_after(one_flow, 3, move |world| {
        let other = thread::spawn(move || world.told(one, 3, 1));
        let same = world.told(two, 3, 2);
        let another = world.told(next, 5, 2);
        let other = other.join().expect("no panic");
        world.assert_true(&[(3, same), (3, other), (5, another)]);
        assert!(world.real_of(3).is_some(), "one of them remembers it");
    });
}

#[rstest]
#[case(Worker, Program, Worker)]
#[case(Program, Worker, Program)]
#[case(Program, Program, Worker)]
fn two_writers_of_a_flow_and_one_of_another_lose_no_slot(
    #[case] one: Writer,
    #[case] two: Writer,
    #[case] third: Writer,
) {
    explore_after(one_flow, 1, move |world| {
        let other = thread::spawn(move || world.told(one, 3, 1));
        let another = thread::spawn(move || world.told(third, 5, 2));
        let same = world.told(two, 3, 2);
        let [other, another] = [other, another].map(|thread| thread.join().expect("no panic"));
        world.assert_true(&[(3, same), (3, other), (5, another)]);
    });
}

/// One of them may be told the real of another that gives way itself.
#[rstest]
#[case(Program, Worker, Worker)]
#[case(Worker, Program, Program)]
#[case(Program, Program, Program)]
fn three_writers_of_a_flow_remember_it_once(
    #[case] one: Writer,
    #[case] two: Writer,
    #[case] three: Writer,
) {
    explore_after(one_flow, 1, move |world| {
        let others = [(one, 1), (two, 2)]
            .map(|(writer, real)| thread::spawn(move || world.told(writer, 3, real)));
        let ours = world.told(three, 3, 3);
        let [one, two] = others.map(|thread| thread.join().expect("no panic"));
        world.assert_in_order();
        let real = world.real_of(3);
        let told = [ours, one, two];
        assert!(real.is_none() || told.contains(&real), "{told:?}: {real:?}");
    });
}

/// Whoever does not give way may look at a flow that has come and gone since, and another is in its place.
#[test]
fn a_flow_that_has_ended_since_takes_no_slot_with_it() {
    explore_after(one_flow, 3, |world| {
        let other = thread::spawn(move || world.told(Program, 3, 1));
        let stored = world.program_inserts(3, 2);
        if stored {
            world.forget(3);
        }
        let another = world.told(Program, 5, 2);
        let other = other.join().expect("no panic");
        world.assert_true(&[(5, another)]);
        assert!(
            stored || world.real_of(3) == other,
            "{other:?} stands there"
        );
    });
}

/// Room for one more in the second bucket, and a flow in the first one that may make some.
fn nearly_full(world: World) {
    full(&[12])(world);
    world.forget(17);
}

/// Whoever makes room does it once, and is reported once.
#[rstest]
#[case(Worker, Worker, 1)]
#[case(Worker, Program, 2)]
#[case(Program, Worker, 1)]
#[case(Program, Program, 3)]
fn writers_in_need_of_room_lose_no_slot(
    #[case] two: Writer,
    #[case] next: Writer,
    #[case] interruptions: usize,
) {
    explore_after(nearly_full, interruptions, move |world| {
        let insert = move |writer, flow, real| match writer {
            Worker => {
                let inserted = world.insert(flow, real);
                let evicted = usize::from(inserted.evicted.is_some());
                (told(inserted.outcome, real), evicted)
            }
            Program => (world.told(Program, flow, real), 0),
        };
        let other = thread::spawn(move || insert(Worker, 3, 1));
        let (same, first) = insert(two, 3, 2);
        let (another, second) = insert(next, 5, 2);
        let (other, third) = other.join().expect("no panic");
        world.assert_true(&[(3, same), (3, other), (5, another)]);
        let made_room = usize::from(world.real_of(12).is_none());
        assert_eq!(first + second + third, made_room);
        assert!(world.real_of(3).is_some(), "there was room");
    });
}
