//! What holds for every header, and for any bytes at all.

use super::golden::HEADERS;
use super::*;
use proptest::prelude::*;
use std::net::IpAddr;

/// Half of them of each family, some of the second mapped.
fn address() -> impl Strategy<Value = SocketAddr> {
    let v6 = prop_oneof![
        any::<[u16; 8]>(),
        any::<[u16; 2]>().prop_map(|[a, b]| [0, 0, 0, 0, 0, 0xffff, a, b]),
        any::<[u16; 2]>().prop_map(|[a, b]| [0x2001, 0xdb8, 0, 0, a, 0, 0, b]),
    ];
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        v6.prop_map(IpAddr::from),
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn somebody() -> impl Strategy<Value = SocketAddr> {
    address().prop_filter("nobody's address", |address| {
        let ip = address.ip().to_canonical();
        let broadcast = ip == IpAddr::from([255; 4]);
        !(ip.is_unspecified() || ip.is_multicast() || broadcast)
    })
}

/// Headers as lbd writes them, and as others do: with fields, or of HAProxy.
fn header() -> impl Strategy<Value = Vec<u8>> {
    let ends = || (somebody(), address());
    let field = (4u8.., prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, value)| {
        [&[kind, 0, u8::try_from(value.len()).unwrap()][..], &value].concat()
    });
    let fields = prop::collection::vec(field, 0..6).prop_map(|fields| fields.concat());
    prop_oneof![
        ends().prop_map(|(client, server)| write_v1(client, server).to_vec()),
        ends().prop_map(|(client, server)| write_v2(client, server, Tcp).to_vec()),
        fields.prop_map(|fields| with_fields(&fields)),
        prop::sample::select(HEADERS).prop_map(<[u8]>::to_vec),
    ]
}

/// Anything, most of it nearly a header: some bytes changed, the end cut off or grown.
fn nearly() -> impl Strategy<Value = Vec<u8>> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3);
    let changed = (header(), changes, prop::collection::vec(any::<u8>(), 0..8));
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => "PROXY (TCP4|TCP6|UNKNOWN) [0-9a-f:. \r\n]{0,99}\r\n".prop_map(String::into_bytes),
        6 => changed.prop_map(|(mut bytes, changes, tail)| {
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            bytes.extend(tail);
            bytes
        }),
    ]
}

fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_written_reads_back(
        client in somebody(),
        server in address(),
        data in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let told = Told::Addresses { client: plain(client), destination: plain(server) };
        for (header, transport) in [
            (write_v1(client, server), Tcp),
            (write_v2(client, server, Tcp), Tcp),
            (write_v2(client, server, Udp), Udp),
        ] {
            prop_assert_eq!(read(&header, transport), done(header.len(), told));
            let more = [&header[..], &data].concat();
            prop_assert_eq!(read(&more, transport), done(header.len(), told));
        }
    }

    #[test]
    fn every_beginning_of_a_header_asks_for_more(header in header()) {
        for len in 0..header.len() {
            match read(&header[..len], Tcp) {
                Ok(Reading::NeedMore { at_least }) => {
                    prop_assert!(len < at_least && at_least <= header.len(), "{} of {}", at_least, len);
                }
                other => prop_assert!(false, "{:?} after {} of {}", other, len, header.len()),
            }
        }
        let whole = matches!(read(&header, Tcp), Ok(Reading::Done { header_len, .. }) if header_len == header.len());
        prop_assert!(whole);
    }

    #[test]
    fn who_reads_what_is_asked_for_takes_nothing_of_the_data(header in header()) {
        let stream = [&header[..], b"the client's own"].concat();
        let mut got = 0;
        let header_len = loop {
            match read(&stream[..got], Tcp) {
                Ok(Reading::NeedMore { at_least }) => got = at_least,
                Ok(Reading::Done { header_len, .. }) => break header_len,
                Err(fault) => return Err(TestCaseError::fail(fault.to_string())),
            }
        };
        prop_assert_eq!((got, header_len), (header.len(), header.len()));
    }

    #[test]
    fn more_bytes_never_change_an_answer(bytes in nearly(), udp: bool) {
        let transport = if udp { Udp } else { Tcp };
        let whole = read(&bytes, transport);
        for len in 0..=bytes.len() {
            match read(&bytes[..len], transport) {
                Ok(Reading::NeedMore { at_least }) => {
                    prop_assert!(len < at_least && at_least <= MAX_HEADER);
                    let early = &bytes[..bytes.len().min(at_least - 1)];
                    let done = matches!(read(early, transport), Ok(Reading::Done { .. }));
                    prop_assert!(!done, "done before {at_least} bytes");
                }
                Ok(Reading::Done { header_len, .. }) => {
                    prop_assert!(header_len <= len);
                    prop_assert_eq!(read(&bytes[..len], transport), whole);
                }
                Err(_) => prop_assert!(whole.is_err()),
            }
        }
    }

    #[test]
    fn another_reader_agrees(bytes in nearly()) {
        use proxy_header::{ParseConfig, ProxyHeader};
        let config = ParseConfig { include_tlvs: true, ..ParseConfig::default() };
        let theirs = ProxyHeader::parse(&bytes, config);
        match (read(&bytes, Tcp), theirs) {
            (Ok(Reading::Done { header_len, told }), Ok((header, len))) => {
                prop_assert_eq!(header_len, len);
                let theirs = header.proxied_address();
                let theirs = theirs.map(|ends| (plain(ends.source), plain(ends.destination)));
                let ours = match told {
                    Told::Addresses { client, destination } => Some((client, destination)),
                    Told::Local | Told::Unknown => None,
                };
                prop_assert_eq!(ours, theirs);
            }
            // Of these it refuses families that the specification says to ignore.
            (Ok(Reading::Done { told, .. }), Err(_)) => {
                prop_assert!(matches!(told, Told::Local | Told::Unknown), "only we read {told:?}");
            }
            (Ok(Reading::NeedMore { .. }), Ok(_)) => prop_assert!(false, "only they are done"),
            (Ok(Reading::NeedMore { .. }), Err(_)) | (Err(_), _) => {}
        }
    }
}
