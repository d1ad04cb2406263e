//! What is refused, each for its own reason.

use super::*;

#[test]
fn lines() {
    use Malformed::*;
    let long = format!("PROXY UNKNOWN {}", "x".repeat(92));
    let cases: &[(&[u8], Malformed)] = &[
        (b"GET / HTTP/1.1\r\n", NotProxy),
        (b"\x16\x03\x01\x02\x00\x01\x00", NotProxy),
        (b"proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n", NotProxy),
        (b" PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", NotProxy),
        (b"PROXYTCP4 192.0.2.1 192.0.2.2 1 2\r\n", NotProxy),
        (b"PROXY\tTCP4 192.0.2.1 192.0.2.2 1 2\r\n", NotProxy),
        (b"PUT", NotProxy),
        (b"PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n", LineProtocol),
        (b"PROXY TCP5 192.0.2.1 192.0.2.2 1 2\r\n", LineProtocol),
        (b"PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n", LineProtocol),
        (b"PROXY tcp4 192.0.2.1 192.0.2.2 1 2\r\n", LineProtocol),
        (b"PROXY TCP4\r\n", LineProtocol),
        (b"PROXY UNKNOWNS\r\n", LineProtocol),
        (b"PROXY \r\n", LineProtocol),
        (b"PROXY UNKNOWN\r\r\n", LineEnd),
        (b"PROXY UNKNOWN \n", LineEnd),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n", LineEnd),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r ", LineEnd),
        (b"PROXY TCP4 192.0.2.1\r192.0.2.2 1 2\r\n", LineEnd),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n\r\n", LineEnd),
        (b"PROXY TCP4 \r\n", LineFields),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n", LineFields),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n", LineFields),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n", LineFields),
        (b"PROXY TCP4  192.0.2.1 192.0.2.2 1 2\r\n", LineFields),
        (b"PROXY TCP4 192.0.2.1\t192.0.2.2 1 2\r\n", LineFields),
        (b"PROXY TCP4   1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2.01 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 3221225985 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2.1/32 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", LineAddress),
        (
            b"PROXY TCP4 ::ffff:192.0.2.1 192.0.2.2 1 2\r\n",
            LineAddress,
        ),
        (b"PROXY TCP4 192.0.2.\xff 192.0.2.2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2.1 192.0.2.\0 1 2\r\n", LineAddress),
        (b"PROXY TCP6 192.0.2.1 2001:db8::2 1 2\r\n", LineAddress),
        (b"PROXY TCP6 2001:db8:::1 2001:db8::2 1 2\r\n", LineAddress),
        (b"PROXY TCP6 2001::db8::1 2001:db8::2 1 2\r\n", LineAddress),
        (
            b"PROXY TCP6 2001:db8::00001 2001:db8::2 1 2\r\n",
            LineAddress,
        ),
        (b"PROXY TCP6 [2001:db8::1] 2001:db8::2 1 2\r\n", LineAddress),
        (b"PROXY TCP6 fe80::1%eth0 2001:db8::2 1 2\r\n", LineAddress),
        (b"PROXY TCP6 1:2:3:4:5:6:7 2001:db8::2 1 2\r\n", LineAddress),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 00\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 4294967297\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 -2\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\0\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 0x2\r\n", LinePort),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2  2\r\n", LinePort),
        // 106 bytes: no room for a CRLF is left.
        (long.as_bytes(), LineTooLong),
    ];
    for (line, fault) in cases {
        let text = line.escape_ascii();
        assert_eq!(read(line, Tcp), Err(*fault), "{text}");
        let more = [line, &b"\r\nGET / HTTP/1.1\r\n\r\n"[..]].concat();
        assert!(read(&more, Tcp).is_err(), "{text} and more");
    }
    let ends_late = format!("{long}x\r\n");
    assert_eq!(read(ends_late.as_bytes(), Tcp), Err(LineTooLong));
}

#[test]
fn binary_headers() {
    use Malformed::*;
    let mut late = with_fields(&[]);
    late[11] = b'\r';
    let mut huge = with_fields(&[]);
    huge[14..16].copy_from_slice(&[0xff, 0xff]);
    let checksum = |fields: &[u8]| with_fields(&[b"\x03\x00\x04\0\0\0\0", fields].concat());
    let cases = [
        (b"\r\nGET /".to_vec(), NotProxy),
        (b"\r\n\r\n\0\r\nQUIT\r\n".to_vec(), NotProxy),
        (late, NotProxy),
        (binary(0x11, 0x11, INET), Version(1)),
        (binary(0x30, 0x11, INET), Version(3)),
        (binary(0x01, 0x11, INET), Version(0)),
        (binary(0x22, 0x11, INET), Command(2)),
        (binary(0x2f, 0x00, &[]), Command(15)),
        (binary(0x21, 0x41, INET), Family(4)),
        (binary(0x21, 0xf0, INET), Family(15)),
        (binary(0x21, 0x13, INET), Transport(3)),
        (binary(0x21, 0x0f, INET), Transport(15)),
        (binary(0x21, 0x12, INET), OtherTransport(Tcp)),
        (binary(0x21, 0x22, &[1; 36]), OtherTransport(Tcp)),
        (binary(0x21, 0x32, &[1; 216]), OtherTransport(Tcp)),
        (
            binary(0x21, 0x11, &INET[1..]),
            Addresses {
                got: 11,
                needed: 12,
            },
        ),
        (binary(0x21, 0x11, &[]), Addresses { got: 0, needed: 12 }),
        (
            binary(0x21, 0x21, INET),
            Addresses {
                got: 12,
                needed: 36,
            },
        ),
        (
            binary(0x21, 0x31, &[1; 215]),
            Addresses {
                got: 215,
                needed: 216,
            },
        ),
        (binary(0x21, 0x00, &[4]), Field),
        (huge, TooLong(16 + 65_535)),
        (with_fields(&[0; MAX_HEADER - 27]), TooLong(MAX_HEADER + 1)),
        (with_fields(b"\x04"), Field),
        (with_fields(b"\x04\x00"), Field),
        (with_fields(b"\x04\x00\x01"), Field),
        (with_fields(b"\x04\xff\xffok"), Field),
        (with_fields(b"\x04\x00\x02ok\x05\x00\x05four"), Field),
        (with_fields(b"\x03\x00\x03sum"), ChecksumLength(3)),
        (with_fields(b"\x03\x00\x00"), ChecksumLength(0)),
        (checksum(b"\x03\x00\x04\0\0\0\0"), TwoChecksums),
        (checksum(b"\x04\x00"), Field),
    ];
    for (header, fault) in cases {
        assert_eq!(read(&header, Tcp), Err(fault), "{header:x?}");
    }
}

#[test]
fn a_checksum_that_any_changed_bit_breaks() {
    let mut good = with_fields(b"\x03\x00\x04\0\0\0\0\x04\x00\x02ok");
    let Err(Malformed::Checksum { told: 0, found }) = read(&good, Tcp) else {
        panic!("{:?}", read(&good, Tcp));
    };
    let sum = 16 + INET.len() + 3;
    good[sum..sum + 4].copy_from_slice(&found.to_be_bytes());
    assert!(read(&good, Tcp).is_ok());
    // Addresses, ports, the sum, and the padding's content.
    let changeable = (16..28)
        .chain(sum..sum + 4)
        .chain(good.len() - 2..good.len());
    for (byte, bit) in changeable.flat_map(|byte| (0..8).map(move |bit| (byte, bit))) {
        let mut bad = good.clone();
        bad[byte] ^= 1 << bit;
        let reading = read(&bad, Tcp);
        assert!(
            matches!(reading, Err(Malformed::Checksum { .. })),
            "{reading:?}"
        );
    }
}

#[test]
fn datagrams() {
    let line = write_v1(at("192.0.2.1:1"), at("192.0.2.2:2"));
    assert_eq!(read(&line, Udp), Err(Malformed::LineOverUdp));
    assert_eq!(read(b"PROXY UNKNOWN\r\n", Udp), Err(Malformed::LineOverUdp));
    assert_eq!(read(b"hello", Udp), Err(Malformed::NotProxy));
    let stream = with_fields(&[]);
    assert_eq!(read(&stream, Udp), Err(Malformed::OtherTransport(Udp)));
    let cut = write_v2(at("192.0.2.1:1"), at("192.0.2.2:2"), Udp);
    let reading = read(&cut[..27], Udp);
    assert_eq!(reading, Ok(Reading::NeedMore { at_least: 28 }));
}

#[test]
fn nobodys_addresses() {
    for (client, server) in [
        ("0.0.0.0:1", "192.0.2.2:2"),
        ("224.0.0.1:1", "192.0.2.2:2"),
        ("255.255.255.255:1", "192.0.2.2:2"),
        ("[::]:1", "[2001:db8::2]:2"),
        ("[ff02::1]:1", "[2001:db8::2]:2"),
        ("0.0.0.0:1", "[2001:db8::2]:2"),
    ] {
        let (client, server) = (at(client), at(server));
        let nobody = Err(Malformed::Nobody(client.ip()));
        assert_eq!(read(&write_v1(client, server), Tcp), nobody);
        assert_eq!(read(&write_v2(client, server, Tcp), Tcp), nobody);
        assert_eq!(read(&write_v2(client, server, Udp), Udp), nobody);
    }
}
