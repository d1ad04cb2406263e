//! ICMP errors about packets that a real sent to the client.

use super::frames::*;
use super::*;

/// An IPv4 error from a router on the way, quoting `packet`.
fn error4(kind: u8, packet: &[u8]) -> Vec<u8> {
    let body = [&[kind, 4, 0, 0, 0, 0, 5, 120][..], packet].concat();
    ethernet(
        0x0800,
        &ipv4_packet(Addr::v4([203, 0, 113, 1]), VIP4, 1, &body),
    )
}

fn error6(kind: u8, packet: &[u8]) -> Vec<u8> {
    let mut router = CLIENT6.octets();
    router[15] = 1;
    let body = [&[kind, 0, 0, 0, 0, 0, 5, 120][..], packet].concat();
    ethernet(0x86dd, &ipv6_packet(Addr::v6(router), VIP6, 58, &body))
}

/// The start of what the real sent: from the VIP's port to the client's.
fn sent4(protocol: u8) -> Vec<u8> {
    ipv4_packet(
        VIP4,
        CLIENT4,
        protocol,
        &[&ports(443, 40_000)[..], &[0; 4]].concat(),
    )
}

fn sent6(next: u8) -> Vec<u8> {
    ipv6_packet(
        VIP6,
        CLIENT6,
        next,
        &[&ports(443, 40_000)[..], &[0; 4]].concat(),
    )
}

/// T50: an error belongs to the flow it speaks of, which is found with the client's key.
#[test]
fn errors_belong_to_the_flow_they_quote() {
    for kind in [3, 11, 12] {
        let packet = parsed(&error4(kind, &sent4(TCP))).unwrap();
        assert_eq!(
            packet.subject,
            Subject::IcmpError {
                key: key4(Protocol::Tcp)
            }
        );
        assert_eq!((packet.wire_bytes, packet.segments), (20 + 8 + 28, 1));
    }
    let udp = parsed(&error4(3, &sent4(UDP))).unwrap();
    assert_eq!(
        udp.subject,
        Subject::IcmpError {
            key: key4(Protocol::Udp)
        }
    );
    for kind in 1..=4 {
        let packet = parsed(&error6(kind, &sent6(TCP))).unwrap();
        assert_eq!(
            packet.subject,
            Subject::IcmpError {
                key: key6(Protocol::Tcp)
            }
        );
    }
    // The client itself answers "port unreachable".
    let mut from_client = error4(3, &sent4(UDP));
    patch(&mut from_client, 14 + 12, &CLIENT4.octets()[12..]);
    assert_eq!(parsed(&from_client).unwrap().subject, udp.subject);
}

/// T50: the quotation may hold options, extension headers, or a first fragment.
#[test]
fn quotations_in_other_shapes() {
    let mut options = ipv4_packet(
        VIP4,
        CLIENT4,
        UDP,
        &[&[1; 4][..], &ports(443, 40_000), &[0; 4]].concat(),
    );
    options[0] = 0x46;
    let key = Subject::IcmpError {
        key: key4(Protocol::Udp),
    };
    assert_eq!(parsed(&error4(3, &options)).unwrap().subject, key);

    let mut first = sent4(UDP);
    patch(&mut first, 6, &[0x20, 0]);
    assert_eq!(parsed(&error4(3, &first)).unwrap().subject, key);

    for number in [60, 44] {
        let behind = [
            &[UDP, 0, 0, 0, 0, 0, 0, 0][..],
            &ports(443, 40_000),
            &[0; 4],
        ]
        .concat();
        let packet = parsed(&error6(2, &ipv6_packet(VIP6, CLIENT6, number, &behind))).unwrap();
        let key = key6(Protocol::Udp);
        assert_eq!(
            packet.subject,
            Subject::IcmpError { key },
            "behind {number}"
        );
    }
}

/// T50: truncated or made-up quotations are malformed, a later fragment shows no flow.
#[test]
fn bad_quotations() {
    for length in 0..28 {
        assert!(is_malformed(&error4(3, &sent4(TCP)[..length])), "{length}");
    }
    for length in 0..48 {
        assert!(is_malformed(&error6(2, &sent6(TCP)[..length])), "{length}");
    }
    let cut_in_its_header = ethernet(0x0800, &ipv4_packet(CLIENT4, VIP4, 1, &[3, 4, 0]));
    assert!(is_malformed(&cut_in_its_header));

    let other_sender = ipv4_packet(Addr::v4([192, 0, 2, 11]), CLIENT4, TCP, &ports(443, 40_000));
    assert!(is_malformed(&error4(3, &other_sender)));
    let no_client = ipv4_packet(VIP4, Addr::v4([127, 0, 0, 1]), TCP, &[0; 8]);
    assert!(is_malformed(&error4(3, &no_client)));

    let mut later = sent4(UDP);
    patch(&mut later, 6, &[0, 185]);
    assert_eq!(reason(&error4(3, &later)), Reason::Fragment);
    let later = ipv6_packet(
        VIP6,
        CLIENT6,
        44,
        &[UDP, 0, 5, 0xa9, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert_eq!(reason(&error6(2, &later)), Reason::Fragment);

    let mut martian = error4(3, &sent4(TCP));
    patch(&mut martian, 14 + 12, &[127, 0, 0, 1]);
    assert_eq!(reason(&martian), Reason::Martian);
}

/// T50: quotations of other protocols, source quench and redirects are not ours.
#[test]
fn errors_about_nothing_of_ours() {
    for frame in [error4(3, &sent4(1)), error6(1, &sent6(58))] {
        assert_eq!(parsed(&frame).unwrap().subject, Subject::Other);
    }
    for kind in [4, 5] {
        assert_eq!(
            parsed(&error4(kind, &sent4(TCP))).unwrap().subject,
            Subject::Other
        );
    }
    for kind in [5, 127, 137] {
        assert_eq!(
            parsed(&error6(kind, &sent6(TCP))).unwrap().subject,
            Subject::Other
        );
    }
}
