//! Any bytes as the beginning of a connection, or as a datagram, that should tell its client in a
//! PROXY header. The first byte chooses the transport. More bytes never change an answer, none is
//! waited for in vain, and what was told reads back when it is written anew.
#![no_main]

use lbcore::net::Protocol;
use lbcore::proxyproto::{MAX_HEADER, Reading, Told, read, write_v1, write_v2};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else {
        return;
    };
    let transport = if kind & 1 == 0 {
        Protocol::Tcp
    } else {
        Protocol::Udp
    };
    let whole = read(bytes, transport);
    // As they would arrive, asked for piece by piece.
    let mut got = 0;
    let stepwise = loop {
        match read(&bytes[..got], transport) {
            Ok(Reading::NeedMore { at_least }) => {
                assert!(got < at_least && at_least <= MAX_HEADER);
                if at_least > bytes.len() {
                    break whole;
                }
                got = at_least;
            }
            Ok(Reading::Done { header_len, told }) => {
                assert_eq!(header_len, got, "took bytes of the client's own");
                break Ok(Reading::Done { header_len, told });
            }
            Err(_) => {
                assert!(whole.is_err());
                return;
            }
        }
    };
    assert_eq!(whole, stepwise);
    let Ok(Reading::Done { header_len, told }) = whole else {
        return;
    };
    for len in 0..header_len {
        let reading = read(&bytes[..len], transport);
        assert!(matches!(reading, Ok(Reading::NeedMore { at_least }) if at_least <= header_len));
    }
    let Told::Addresses {
        client,
        destination,
    } = told
    else {
        return;
    };
    let line = (transport == Protocol::Tcp).then(|| write_v1(client, destination));
    for again in line
        .into_iter()
        .chain([write_v2(client, destination, transport)])
    {
        let header_len = again.len();
        let reading = read(&again, transport);
        assert_eq!(reading, Ok(Reading::Done { header_len, told }));
    }
});
