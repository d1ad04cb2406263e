//! Frames byte for byte, and what must not pass for one.

use super::*;

#[test]
fn arp_probe_and_announcement_byte_for_byte() {
    let head = "ffffffffffff 020000000050 0806 0001 0800 06 04 0001 020000000050";
    assert_eq!(
        hex(&probe(OURS, V4)),
        flat(&format!("{head} 00000000 000000000000 c000020a"))
    );
    assert_eq!(
        hex(&announcement(OURS, V4)),
        flat(&format!("{head} c000020a 000000000000 c000020a"))
    );
    assert_eq!(
        hex(&compose::arp_reply(mac(OURS), V4, (mac(CLIENT), CLIENT_V4))),
        flat(
            "020000000099 020000000050 0806 0001 0800 06 04 0002 \
             020000000050 c000020a 020000000099 c0000263"
        )
    );
}

#[test]
fn dad_goes_to_the_solicited_node_group_from_nowhere() {
    assert_eq!(
        hex(&probe(OURS, V6)),
        flat(
            "3333ff123456 020000000050 86dd 60000000 0018 3a ff \
             00000000000000000000000000000000 ff0200000000000000000001ff123456 \
             87 00 e41e 00000000 20010db8000000000000000000123456"
        )
    );
}

#[test]
fn advertisements_are_valid_and_say_who() {
    let all = announcement(OURS, V6);
    assert_eq!(
        hex(&all[..54]),
        flat(
            "333300000001 020000000050 86dd 60000000 0020 3a ff \
             20010db8000000000000000000123456 ff020000000000000000000000000001"
        )
    );
    assert_eq!(
        hex(&all[58..]),
        flat("20000000 20010db8000000000000000000123456 0201 020000000050")
    );
    let one = compose::solicited_advertisement(mac(OURS), V6, (mac(CLIENT), CLIENT_V6));
    assert_eq!(hex(&one[..12]), flat("020000000099 020000000050"));
    assert_eq!(hex(&one[58..62]), flat("60000000"));
    for frame in [all, one] {
        let sliced = etherparse::SlicedPacket::from_ethernet(&frame).unwrap();
        let (Some(etherparse::NetSlice::Ipv6(ip)), Some(etherparse::TransportSlice::Icmpv6(icmp))) =
            (sliced.net, sliced.transport)
        else {
            panic!("ICMPv6");
        };
        assert!(icmp.is_checksum_valid(ip.header().source(), ip.header().destination()));
        let heard = Heard::Advertisement {
            mac: mac(OURS),
            target: V6,
            overrides: true,
        };
        assert_eq!(parse(&frame), Some(heard));
    }
}

#[test]
fn what_we_say_is_what_others_hear() {
    let heard = Heard::Arp {
        to: MacAddr::broadcast(),
        request: true,
        sender: mac(OURS),
        sender_ip: Ipv4Addr::UNSPECIFIED,
        target: V4,
    };
    assert_eq!(parse(&probe(OURS, V4)), Some(heard));
    assert_eq!(
        heard.concerns(),
        [Some(V4.into()), Some(Ipv4Addr::UNSPECIFIED.into())]
    );
    let heard = Heard::Solicitation {
        to: multicast_mac(solicited_node(V6)),
        from: mac(OURS),
        source: Ipv6Addr::UNSPECIFIED,
        target: V6,
    };
    assert_eq!(parse(&probe(OURS, V6)), Some(heard));
    let claim = announcement(OURS, V4);
    assert_eq!(parse(&claim).unwrap().concerns(), [Some(V4.into()), None]);
}

#[test]
fn padding_behind_arp_does_no_harm_and_short_frames_are_none() {
    let mut frame = probe(OURS, V4);
    for length in 0..frame.len() {
        assert_eq!(parse(&frame[..length]), None, "{length} bytes");
    }
    frame.resize(60, 0xaa);
    assert!(parse(&frame).is_some());
    for (at, value) in [
        (15, 6),
        (16, 9),
        (18, 8),
        (19, 16),
        (21, 3),
        (22, 0xff),
        (6, 0xff),
    ] {
        let mut bad = frame.clone();
        bad[at] = value;
        assert_eq!(parse(&bad), None, "byte {at} = {value}");
    }
}

/// The frame with its ICMPv6 checksum made right again.
fn resealed(mut frame: Vec<u8>) -> Vec<u8> {
    let address = |at: usize| {
        let octets: [u8; 16] = frame[at..at + 16].try_into().unwrap();
        Ipv6Addr::from(octets)
    };
    let message = pnet_packet::icmpv6::Icmpv6Packet::new(&frame[54..]).unwrap();
    let sum = pnet_packet::icmpv6::checksum(&message, &address(22), &address(38));
    frame[56..58].copy_from_slice(&sum.to_be_bytes());
    frame
}

#[test]
fn invalid_neighbour_discovery_is_none() {
    let advert = announcement(OURS, V6);
    assert!(parse(&resealed(advert.clone())).is_some());
    for (at, value, what) in [
        (21, 254, "hop limit: it came over a router"),
        (55, 1, "code"),
        (58, 0x60, "solicited, and to a group"),
        (62, 0xff, "a multicast target"),
        (79, 0, "an option of no length"),
        (79, 2, "an option beyond the end"),
        (79, 33, "an option whose length overflows eight bits"),
        (80, 1, "a group as link-layer address"),
        (20, 0, "another next header"),
        (22, 0xff, "a multicast source"),
        (14, 0x40, "another version"),
        (19, 0x40, "longer than the frame"),
    ] {
        let mut frame = advert.clone();
        frame[at] = value;
        assert_eq!(parse(&resealed(frame)), None, "{what}");
    }
    let mut frame = advert;
    frame[70] ^= 1;
    assert_eq!(parse(&frame), None, "checksum");

    let mut frame = probe(OURS, V6);
    frame[53] ^= 1;
    assert_eq!(parse(&resealed(frame)), None, "DAD to another group");
    let mut frame = probe(OURS, V6);
    frame.extend([1, 1, 2, 0, 0, 0, 0, 9]);
    frame[19] += 8;
    assert_eq!(
        parse(&resealed(frame)),
        None,
        "DAD that gives a source link-layer address"
    );
}

#[test]
fn questions_are_those_of_an_ordinary_host() {
    let ask = |own, target| question(mac(OURS), own, target);
    let arp = ask(Some(CLIENT_V4.into()), V4.into());
    let wanted = Heard::Arp {
        to: MacAddr::broadcast(),
        request: true,
        sender: mac(OURS),
        sender_ip: CLIENT_V4,
        target: V4,
    };
    assert_eq!(parse(&arp), Some(wanted));
    let solicitation = ask(Some(CLIENT_V6.into()), V6.into());
    let wanted = Heard::Solicitation {
        to: multicast_mac(solicited_node(V6)),
        from: mac(OURS),
        source: CLIENT_V6,
        target: V6,
    };
    assert_eq!(parse(&solicitation), Some(wanted));
    assert_eq!(
        solicitation[78..],
        [1, 1, 2, 0, 0, 0, 0, OURS],
        "its own MAC, for the answer"
    );
    for (own, target) in [
        (None, V4.into()),
        (Some(CLIENT_V4.into()), V6.into()),
        (Some(CLIENT_V6.into()), V4.into()),
        (None, V6.into()),
    ] {
        assert_eq!(ask(own, target), compose::probe(mac(OURS), target));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn flat(text: &str) -> String {
    text.split_whitespace().collect()
}
