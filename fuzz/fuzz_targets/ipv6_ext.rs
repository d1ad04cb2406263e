//! Any chain of IPv6 extension headers: followed to its end or refused, within the bounds. The
//! first byte is the first next-header number.
#![no_main]

use lbcore::net::packet::{Subject, parse};
use lbcore::net::{Addr, FrameMeta};
use libfuzzer_sys::fuzz_target;

const CLIENT: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7];
const VIP: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

/// Furthest from the IPv6 header that a transport header may begin: the bytes of extension headers
/// that are followed.
const FURTHEST: usize = 256;

fuzz_target!(|data: &[u8]| {
    let Some((&next, chain)) = data.split_first() else {
        return;
    };
    let Ok(length) = u16::try_from(chain.len()) else {
        return;
    };
    let mut frame = vec![
        2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 254, 0x86, 0xdd, 0x60, 0, 0, 0,
    ];
    frame.extend(length.to_be_bytes());
    frame.extend([next, 64]);
    frame.extend(CLIENT);
    frame.extend(VIP);
    frame.extend(chain);
    match parse(&frame, &FrameMeta::default()) {
        Ok(packet) => {
            if let Subject::Flow { key, .. } = packet.subject {
                assert_eq!(
                    (key.client, key.service.vip),
                    (Addr::v6(CLIENT), Addr::v6(VIP))
                );
                let ports = [
                    key.client_port.to_be_bytes(),
                    key.service.port.to_be_bytes(),
                ]
                .concat();
                let shown = chain
                    .windows(4)
                    .take(FURTHEST + 1)
                    .any(|bytes| bytes == ports);
                assert!(shown, "ports from nowhere, or from too far behind");
            }
        }
        Err(fault) => assert_eq!(fault.destination, Some(Addr::v6(VIP))),
    }
});
