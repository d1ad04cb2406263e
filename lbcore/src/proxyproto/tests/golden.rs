//! Bytes of others: the specification's examples, and what HAProxy 2.6.12 sent (`send-proxy`,
//! `send-proxy-v2`, and that with `proxy-v2-options crc32c,unique-id` and `check`).

use super::*;

const CLIENT4: &str = "198.51.100.7:40001";
const VIP4: &str = "192.0.2.10:443";
const CLIENT6: &str = "[2001:db8:1::7]:40002";
const VIP6: &str = "[2001:db8::10]:443";

const HAPROXY_TCP4: &[u8] =
    b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00\x0c\xc63d\x07\xc0\x00\x02\n\x9cA\x01\xbb";
const HAPROXY_TCP6: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n!!\x00$\
     \x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\
     \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x9cB\x01\xbb";
const HAPROXY_TCP4_FIELDS: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n!\x11\x00(\
     \xc63d\x07\xc0\x00\x02\n\x9cA\x01\xbb\x03\x00\x04\xb6XI\x8c\x05\x00\x12198.51.100.7-40001";
const HAPROXY_TCP6_FIELDS: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n!!\x00A\
     \x20\x01\x0d\xb8\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\
     \x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10\x9cB\x01\xbb\
     \x03\x00\x04T\xfc\x0b\xab\x05\x00\x132001:db8:1::7-40002";
const HAPROXY_CHECK: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n \x00\x00\x07\x03\x00\x04\xa9\xb8~\x8f";

/// Every header of this page, for the laws about prefixes.
pub(super) const HEADERS: &[&[u8]] = &[
    b"PROXY UNKNOWN\r\n",
    b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n",
    b"PROXY TCP6 2001:db8:1::7 2001:db8::10 40004 80\r\n",
    WORST_UNKNOWN,
    HAPROXY_TCP4,
    HAPROXY_TCP6,
    HAPROXY_TCP4_FIELDS,
    HAPROXY_TCP6_FIELDS,
    HAPROXY_CHECK,
];

const WORST_TCP4: &[u8] = b"PROXY TCP4 255.255.255.254 255.255.255.255 65535 65535\r\n";
const WORST_TCP6: &[u8] = b"PROXY TCP6 feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
      ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";
const WORST_UNKNOWN: &[u8] = b"PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff \
      ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n";

#[test]
fn the_examples_of_the_specification() {
    let line = b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n";
    let told = from("192.168.0.1:56324", "192.168.0.11:443");
    assert_eq!(read(line, Tcp), done(line.len(), told));
    assert_eq!(
        write_v1(at("192.168.0.1:56324"), at("192.168.0.11:443")).as_slice(),
        line
    );
    let request = [&line[..], b"GET / HTTP/1.1\r\nHost: 192.168.0.11\r\n\r\n"].concat();
    assert_eq!(read(&request, Tcp), done(line.len(), told));
    assert_eq!(read(b"PROXY UNKNOWN\r\n", Tcp), done(15, Told::Unknown));

    // "The maximum line lengths".
    let told = from("255.255.255.254:65535", "255.255.255.255:65535");
    assert_eq!(read(WORST_TCP4, Tcp), done(56, told));
    let told = from(
        "[feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
        "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535",
    );
    assert_eq!(read(WORST_TCP6, Tcp), done(104, told));
    assert_eq!(read(WORST_UNKNOWN, Tcp), done(107, Told::Unknown));
}

#[test]
fn haproxy_reads_as_it_was_meant() {
    let four = from(CLIENT4, VIP4);
    let six = from(CLIENT6, VIP6);
    for (header, told) in [
        (HAPROXY_TCP4, four),
        (HAPROXY_TCP4_FIELDS, four),
        (HAPROXY_TCP6, six),
        (HAPROXY_TCP6_FIELDS, six),
        (HAPROXY_CHECK, Told::Local),
    ] {
        assert_eq!(read(header, Tcp), done(header.len(), told));
    }
}

#[test]
fn lbd_writes_what_haproxy_writes() {
    let line = b"PROXY TCP4 198.51.100.7 192.0.2.10 40003 80\r\n";
    let written = write_v1(at("198.51.100.7:40003"), at("192.0.2.10:80"));
    assert_eq!(written.as_slice(), line);
    let line = b"PROXY TCP6 2001:db8:1::7 2001:db8::10 40004 80\r\n";
    let written = write_v1(at("[2001:db8:1::7]:40004"), at("[2001:db8::10]:80"));
    assert_eq!(written.as_slice(), line);

    let written = write_v2(at(CLIENT4), at(VIP4), Tcp);
    assert_eq!(written.as_slice(), HAPROXY_TCP4);
    let written = write_v2(at(CLIENT6), at(VIP6), Tcp);
    assert_eq!(written.as_slice(), HAPROXY_TCP6);
}

#[test]
fn a_datagram_says_so() {
    let header = write_v2(at(CLIENT4), at(VIP4), Udp);
    assert_eq!(header[13], 0x12);
    assert_eq!(read(&header, Udp), done(28, from(CLIENT4, VIP4)));
    let header = write_v2(at(CLIENT6), at(VIP6), Udp);
    assert_eq!(header[13], 0x22);
    assert_eq!(read(&header, Udp), done(52, from(CLIENT6, VIP6)));
}

#[test]
fn families_that_differ_meet_in_ipv6() {
    let line = write_v1(at(CLIENT4), at(VIP6));
    assert_eq!(
        line.as_slice(),
        b"PROXY TCP6 ::ffff:c633:6407 2001:db8::10 40001 443\r\n"
    );
    let told = from(CLIENT4, VIP6);
    assert_eq!(read(&line, Tcp), done(line.len(), told));
    let header = write_v2(at(CLIENT4), at(VIP6), Tcp);
    assert_eq!(header[13..16], [0x21, 0, 36]);
    assert_eq!(read(&header, Tcp), done(52, told));

    // As a socket for both families says it.
    let line = write_v1(at("[::ffff:198.51.100.7]:40001"), at(VIP4));
    assert_eq!(line, write_v1(at(CLIENT4), at(VIP4)));
    // As others write it.
    let line = b"PROXY TCP6 ::ffff:198.51.100.7 2001:db8::10 40001 443\r\n";
    assert_eq!(read(line, Tcp), done(line.len(), told));
    // Written as hexadecimal groups, however small.
    let line = write_v1(at("[::102:304]:1"), at("[::1]:2"));
    assert_eq!(line.as_slice(), b"PROXY TCP6 ::102:304 ::1 1 2\r\n");
}

#[test]
fn the_real_endpoints_count_for_what_is_no_ip_connection() {
    let unix = [0x2f; 216];
    let udp6 = [1; 36];
    for (header, told) in [
        (binary(0x20, 0x00, &[]), Told::Local),
        // Whatever a health check says besides is ignored.
        (binary(0x20, 0x11, INET), Told::Local),
        (binary(0x20, 0x12, &[]), Told::Local),
        (
            binary(0x20, 0xff, b"\x03\x00\x04spam and more"),
            Told::Local,
        ),
        (binary(0x21, 0x00, &[]), Told::Unknown),
        (binary(0x21, 0x00, b"\x04\x00\x02ok"), Told::Unknown),
        // Of these nobody knows where the addresses end.
        (binary(0x21, 0x01, b"\xff"), Told::Unknown),
        (binary(0x21, 0x02, b"\xff"), Told::Unknown),
        (binary(0x21, 0x10, b"\xff"), Told::Unknown),
        (binary(0x21, 0x20, &udp6), Told::Unknown),
        (binary(0x21, 0x30, &unix), Told::Unknown),
        (binary(0x21, 0x31, &unix), Told::Unknown),
        (b"PROXY UNKNOWN \r\n".to_vec(), Told::Unknown),
        (b"PROXY UNKNOWN 1 \0\xff 02\r\n".to_vec(), Told::Unknown),
    ] {
        assert_eq!(read(&header, Tcp), done(header.len(), told), "{header:x?}");
    }
    let datagram = binary(0x21, 0x32, &unix);
    assert_eq!(read(&datagram, Udp), done(232, Told::Unknown));
}

#[test]
fn fields_are_walked_and_passed_over() {
    let told = from(CLIENT4, VIP4);
    // A virtual private endpoint of AWS, a link of Azure, padding, and an empty one.
    let fields = b"\xea\x00\x17\x01vpce-08d2bf15fac5001c9\xee\x00\x05\x01\x04\x03\x02\x01\
        \x04\x00\x03\0\0\0\xff\x00\x00";
    let header = with_fields(fields);
    assert_eq!(read(&header, Tcp), done(header.len(), told));

    let room = MAX_HEADER - 16 - INET.len() - 3;
    let long = [&b"\x28"[..], &(room as u16).to_be_bytes(), &vec![7; room]].concat();
    let header = with_fields(&long);
    assert_eq!(header.len(), MAX_HEADER);
    assert_eq!(read(&header, Tcp), done(MAX_HEADER, told));
}
