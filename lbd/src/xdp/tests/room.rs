//! Flows that the program cannot remember, and slots that nobody has finished: the director decides.

use super::rig::{ACK, Rig, SERVICES, SYN, flow_frame, of};
use lbcore::config::Admin;
use lbcore::flow::{FlowTable, Recovered};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Nothing makes room in the program.
#[test]
fn a_flow_for_which_there_is_no_room_is_the_directors() {
    // Any flow may take any of the eight slots.
    let Some(mut rig) = Rig::with_room_for(8) else {
        return;
    };
    for nth in 0..8 {
        rig.past_the_program(&flow_frame(of("web", nth), SYN, 0));
    }
    assert_eq!(rig.behind.flows.len(), 8);
    let late = of("web", 8);
    assert!(!rig.frame(&flow_frame(late, SYN, 0)), "all are in use");
    rig.count();
    let unremembered = [&rig.behind.counters, &rig.did].map(|counters| counters.unremembered.get());
    assert_eq!(unremembered, [1, 0], "by the director");

    // Of the others no more came than their first packet: one makes room.
    rig.pass_time(Duration::from_secs(6));
    assert!(!rig.frame(&flow_frame(late, SYN, 0)));
    assert!(rig.frame(&flow_frame(late, ACK, 0)), "it is known here now");
    assert_eq!(rig.behind.flows.len(), 8);
    rig.assert_same_books();
}

/// With `track = "changes"`, while a change is under way: first packet and next ones meet the same real, be
/// the flow remembered by the program, by the director since the program may remember no more, or by nobody.
#[test]
fn a_flow_in_a_moved_slot_without_room_goes_where_its_next_packets_will() {
    let Some(mut rig) = Rig::with_room_for(256) else {
        return;
    };
    let service = SERVICES.iter().position(|(name, ..)| *name == "stable");
    rig.world.config.services[service.expect("it")].reals[1].admin = Admin::Drain;
    rig.publish();
    let (mut by_program, mut by_director, mut by_nobody) = (0, 0, 0);
    for nth in 0..1200 {
        let before = rig.behind.flows.len();
        let n = of("stable", nth);
        let (here, first) = rig.through(&flow_frame(n, SYN, 0));
        match (here, rig.behind.flows.len() > before) {
            (true, true) => by_program += 1,
            (false, true) => by_director += 1,
            (false, false) => by_nobody += 1,
            // Its slot has not moved.
            (true, false) => {}
        }
        let (_, next) = rig.through(&flow_frame(n, ACK, 0));
        assert_eq!(first[..6], next[..6], "flow {nth}");
    }
    rig.count();
    let unremembered = [&rig.behind.counters, &rig.did].map(|counters| counters.unremembered.get());
    assert_eq!(unremembered, [by_nobody, 0]);
    assert!(by_program > 0 && by_director > 0 && by_nobody > 0);
    rig.assert_same_books();
}

/// A killed writer has left a slot with a flow's signature and without an entry. The flow may be in another
/// one, which the director looks for; the next lbd frees the slot.
#[test]
fn a_flow_with_a_slot_that_nobody_has_finished_is_the_directors() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    assert!(rig.frame(&flow_frame(n, SYN, 0)));
    let mut entry = None;
    rig.behind.flows.for_each(|_, found, _| entry = Some(found));
    let word = entry.expect("remembered").to_word();
    let words = rig.fast.flow_words();
    let slot = words.iter().find(|cell| cell.load(Relaxed) == word);
    slot.expect("an entry").store(0, Relaxed);
    rig.alone.flows.forget(|_, _| true, |_| ());

    for flags in [SYN, ACK, ACK] {
        assert!(!rig.frame(&flow_frame(n, flags, 0)));
    }
    let (_, recovered) = FlowTable::open(words, &rig.world.key).expect("a table");
    assert_eq!(recovered, Recovered { flows: 1, swept: 1 });
    assert!(rig.frame(&flow_frame(n, ACK, 0)));
}
