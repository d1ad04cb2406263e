//! The program and the director get the same frames, and where the program forwards, the director would
//! have: the same real, the same bytes, the same note in the flow table, the same counts.
//!
//! Needs root: BPF, and a bpffs of its own.

mod rig;
mod room;
mod to_sockets;

use crate::xdp::FastPath;
use lbcore::config::Admin;
use lbcore::director::{Counters, Cursors, View, commit, decide};
use lbcore::flow::FlowTable;
use lbcore::id::RealId;
use lbcore::load::Loads;
use lbcore::net::{FrameMeta, MacAddr};
use lbcore::sched::Kind;
use lbcore::service::fixture::IFINDEX;
use rig::{
    ACK, Bpffs, FIN, FLOWS, Numbers, PSH, RST, Rig, SERVICES, SYN, XDP_PASS, XDP_TX, flow_frame,
    links, load, mutilate, of, run, unfinished, world,
};
use std::collections::BTreeSet;
use std::time::Duration;

#[test]
fn program_and_director_agree_on_ten_thousand_frames() {
    let Some(mut rig) = Rig::new() else { return };
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let (mut forwarded, mut plain) = (0, 0);
    for _ in 0..10_000 {
        let n = numbers.below(350) as u16;
        let flags = match numbers.below(20) {
            0..=2 => SYN,
            3 => ACK | FIN,
            4 => RST,
            5 => numbers.next() as u8,
            _ => ACK,
        };
        let payload = [0, 6, 100, 1400][numbers.below(4)];
        let mut frame = flow_frame(n, flags, payload);
        if numbers.one_in(4) {
            mutilate(&mut frame, &mut numbers);
        } else {
            plain += 1;
        }
        forwarded += u64::from(rig.frame(&frame));
        match numbers.below(1000) {
            0 => rig.pass_time(Duration::from_secs(400)),
            1..=300 => rig.pass_time(Duration::from_millis(numbers.next() % 150)),
            301..=303 => {
                let (name, _, _) = SERVICES[numbers.below(SERVICES.len())];
                rig.world.down(&format!("{name}{}", 1 + numbers.below(3)));
                rig.publish();
            }
            304..=308 => {
                let service = &mut rig.world.config.services[numbers.below(SERVICES.len())];
                let admin = [Admin::Drain, Admin::Disabled][numbers.below(2)];
                service.reals[numbers.below(3)].admin = admin;
                rig.publish();
            }
            309 => {
                rig.world.maintenance ^= true;
                rig.publish();
            }
            310..=319 => {
                rig.world.maintenance = false;
                rig.world.health.clear();
                let services = rig.world.config.services.iter_mut();
                let reals = services.flat_map(|service| &mut service.reals);
                reals.for_each(|real| real.admin = Admin::Enabled);
                rig.publish();
            }
            _ => {}
        }
    }
    // Of frames that are as they should be most are forwarded here, else the test shows nothing.
    assert!(forwarded * 2 > plain, "{forwarded} of {plain}");
    rig.assert_same_books();
    assert_eq!(rig.did.interface(0).received.get(), forwarded);
    assert_eq!(rig.did.interface(0).sent.get(), forwarded);
}

/// T2 by the program alone: frames of all lengths, each with something that must survive.
#[test]
fn t2_of_a_golden_pair_only_the_two_mac_addresses_differ() {
    let Some(mut rig) = Rig::new() else { return };
    let lengths = [
        60, 61, 64, 90, 128, 256, 512, 1000, 1280, 1400, 1513, 1514_usize,
    ];
    let mut pairs = 0;
    for (nth, length) in (0..).zip(lengths).flat_map(|(at, length)| {
        // Both families: every third number is IPv6's.
        (0..3).map(move |family| (3 * at + family, length))
    }) {
        for (service, flags) in [
            ("web", SYN),
            ("web", ACK | PSH),
            ("web", ACK | FIN),
            ("dns", 0),
        ] {
            let n = of(service, nth);
            let headers = flow_frame(n, flags, 1400).len() - 1400;
            let mut frame = flow_frame(n, flags, length.saturating_sub(headers));
            let byte = (nth * 23) as u8;
            if frame[12] == 0x86 {
                // Traffic class, flow label, hop limit.
                frame[14] |= byte >> 4;
                frame[15..18].copy_from_slice(&[byte << 4 | 0xa, byte, !byte]);
                frame[21] = 1 + nth as u8;
            } else {
                // DSCP and ECN, identification, TTL, and a header checksum that is the real's to judge.
                frame[15] = byte;
                frame[18..20].copy_from_slice(&[byte, !byte]);
                frame[22] = 1 + nth as u8;
                frame[24..26].copy_from_slice(&[!byte, byte]);
            }
            let sent = rig.sent(&frame);
            let sent = sent.unwrap_or_else(|| panic!("declined: {frame:02x?}"));
            assert_eq!(sent[12..], frame[12..]);
            assert!((21..24).contains(&sent[5]), "to a real: {sent:02x?}");
            assert_eq!(sent[6..12], frame[..6], "from ourselves");
            pairs += 1;
        }
    }
    assert!(pairs >= 60, "{pairs}");
    // What the program leaves to the director comes out the same with it as without it: an error about
    // what a real sent goes where its flow goes.
    for nth in (0..36).filter(|nth| !of("web", *nth).is_multiple_of(3)) {
        assert!(!rig.frame(&too_big_for_a_router(of("web", nth))));
    }
    rig.assert_same_books();
}

/// "Fragmentation needed" (RFC 792, 1191) from a router on the way of an IPv4 flow's answers.
fn too_big_for_a_router(n: u16) -> Vec<u8> {
    let flow = flow_frame(n, ACK, 0);
    let mut frame = flow[..26].to_vec();
    frame[16..18].copy_from_slice(&(20 + 8 + 28_u16).to_be_bytes());
    frame[23] = 1;
    frame.extend([198, 51, 100, 1]);
    frame.extend(&flow[30..34]);
    frame.extend([3, 4, 0, 0, 0, 0, 5, 0]);
    // The answer's first 28 bytes: the flow's, the other way round.
    frame.extend(&flow[14..26]);
    frame.extend(&flow[30..34]);
    frame.extend(&flow[26..30]);
    frame.extend(&flow[36..38]);
    frame.extend(&flow[34..36]);
    frame.extend([0; 4]);
    frame
}

#[test]
fn t9_a_checksum_that_nobody_has_finished_is_left_to_the_raw_sockets() {
    let Some(mut rig) = Rig::new() else { return };
    for n in 0..28 {
        rig.frame(&flow_frame(n, SYN, 0));
        rig.frame(&flow_frame(n, ACK, 0));
        for payload in [0, 1, 6, 77, 1400] {
            let mut frame = flow_frame(n, ACK, payload);
            assert!(rig.frame(&frame), "flow {n}");
            unfinished(&mut frame);
            assert!(!rig.frame(&frame), "flow {n}, {payload} bytes");
        }
    }
    rig.assert_same_books();
    assert_eq!(rig.fast.unfinished(0), 28 * 5);
}

#[test]
fn first_packets_are_decided_here_where_the_ring_decides() {
    let Some(mut rig) = Rig::new() else { return };
    for nth in 0..20 {
        for (service, here) in [
            ("web", true),
            ("dns", true),
            ("loose", true),
            ("stable", true),
            ("source", true),
            ("rr", false),
            ("lc", false),
        ] {
            let first = flow_frame(of(service, nth), SYN, 0);
            assert_eq!(rig.frame(&first), here, "{service}");
        }
    }
    // Of the others the director alone chooses; what follows is plain.
    assert!(rig.frame(&flow_frame(of("rr", 0), ACK, 0)));
    assert_eq!(
        rig.behind.flows.len(),
        4 * 20,
        "remembered: web, dns, rr, lc"
    );
    rig.assert_same_books();
}

#[test]
fn the_life_of_a_flow_goes_by_here_from_its_syn_to_its_end() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    for flags in [
        SYN,
        ACK,
        ACK | PSH,
        ACK | FIN,
        ACK,
        SYN,
        ACK,
        RST,
        SYN,
        RST,
        SYN,
    ] {
        assert!(rig.frame(&flow_frame(n, flags, 0)), "{flags:#x}");
        rig.assert_same_books();
    }
    // A super-frame: whoever merged it must take it apart.
    assert!(!rig.frame(&flow_frame(n, ACK, 2000)));
    rig.pass_time(Duration::from_secs(901));
    assert!(!rig.frame(&flow_frame(n, ACK, 0)), "silent for too long");
}

#[test]
fn a_real_that_drains_keeps_its_flows_and_one_that_dies_loses_them() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    assert!(rig.frame(&flow_frame(n, SYN, 0)));
    assert!(rig.frame(&flow_frame(n, ACK, 0)));
    let all = |rig: &mut Rig, admin| {
        let reals = &mut rig.world.config.services[0].reals;
        reals.iter_mut().for_each(|real| real.admin = admin);
        rig.publish();
    };
    all(&mut rig, Admin::Drain);
    assert!(rig.frame(&flow_frame(n, ACK, 0)));
    all(&mut rig, Admin::Disabled);
    assert!(!rig.frame(&flow_frame(n, ACK, 0)));
    rig.assert_same_books();
}

/// Where the program itself sends a segment of a flow without memory: the last byte of the MAC.
fn to(rig: &mut Rig, nth: u16, flags: u8) -> u8 {
    let sent = rig.sent(&flow_frame(of("stable", nth), flags, 0));
    sent.expect("forwarded by the program")[5]
}

/// T15, T16 without memory: nothing is remembered while the set stands, and no flow of a real that stays
/// moves when it changes.
#[test]
fn flows_without_memory_stay_when_the_set_changes_and_changes_back() {
    let Some(mut rig) = Rig::new() else { return };
    let before: Vec<u8> = (0..300).map(|nth| to(&mut rig, nth, SYN)).collect();
    assert!(rig.behind.flows.is_empty());
    let service = SERVICES.iter().position(|(name, ..)| *name == "stable");
    let set = |rig: &mut Rig, admin| {
        rig.world.config.services[service.expect("it")].reals[1].admin = admin;
        rig.world.remembers = !rig.behind.flows.is_empty();
        rig.publish();
    };
    set(&mut rig, Admin::Drain);
    for (nth, mac) in (0..).zip(&before) {
        assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth} after the drain");
    }
    let between: Vec<u8> = (300..600).map(|nth| to(&mut rig, nth, SYN)).collect();
    assert!(
        between.iter().all(|mac| *mac != 22),
        "the drained one gets none"
    );
    let remembered = rig.behind.flows.len();
    assert!((80..140).contains(&remembered), "a third: {remembered}");
    set(&mut rig, Admin::Enabled);
    for (nth, mac) in (0..).zip(before.iter().chain(&between)) {
        assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth} after all");
    }
    rig.assert_same_books();
    // Older flows have ended by then; those that are remembered stay where they are.
    for second in 0..16 {
        for (nth, mac) in (300..).zip(&between) {
            assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth}, minute {second}");
        }
        rig.pass_time(Duration::from_secs(60));
        rig.publish();
    }
    assert!(rig.table.services[service.expect("it")].past.is_none());
    for (nth, mac) in (300..).zip(&between) {
        assert_eq!(
            to(&mut rig, nth, ACK),
            *mac,
            "flow {nth} after the change has ended"
        );
    }
    rig.assert_same_books();
}

/// Each of the two schedulers asks its ring by another hash.
#[test]
fn flows_without_memory_stay_when_the_scheduler_changes() {
    let Some(mut rig) = Rig::new() else { return };
    let service = SERVICES.iter().position(|(name, ..)| *name == "stable");
    let mut before: Vec<u8> = (0..200).map(|nth| to(&mut rig, nth, SYN)).collect();
    for kind in [Kind::Sh, Kind::Maglev] {
        rig.world.config.services[service.expect("it")].scheduler = kind;
        rig.world.remembers = !rig.behind.flows.is_empty();
        rig.publish();
        for (nth, mac) in (0..).zip(&before) {
            assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth} after {kind}");
        }
        let first = before.len() as u16;
        before.extend((first..first + 200).map(|nth| to(&mut rig, nth, SYN)));
    }
    assert!(!rig.behind.flows.is_empty());
    rig.assert_same_books();
}

#[test]
fn a_core_remembers_no_more_flows_than_it_may() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = |nth: u16| flow_frame(of("web", nth), SYN, 0);
    let mut forwarded = 0_u64;
    for nth in 0..3000 {
        // The budget is not renewed: half of the table, all cores together.
        let (action, _) = run(&mut rig.fast, &frame(nth));
        forwarded += u64::from(action == XDP_TX);
    }
    let cores = aya::util::nr_cpus().expect("cores");
    assert!(rig.behind.flows.len() <= FLOWS / 2);
    assert!(rig.behind.flows.len() >= FLOWS / 2 / cores);
    rig.count();
    let unremembered = rig.did.unremembered.get();
    assert!(unremembered > 0);
    assert_eq!(unremembered + rig.behind.flows.len() as u64, forwarded);
}

#[test]
fn nothing_is_remembered_while_others_are_asked_to_pause() {
    let Some(mut rig) = Rig::new() else { return };
    FlowTable::pause_others(rig.fast.flow_words(), true);
    let (action, _) = run(&mut rig.fast, &flow_frame(of("web", 1), SYN, 0));
    assert_eq!(action, XDP_PASS);
    FlowTable::pause_others(rig.fast.flow_words(), false);
    assert!(rig.frame(&flow_frame(of("web", 1), SYN, 0)));
}

/// A tag stays where it is.
#[test]
fn a_tagged_frame_is_forwarded_with_its_tag() {
    let Some(mut rig) = Rig::new() else { return };
    for kind in [[0x81, 0], [0x88, 0xa8]] {
        let mut frame = flow_frame(of("web", 1), SYN, 0);
        frame.splice(12..12, [kind[0], kind[1], 0, 10]);
        assert!(rig.frame(&frame));
        frame.splice(12..12, [0x81, 0, 0, 10]);
        assert!(!rig.frame(&frame), "two tags");
    }
}

#[test]
fn another_mac_of_ours_is_followed() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    assert!(rig.frame(&flow_frame(n, SYN, 0)));
    let mut links = links();
    links[0].mtu = 60 - 14;
    rig.table.interfaces[0].mac = MacAddr(2, 0, 0, 0, 0, 9);
    rig.fast.follow(&rig.table, &links, rig.world.now);
    assert!(!rig.frame(&flow_frame(n, ACK, 0)), "to our old MAC");
    let mut frame = flow_frame(n, ACK, 0);
    frame[5] = 9;
    assert!(rig.frame(&frame));
    let mut frame = flow_frame(n, ACK, 100);
    frame[5] = 9;
    assert!(!rig.frame(&frame), "larger than the MTU");
}

#[test]
fn a_flow_table_of_another_size_is_made_anew_and_one_of_the_same_size_found() {
    let Some(bpffs) = Bpffs::mount() else { return };
    let key = world().key;
    let load = |flows: usize| load(bpffs.path(), &key, flows);
    let write =
        |fast: &FastPath| fast.flow_words()[0].store(7, std::sync::atomic::Ordering::Relaxed);
    let read = |fast: &FastPath| fast.flow_words()[0].load(std::sync::atomic::Ordering::Relaxed);
    let first = load(FLOWS);
    write(&first);
    drop(first);
    assert_eq!(read(&load(FLOWS)), 7);
    let other = load(2 * FLOWS);
    assert_eq!(read(&other), 0);
    assert_eq!(super::leftovers(bpffs.path()).len(), 1);
    super::remove(bpffs.path()).expect("removed");
    assert!(super::leftovers(bpffs.path()).is_empty());
}

/// Program, director and expiry write the same few buckets at the same time: afterwards every slot is whole
/// or free, each flow is there once, and the books agree with the table.
#[test]
fn program_and_director_share_buckets_without_harm() {
    const SMALL: usize = 128;
    const ROUNDS: u16 = 200;
    let Some(bpffs) = Bpffs::mount() else { return };
    let mut world = world();
    let mut fast = load(bpffs.path(), &world.key, SMALL);
    fast.pretend_attached(0, IFINDEX);
    let memory = fast.flow_words();
    let flows = FlowTable::create(memory, &world.key).expect("a table");
    let (table, now, loads) = (world.table(), world.now, Loads::default());
    fast.follow(&table, &links(), now);
    fast.renew(&flows, now);
    // Some begin here and some there, most in both at once.
    let frame = |n: u16, round: u16| {
        let flags = [SYN, ACK, ACK | FIN, SYN, RST][usize::from(round + n) % 5];
        flow_frame(of("web", n % 150), flags, 0)
    };
    let director = || {
        let (counters, cursors) = (Counters::default(), Cursors::new(0));
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let mut sweep = 0;
        for round in 0..ROUNDS {
            for n in 0..150 {
                let view = View {
                    table: &table,
                    flows: &flows,
                    loads: &loads,
                    cursors: &cursors,
                    flood: false,
                };
                let mut frame = frame(n, round);
                let decision = decide(&frame, &meta, &view, now);
                commit(&decision, &mut frame, &view, &counters, 0, now);
            }
            // Whoever has ended is forgotten, so that there is room again.
            let over = |entry: lbcore::flow::Entry| entry.state.closing();
            let gone = |entry: lbcore::flow::Entry| {
                loads.sub(entry.real, entry.state.weightiness());
            };
            flows.expire(&mut sweep, flows.buckets(), over, gone);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(director);
        let mut forwarded = 0_u32;
        for round in 0.. {
            for n in 0..150 {
                forwarded += u32::from(run(&mut fast, &frame(n, round)).0 == XDP_TX);
            }
            fast.renew(&flows, now);
            if other.is_finished() {
                break;
            }
        }
        assert!(forwarded > 150, "both were at it");
    });
    fast.count(&Counters::default(), &loads);
    let (mut seen, by_real) = (BTreeSet::new(), Loads::default());
    flows.for_each(|key, entry, _| {
        assert!(seen.insert(key), "{key:?} is there twice");
        by_real.add(entry.real, entry.state.weightiness());
    });
    assert_eq!(flows.len(), seen.len());
    for id in (0..64).map(RealId) {
        let both = |loads: &Loads| (loads.active(id), loads.inactive(id));
        assert_eq!(both(&loads), both(&by_real), "{id:?}");
    }
    let (_, recovered) = FlowTable::open(memory, &world.key).expect("a table");
    assert_eq!((recovered.flows, recovered.swept), (seen.len(), 0));
}
