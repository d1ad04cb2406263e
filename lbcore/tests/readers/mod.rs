//! Who goes through the table or looks something up while others write it.

use super::Writer::{Program, Worker};
use super::{Entry, FlowTable, World, Writer, created, explore, explore_after, hash, key, program};
use loom::thread;
use rstest::rstest;

impl World {
    /// Shows all flows: each is whole, real and time of insert its own.
    fn list(&self, reals: &[(u8, u16)]) {
        let mut shown = Vec::new();
        self.table.for_each(|of, entry, since| {
            let flow = *of.client.octets().last().expect("sixteen");
            assert_eq!((of, since), (key(flow), created(flow)));
            assert!(reals.contains(&(flow, entry.real.0)), "{flow}: {entry:?}");
            assert!(!shown.contains(&flow), "flow {flow} twice");
            shown.push(flow);
        });
    }
}

#[rstest]
fn a_listing_shows_whole_flows_whoever_takes_their_slots(
    #[values(Worker, Program)] writer: Writer,
) {
    explore_after(
        |_| (),
        2,
        move |world| {
            let other = thread::spawn(move || {
                assert_eq!(world.told(writer, 3, 1), Some(1));
                let hit = world.table.lookup(hash(3)).expect("it is there");
                assert_eq!(world.table.created(hit.slot, hash(3)), Some(created(3)));
                world.forget(3);
                assert_eq!(world.told(writer, 5, 2), Some(2));
            });
            world.list(&[(3, 1), (5, 2)]);
            other.join().expect("no panic");
            world.assert_in_order();
        },
    );
}

/// Neither of two that are pending, and none that gives way.
#[rstest]
fn a_listing_shows_a_flow_once_that_two_insert(#[values(Worker, Program)] one: Writer) {
    explore_after(
        |_| (),
        2,
        move |world| {
            let other = thread::spawn(move || world.told(one, 3, 1));
            let same = thread::spawn(move || world.told(Worker, 3, 2));
            world.list(&[(3, 1), (3, 2)]);
            for thread in [other, same] {
                thread.join().expect("no panic");
            }
            world.list(&[(3, 1), (3, 2)]);
            world.assert_in_order();
        },
    );
}

#[rstest]
fn the_time_of_an_insert_is_never_another_flows(#[values(Worker, Program)] writer: Writer) {
    explore_after(
        |_| (),
        2,
        move |world| {
            assert_eq!(world.told(writer, 3, 1), Some(1));
            let hit = world.table.lookup(hash(3)).expect("it is there");
            let other = thread::spawn(move || {
                world.forget(3);
                assert_eq!(world.told(writer, 5, 2), Some(2));
            });
            let since = world.table.created(hit.slot, hash(3));
            assert!([None, Some(created(3))].contains(&since), "{since:?}");
            other.join().expect("no panic");
        },
    );
}

/// A slot that is pending or gone may stand before the one that holds the flow: the program leaves such a
/// flow to the director, which looks on.
#[rstest]
fn the_program_never_takes_a_flow_for_new_that_is_remembered(
    #[values(Worker, Program)] one: Writer,
    #[values(Worker, Program)] two: Writer,
) {
    explore_after(
        |_| (),
        2,
        move |world| {
            let other = thread::spawn(move || world.told(one, 3, 1));
            if let Some(real) = world.told(two, 3, 2) {
                let (_, word) = program::look_up(world.memory, hash(3).0).expect("a slot of it");
                if let Some(entry) = Entry::from_word(word) {
                    assert_eq!(entry.real.0, real);
                }
            }
            other.join().expect("no panic");
            world.assert_in_order();
        },
    );
}

/// It finishes what it has begun, and then the table is whole.
#[test]
fn a_program_that_is_asked_to_pause_begins_nothing() {
    explore(|world| {
        let other = thread::spawn(move || world.told(Program, 3, 1));
        FlowTable::pause_others(world.memory, true);
        let since = thread::spawn(move || world.told(Program, 5, 2));
        assert_eq!(since.join().expect("no panic"), None);
        let other = other.join().expect("no panic");
        assert_eq!(world.real_of(3), other);
        world.assert_in_order();
        FlowTable::pause_others(world.memory, false);
        assert_eq!(world.told(Program, 5, 2), Some(2));
        world.assert_in_order();
    });
}
