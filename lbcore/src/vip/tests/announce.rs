//! One announcer against scripted neighbours.

use super::*;
use rstest::rstest;

#[rstest]
fn asks_three_times_then_announces_five_and_five_and_every_minute(
    #[values(V4.into(), V6.into())] vip: IpAddr,
) {
    let mut bench = Bench::new(vip, facts());
    assert_eq!(bench.announcer.state(), VipState::Probing);
    bench.run_to(799);
    assert_eq!(bench.times(&probe(OURS, vip)), [0, 200, 400]);
    assert_eq!(
        bench.sent.len(),
        3,
        "nothing else before it is known to be free"
    );

    bench.run_to(130_000);
    assert_eq!(bench.announcer.state(), VipState::Announced);
    let announced = bench.times(&announcement(OURS, vip));
    let mut expected = vec![800; 5];
    expected.extend([5_800; 5]);
    expected.extend([65_800, 125_800]);
    assert_eq!(announced, expected);
    let asked = bench.times(&probe(OURS, vip));
    let every_ten: Vec<u64> = (1..13).map(|n| 800 + n * 10_000).collect();
    assert_eq!(asked[3..15], every_ten, "asks again who else has it");
}

#[rstest]
fn after_carrier_loss_it_is_quiet_then_asks_and_announces_more_often(
    #[values(V4.into(), V6.into())] vip: IpAddr,
) {
    let mut bench = Bench::announced(vip, facts());
    bench.run_to(10_000);
    bench.sent.clear();
    bench.set(Facts {
        carrier: false,
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Silent);
    assert_eq!(
        bench.announcer.deadline(),
        Some(Tick(0)),
        "only the news is due"
    );
    bench.run_to(200_000);
    assert_eq!(bench.sent, []);

    bench.set(facts());
    bench.run_to(300_000);
    assert_eq!(
        bench.times(&probe(OURS, vip))[..3],
        [200_000, 200_200, 200_400]
    );
    let after: Vec<u64> = bench
        .times(&announcement(OURS, vip))
        .iter()
        .map(|at| at - 200_800)
        .collect();
    let expected = [
        0, 0, 0, 0, 0, 1_000, 2_000, 5_000, 5_000, 5_000, 5_000, 5_000, 15_000, 30_000, 90_000,
    ];
    assert_eq!(after, expected);
}

#[test]
fn an_answered_probe_is_a_conflict_tried_again_every_30_s() {
    let mut bench = Bench::new(V4, facts());
    bench.run_to(300);
    // The holder's answer to a probe.
    bench.hear(&compose::arp_reply(
        mac(0x77),
        V4,
        (mac(OURS), Ipv4Addr::UNSPECIFIED),
    ));
    assert_eq!(bench.announcer.state(), VipState::Conflict);
    let news = bench.news();
    assert_eq!((news.conflicts, news.claimed_by), (1, Some(mac(0x77))));
    assert_eq!(
        news.note.unwrap(),
        "192.0.2.10 is in use by 02:00:00:00:00:77 (not announced, tried again every 30 s)"
    );
    for round in 1..4 {
        bench.sent.clear();
        let start = 300 + round * 30_000;
        bench.run_to(start);
        assert_eq!(bench.times(&probe(OURS, V4)), [start], "round {round}");
        assert_eq!(
            bench.announcer.state(),
            VipState::Conflict,
            "asking again is still a conflict"
        );
        bench.hear(&compose::arp_reply(
            mac(0x77),
            V4,
            (mac(OURS), Ipv4Addr::UNSPECIFIED),
        ));
    }
    assert_eq!(
        bench.news().conflicts,
        1,
        "the same conflict, not another one"
    );
    bench.run_to(121_200);
    assert_eq!(
        bench.announcer.state(),
        VipState::Announced,
        "the holder went away"
    );
    assert_eq!((bench.news().note, bench.news().claimed_by), (None, None));
    assert!(bench.times(&announcement(OURS, V4)).len() >= 5);
}

#[rstest]
#[case::announcement(announcement(0x77, V4), V4.into())]
#[case::request_from_the_vip(
    compose::arp_reply(mac(0x77), V4, (mac(CLIENT), CLIENT_V4)), V4.into())]
#[case::advertisement(announcement(0x77, V6), V6.into())]
#[case::solicited_advertisement(
    compose::solicited_advertisement(mac(0x77), V6, (mac(OURS), CLIENT_V6)), V6.into())]
fn any_claim_while_asking_is_a_conflict(#[case] frame: Vec<u8>, #[case] vip: IpAddr) {
    let mut bench = Bench::new(vip, facts());
    bench.hear(&frame);
    assert_eq!(bench.announcer.state(), VipState::Conflict);
    bench.run_to(2_000);
    assert_eq!(bench.times(&announcement(OURS, vip)), [] as [u64; 0]);
}

#[rstest]
fn of_two_that_ask_at_once_the_lower_mac_goes_on(#[values(V4.into(), V6.into())] vip: IpAddr) {
    let mut bench = Bench::new(vip, facts());
    bench.hear(&probe(OURS + 1, vip));
    assert_eq!(bench.announcer.state(), VipState::Probing);
    bench.hear(&probe(OURS, vip));
    assert_eq!(
        bench.announcer.state(),
        VipState::Probing,
        "our own frame come back"
    );
    bench.hear(&probe(OURS - 1, vip));
    assert_eq!(bench.announcer.state(), VipState::Conflict);
}

#[test]
fn a_question_is_answered_only_when_announced_and_for_us() {
    let ask = |to: MacAddr| {
        let mut frame = compose::probe(mac(CLIENT), V4.into());
        frame[28..32].copy_from_slice(&CLIENT_V4.octets());
        frame[..6].copy_from_slice(&to.octets());
        frame
    };
    let answer = compose::arp_reply(mac(OURS), V4, (mac(CLIENT), CLIENT_V4));
    let mut bench = Bench::new(V4, facts());
    bench.hear(&ask(MacAddr::broadcast()));
    assert_eq!(bench.times(&answer), [] as [u64; 0], "not while asking");

    let mut bench = Bench::announced(V4, facts());
    bench.hear(&ask(MacAddr::broadcast()));
    bench.hear(&ask(mac(OURS)));
    bench.hear(&ask(mac(0x12)));
    assert_eq!(
        bench.times(&answer),
        [900, 900],
        "not what was meant for another machine"
    );
    bench.hear(&probe(0x12, V4));
    let defence = compose::arp_reply(mac(OURS), V4, (mac(0x12), Ipv4Addr::UNSPECIFIED));
    assert_eq!(
        bench.times(&defence),
        [900],
        "another machine's probe is answered"
    );
    assert_eq!(
        bench.announcer.state(),
        VipState::Announced,
        "also one with a lower MAC"
    );
}

#[test]
fn solicitations_are_answered_to_the_asker_or_for_dad_to_all() {
    let mut bench = Bench::announced(V6, facts());
    let ask = Heard::Solicitation {
        to: multicast_mac(solicited_node(V6)),
        from: mac(CLIENT),
        source: CLIENT_V6,
        target: V6,
    };
    bench.with(|announcer, now, out| announcer.hear(&ask, now, out));
    let answer = compose::solicited_advertisement(mac(OURS), V6, (mac(CLIENT), CLIENT_V6));
    assert_eq!(bench.times(&answer), [900]);
    bench.hear(&probe(0x12, V6));
    assert_eq!(bench.times(&announcement(OURS, V6)), [900]);
}

#[test]
fn the_host_that_owns_the_address_answers_itself() {
    for announce in [Announce::Always, Announce::WhenOwned] {
        let owned = Facts {
            ownership: Ownership::Kernel,
            announce,
            ..facts()
        };
        let mut bench = Bench::new(V4, owned);
        assert_eq!(bench.announcer.state(), VipState::Owned);
        bench.run_to(100_000);
        let announced = bench.times(&announcement(OURS, V4));
        assert_eq!(announced.len(), 11, "gratuitous announcements all the same");
        let asked = bench.times(&probe(OURS, V4));
        assert_eq!(asked[0], 10_000, "nothing to ask before");
        bench.sent.clear();
        bench.hear(&probe(CLIENT, V4));
        assert_eq!(bench.sent, [], "the kernel answers");
    }
    let mut bench = Bench::new(
        V4,
        Facts {
            ownership: Ownership::Kernel,
            announce: Announce::Never,
            ..facts()
        },
    );
    bench.run_to(100_000);
    assert_eq!(
        (bench.announcer.state(), bench.sent.len()),
        (VipState::Owned, 0)
    );
}

#[test]
fn when_owned_follows_the_address() {
    let wish = Facts {
        announce: Announce::WhenOwned,
        ..facts()
    };
    let mut bench = Bench::new(V4, wish.clone());
    bench.run_to(100_000);
    assert_eq!(
        (bench.announcer.state(), bench.sent.len()),
        (VipState::Silent, 0)
    );
    bench.set(Facts {
        ownership: Ownership::Kernel,
        ..wish.clone()
    });
    assert_eq!(bench.announcer.state(), VipState::Owned);
    assert_eq!(bench.times(&announcement(OURS, V4)), [100_000; 5]);
    bench.set(wish.clone());
    assert_eq!(bench.announcer.state(), VipState::Silent);
    // An IPv6 VIP on lo: the host has it, but its kernel does not answer on eth0.
    let mut bench = Bench::new(
        V6,
        Facts {
            ownership: Ownership::Mute,
            ..wish
        },
    );
    assert_eq!(bench.announcer.state(), VipState::Probing);
    bench.run_to(1_000);
    assert_eq!(bench.announcer.state(), VipState::Announced);
}

#[test]
fn the_operator_goes_before_the_configuration() {
    let mut bench = Bench::announced(V4, facts());
    bench.set(Facts {
        hold: Hold::Release,
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Silent);
    bench.run_to(200_000);
    assert_eq!(bench.sent, [], "no refresh, no goodbye");
    bench.hear(&probe(CLIENT, V4));
    assert_eq!(bench.sent, [], "no answer");
    bench.set(Facts {
        hold: Hold::Take,
        announce: Announce::Never,
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Probing);
    bench.run_to(201_000);
    assert_eq!(bench.announcer.state(), VipState::Announced);
    bench.set(Facts {
        announce: Announce::Never,
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Silent);

    bench.set(Facts {
        hold: Hold::Release,
        ownership: Ownership::Kernel,
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Owned);
    assert!(
        bench
            .news()
            .note
            .unwrap()
            .contains("its kernel goes on answering")
    );
}

#[test]
fn take_asks_at_once_but_does_not_steal() {
    let mut bench = Bench::new(V4, facts());
    bench.hear(&announcement(0x77, V4));
    bench.run_to(5_000);
    bench.sent.clear();
    let take = Facts {
        hold: Hold::Take,
        ..facts()
    };
    bench.set(take.clone());
    assert_eq!(bench.times(&probe(OURS, V4)), [5_000]);
    bench.hear(&announcement(0x77, V4));
    assert_eq!(bench.announcer.state(), VipState::Conflict);
    bench.set(take);
    bench.run_to(34_999);
    assert_eq!(
        bench.times(&probe(OURS, V4)),
        [5_000],
        "said once, done once"
    );
}

#[test]
fn a_higher_mac_is_defended_against_and_told() {
    // T57: a forged claim.
    let mut bench = Bench::announced(V4, facts());
    for at in 0..1_000 {
        bench.run_to(1_000 + at * 4);
        bench.hear(&announcement(0x66, V4));
    }
    assert_eq!(bench.announcer.state(), VipState::Announced);
    bench.run_to(5_500);
    let defended = bench.times(&announcement(OURS, V4));
    assert_eq!(
        defended,
        [1_000, 2_000, 3_000, 4_000, 5_000],
        "at most once a second"
    );
    let news = bench.news();
    assert_eq!((news.conflicts, news.claimed_by), (1_000, Some(mac(0x66))));
    assert_eq!(
        news.note.unwrap(),
        "02:00:00:00:00:66 claims 192.0.2.10 too: two machines have this address"
    );
    bench.run_to(4_996 + 149_000);
    assert!(bench.news().note.is_some());
    bench.run_to(4_996 + 151_000);
    assert_eq!(
        bench.news().note,
        None,
        "the warning goes when the claims have gone"
    );
    assert_eq!(bench.news().conflicts, 1_000, "the count stays");
}

#[test]
fn forged_claims_of_a_lower_mac_do_not_unseat_the_holder() {
    let mut bench = Bench::announced(V4, facts());
    for at in [1_000, 1_001, 1_002, 1_500, 2_900, 6_000, 9_500] {
        bench.run_to(at);
        bench.hear(&announcement(0x10, V4));
        assert_eq!(bench.announcer.state(), VipState::Announced, "{at} ms");
    }
    let defended = bench.times(&announcement(OURS, V4));
    assert_eq!(defended[..2], [1_000, 2_000]);
}

#[test]
fn a_lower_mac_that_goes_on_gets_the_vip() {
    let mut bench = Bench::announced(V4, facts());
    for at in [1_000, 2_000] {
        bench.run_to(at);
        bench.hear(&announcement(0x10, V4));
    }
    // Another machine's claims in between hide nothing.
    bench.hear(&announcement(0x66, V4));
    assert_eq!(bench.announcer.state(), VipState::Announced);
    bench.run_to(3_000);
    bench.hear(&announcement(0x10, V4));
    assert_eq!(bench.announcer.state(), VipState::Conflict);
    bench.sent.clear();
    bench.run_to(32_999);
    assert_eq!(bench.sent, [], "nothing is said meanwhile");
    bench.run_to(33_000);
    assert_eq!(bench.times(&probe(OURS, V4)), [33_000]);
}

#[rstest]
#[case(V4.into(), "rs1 answers ARP for the VIP: set arp_ignore=1 and arp_announce=2 there (kube-proxy in ipvs mode: strictARP)")]
#[case(
    V6.into(),
    "rs1 answers neighbour solicitation for the VIP: put the VIP on lo or a dummy interface there"
)]
fn a_real_that_claims_is_named_and_never_gets_the_vip(#[case] vip: IpAddr, #[case] says: &str) {
    assert!(mac(REAL) < mac(OURS), "it would win if it were a peer");
    let mut bench = Bench::announced(vip, facts());
    for second in 1..20 {
        bench.run_to(second * 1_000);
        bench.hear(&announcement(REAL, vip));
    }
    assert_eq!(bench.announcer.state(), VipState::Announced);
    assert_eq!(bench.news().note.as_deref(), Some(says));
    assert_eq!(bench.news().claimed_by, Some(mac(REAL)));
    assert!(
        bench.times(&announcement(OURS, vip)).len() >= 19,
        "defended each time"
    );

    // Found at start it keeps us from taking an address in use, and the reason is the same.
    let mut bench = Bench::new(vip, facts());
    bench.hear(&announcement(REAL, vip));
    assert_eq!(bench.announcer.state(), VipState::Conflict);
    let expected = format!("{says} (not announced, tried again every 30 s)");
    assert_eq!(bench.news().note, Some(expected));
}

#[test]
fn a_claim_against_the_kernels_address_is_told_and_defended() {
    let mut bench = Bench::new(
        V4,
        Facts {
            ownership: Ownership::Kernel,
            ..facts()
        },
    );
    bench.run_to(6_000);
    bench.sent.clear();
    for second in 6..12 {
        bench.run_to(second * 1_000);
        bench.hear(&announcement(0x10, V4));
    }
    assert_eq!(bench.announcer.state(), VipState::Owned);
    assert_eq!(bench.news().conflicts, 6);
    assert_eq!(bench.times(&announcement(OURS, V4)).len(), 6);
}

#[test]
fn a_new_mac_is_announced_at_once() {
    let mut bench = Bench::announced(V4, facts());
    bench.set(Facts {
        mac: mac(0x51),
        ..facts()
    });
    assert_eq!(bench.announcer.state(), VipState::Announced);
    assert_eq!(bench.times(&announcement(0x51, V4)), [900; 5]);
}

#[test]
fn news_of_a_state_comes_at_once_and_of_counts_once_a_second() {
    let mut out = Vec::new();
    let mut announcer = Announcer::new(V4.into(), facts(), Tick(0), &mut out);
    let first = announcer.news(Tick(0)).unwrap();
    assert_eq!(first.state, VipState::Probing);
    assert_eq!(announcer.news(Tick(0)), None);
    for at in [200, 400, 800] {
        announcer.tick(Tick(at), &mut out);
    }
    assert_eq!(
        announcer.news(Tick(800)).unwrap().state,
        VipState::Announced
    );
    let frame = announcement(0x66, V4);
    let claim = parse(&frame).unwrap();
    let mut told = 0;
    for at in 801..3_801 {
        announcer.hear(&claim, Tick(at), &mut out);
        told += usize::from(announcer.news(Tick(at)).is_some());
    }
    assert_eq!(told, 3);
}
