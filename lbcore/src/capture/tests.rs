#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

/// A frame as a test writes and reads it: when, what was captured, and its length on the wire.
type Taken = (Duration, Vec<u8>, usize);

fn frames() -> Vec<Taken> {
    let at = |seconds: u64, nanos| Duration::new(1_700_000_000 + seconds, nanos);
    vec![
        (at(0, 123_456_000), vec![1; 60], 60),
        (at(0, 999_999_000), vec![2; 61], 1514),
        (at(5, 0), vec![3; 14], 14),
    ]
}

fn word(order: Order, word: u32) -> [u8; 4] {
    match order {
        Order::Little => word.to_le_bytes(),
        Order::Big => word.to_be_bytes(),
    }
}

fn half(order: Order, half: u16) -> [u8; 2] {
    match order {
        Order::Little => half.to_le_bytes(),
        Order::Big => half.to_be_bytes(),
    }
}

fn pcap(order: Order, nanoseconds: bool, link: u32, frames: &[Taken]) -> Vec<u8> {
    let magic = if nanoseconds {
        0xa1b2_3c4d
    } else {
        0xa1b2_c3d4
    };
    let mut file = word(order, magic).to_vec();
    file.extend(half(order, 2));
    file.extend(half(order, 4));
    for field in [0, 0, 262_144, link] {
        file.extend(word(order, field));
    }
    for (at, bytes, length) in frames {
        let part = at.subsec_nanos() / if nanoseconds { 1 } else { 1000 };
        for field in [
            at.as_secs() as u32,
            part,
            bytes.len() as u32,
            *length as u32,
        ] {
            file.extend(word(order, field));
        }
        file.extend(bytes);
    }
    file
}

fn block(order: Order, kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let length = word(order, body.len() as u32 + 12);
    [&word(order, kind)[..], &length, &body, &length].concat()
}

fn section(order: Order) -> Vec<u8> {
    let rest = [&half(order, 1)[..], &half(order, 0), &[0xff; 8]].concat();
    block(
        order,
        0x0a0d_0d0a,
        &[&word(order, 0x1a2b_3c4d)[..], &rest].concat(),
    )
}

/// An interface with this time resolution and offset.
fn interface(order: Order, link: u16, resolution: u8, offset: i64) -> Vec<u8> {
    let offset = match order {
        Order::Little => offset.to_le_bytes(),
        Order::Big => offset.to_be_bytes(),
    };
    let option = |code, value: &[u8]| {
        let mut option = [
            &half(order, code)[..],
            &half(order, value.len() as u16),
            value,
        ]
        .concat();
        option.resize(option.len().next_multiple_of(4), 0);
        option
    };
    let body = [
        &half(order, link)[..],
        &[0, 0],
        &word(order, 0),
        &option(2, b"eth0"),
        &option(9, &[resolution]),
        &option(14, &offset),
        &option(0, b""),
    ];
    block(order, 1, &body.concat())
}

fn enhanced(order: Order, number: u32, units: u64, bytes: &[u8], length: usize) -> Vec<u8> {
    let mut body = Vec::new();
    let fields = [
        number,
        (units >> 32) as u32,
        units as u32,
        bytes.len() as u32,
        length as u32,
    ];
    for field in fields {
        body.extend(word(order, field));
    }
    body.extend(bytes);
    block(order, 6, &body)
}

fn pcapng(order: Order, frames: &[Taken]) -> Vec<u8> {
    let mut file = section(order);
    // A resolution of 2^-30 s, and an hour's offset.
    file.extend(interface(order, 1, 0x80 | 30, 3600));
    file.extend(block(order, 5, b"statistics are passed over"));
    for (at, bytes, length) in frames {
        let units = (u128::from(at.as_secs() - 3600) << 30)
            + (u128::from(at.subsec_nanos()) << 30).div_ceil(1_000_000_000);
        file.extend(enhanced(order, 0, units as u64, bytes, *length));
    }
    file
}

/// Everything a file holds, and how it ends.
fn read(file: &[u8]) -> (Vec<Taken>, Option<CaptureError>) {
    let mut taken = Vec::new();
    let mut reader = match Reader::new(file) {
        Ok(reader) => reader,
        Err(error) => return (taken, Some(error)),
    };
    loop {
        match reader.next_frame() {
            Ok(Some(frame)) => taken.push((frame.at, frame.bytes.to_vec(), frame.length)),
            Ok(None) => return (taken, None),
            Err(error) => return (taken, Some(error)),
        }
    }
}

#[test]
fn every_format_and_byte_order_gives_the_same_frames() {
    for order in [Order::Little, Order::Big] {
        for file in [
            pcap(order, false, 1, &frames()),
            pcap(order, true, 1, &frames()),
            pcapng(order, &frames()),
        ] {
            let (taken, error) = read(&file);
            assert!(error.is_none(), "{error:?}");
            assert_eq!(taken, frames(), "{order:?}");
        }
    }
}

#[test]
fn sections_of_different_order_follow_each_other() {
    let file = [
        pcapng(Order::Little, &frames()[..1]),
        pcapng(Order::Big, &frames()[1..]),
    ];
    assert_eq!(read(&file.concat()).0, frames());
}

#[test]
fn simple_and_obsolete_packets_are_read() {
    let order = Order::Big;
    let obsolete = [
        &half(order, 0)[..],
        &half(order, 7),
        &word(order, 0),
        &word(order, 2_500_000),
        &word(order, 5),
        &word(order, 9),
        b"after",
    ];
    let simple = [&word(order, 3)[..], b"one"];
    let file = [
        section(order),
        interface(order, 1, 6, 0),
        block(order, 2, &obsolete.concat()),
        block(order, 3, &simple.concat()),
    ];
    let at = Duration::from_micros(2_500_000);
    let expected = vec![(at, b"after".to_vec(), 9), (at, b"one".to_vec(), 3)];
    assert_eq!(read(&file.concat()).0, expected);
}

#[test]
fn cooked_frames_get_an_ethernet_header() {
    let payload = [0x45; 20];
    let mac = [2, 0, 0, 0, 0, 7];
    let sll = |kind: u16| {
        [
            &kind.to_be_bytes()[..],
            &[0, 1, 0, 6],
            &mac,
            &[0, 0, 8, 0],
            &payload,
        ]
        .concat()
    };
    let sll2 = |kind: u8| {
        let head = [8, 0, 0, 0, 0, 0, 0, 3, 0, 1, kind, 6];
        [&head[..], &mac, &[0, 0], &payload].concat()
    };
    for (link, bytes, to) in [
        (113, sll(0), To::Us),
        (113, sll(4), To::Others),
        (276, sll2(0), To::Us),
        (276, sll2(3), To::Others),
    ] {
        let header = bytes.len() - payload.len();
        let file = pcap(
            Order::Little,
            false,
            link,
            &[(Duration::ZERO, bytes, header + 1400)],
        );
        let mut reader = Reader::new(&file[..]).unwrap();
        let frame = reader.next_frame().unwrap().unwrap();
        let expected = [&[0; 6][..], &mac, &[8, 0], &payload].concat();
        assert_eq!(
            (frame.bytes, frame.to, frame.length),
            (&expected[..], to, 1414),
            "{link}"
        );
    }
}

#[test]
fn what_is_no_capture_or_of_another_link_is_refused_with_the_reason() {
    let said = |file: &[u8]| read(file).1.map(|e| e.to_string()).unwrap_or_default();
    assert_eq!(said(b""), "neither a pcap nor a pcapng file");
    assert_eq!(
        said(b"GIF89a, not a capture"),
        "neither a pcap nor a pcapng file"
    );
    let tunnel = said(&pcap(Order::Little, false, 101, &frames()));
    assert!(
        tunnel.contains("link type 101 (IP without a link header"),
        "{tunnel}"
    );
    let order = Order::Little;
    let nowhere = [section(order), enhanced(order, 1, 0, b"x", 1)].concat();
    assert!(
        said(&nowhere).contains("damaged at byte 28"),
        "{}",
        said(&nowhere)
    );
    let endless = [&pcap(order, false, 1, &[])[..], &[0xff; 64]].concat();
    assert!(
        said(&endless).contains("damaged at byte 24"),
        "{}",
        said(&endless)
    );
    let mut lying = pcapng(order, &frames());
    let last = lying.len() - 1;
    lying[last] ^= 1;
    assert!(
        said(&lying).contains("contradicts itself"),
        "{}",
        said(&lying)
    );
}

#[test]
fn a_reader_that_gives_a_byte_at_a_time_changes_nothing() {
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            let most = buf.len().min(1);
            self.0.read(&mut buf[..most])
        }
    }
    let file = pcapng(Order::Big, &frames());
    let mut reader = Reader::new(Slow(&file)).unwrap();
    for (at, bytes, length) in frames() {
        let frame = reader.next_frame().unwrap().unwrap();
        assert_eq!(
            (frame.at, frame.bytes, frame.length),
            (at, &bytes[..], length)
        );
    }
    assert!(reader.next_frame().unwrap().is_none());
}

fn any_file() -> impl Strategy<Value = Vec<u8>> {
    let order = prop_oneof![Just(Order::Little), Just(Order::Big)];
    (order, 0..3).prop_map(|(order, kind)| match kind {
        0 => pcap(order, false, 1, &frames()),
        1 => pcap(order, true, 276, &frames()),
        _ => pcapng(order, &frames()),
    })
}

proptest! {
    /// Whatever comes, reading ends with an answer, and a frame is never longer than it says.
    #[test]
    fn nothing_panics(
        file in any_file(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        rest in prop::collection::vec(any::<u8>(), 0..64),
    ) {
        let mut file = file;
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.extend(rest);
        for (_, bytes, length) in read(&file).0 {
            prop_assert!(bytes.len() <= length);
        }
    }

    /// A file cut anywhere gives the frames before the cut, and says that it was cut.
    #[test]
    fn what_stands_before_a_cut_is_read(file in any_file(), at in any::<prop::sample::Index>()) {
        let whole = read(&file).0;
        let cut = &file[..at.index(file.len())];
        let (taken, error) = read(cut);
        prop_assert_eq!(&taken[..], &whole[..taken.len()]);
        let told = matches!(error, None | Some(CaptureError::CutOff { .. } | CaptureError::Unknown));
        prop_assert!(told, "{:?}", error);
    }
}
