//! Whatever arrives: no panic, and never more answers than the bounds allow.

use super::*;
use proptest::prelude::*;

/// Frames that nearly concern the VIP: good ones with some bytes changed, and noise.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let arp = |operation: u8, sender: u8, sender_ip: Ipv4Addr| {
        let mut frame = compose::arp_reply(mac(sender), V4, (mac(OURS), CLIENT_V4));
        frame[21] = operation;
        frame[28..32].copy_from_slice(&sender_ip.octets());
        frame[38..42].copy_from_slice(&V4.octets());
        frame
    };
    let nearly = prop_oneof![
        (
            1..3u8,
            any::<u8>(),
            prop_oneof![Just(V4), Just(CLIENT_V4), Just(Ipv4Addr::UNSPECIFIED)]
        )
            .prop_map(move |(operation, sender, ip)| arp(operation, sender, ip)),
        any::<u8>().prop_map(|from| probe(from, V6)),
        any::<u8>().prop_map(|from| announcement(from, V6)),
        any::<u8>().prop_map(|from| probe(from, V4)),
        any::<u8>().prop_map(|from| announcement(from, V4)),
    ];
    let changed = (
        nearly.clone(),
        prop::collection::vec((any::<usize>(), any::<u8>()), 0..4),
    )
        .prop_map(|(mut frame, changes)| {
            for (at, value) in changes {
                let at = at % frame.len();
                frame[at] = value;
            }
            frame
        });
    prop_oneof![4 => nearly, 4 => changed, 1 => prop::collection::vec(any::<u8>(), 0..200)]
}

proptest! {
    #[test]
    fn parsing_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..300), kind in 0..3usize) {
        let mut bytes = bytes;
        if let Some(ethertype) = bytes.get_mut(12..14) {
            ethertype.copy_from_slice(&[[8, 6], [8, 0], [0x86, 0xdd]][kind]);
        }
        if let Some(heard) = parse(&bytes) {
            prop_assert!(heard.concerns()[0].is_some());
        }
    }

    #[test]
    fn answers_stay_within_bounds(
        frames in prop::collection::vec((frame(), 0..40u64), 1..400),
        six in any::<bool>(),
        ownership in prop_oneof![
            Just(Ownership::None), Just(Ownership::Kernel), Just(Ownership::Mute)],
    ) {
        let vip: IpAddr = if six { V6.into() } else { V4.into() };
        let mut bench = Bench::new(vip, Facts { ownership, ..facts() });
        bench.run_to(1_000);
        bench.sent.clear();
        let mut end = 1_000;
        let mut heard = 0;
        let mut news = 0;
        for (frame, wait) in &frames {
            end += wait;
            bench.run_to(end);
            if parse(frame).is_some() {
                heard += 1;
                bench.hear(frame);
            }
            let before = bench.announcer.state();
            news += usize::from(bench.announcer.news(bench.now).is_some());
            prop_assert_eq!(before, bench.announcer.state());
        }
        let seconds = usize::try_from((end - 1_000) / 1_000 + 1).unwrap();
        let defences = bench.times(&announcement(OURS, vip)).len();
        // Its own timetable, one defence a second; for IPv6 also answers to others' DAD.
        let own = 11 + seconds / 60 + seconds;
        let dad = if six { heard } else { 0 };
        prop_assert!(defences <= own + dad, "{defences} announcements in {seconds} s");
        prop_assert!(bench.sent.len() <= own + heard + seconds / 10 + 4, "more frames than were heard");
        prop_assert!(news <= seconds + 4, "{news} news in {seconds} s");
    }
}

#[test]
fn a_flood_of_questions_draws_a_bounded_number_of_answers() {
    let mut bench = Bench::announced(V4, facts());
    let asked = probe(CLIENT, V4);
    for at in 0..20_000 {
        bench.now = Tick(1_000 + at / 10);
        bench.hear(&asked);
    }
    let answers = bench.sent.len();
    let per_second = usize::try_from(ANSWERS_PER_SECOND).unwrap();
    assert!(
        (2 * per_second..=3 * per_second + 1).contains(&answers),
        "{answers} in 2 s"
    );
}
