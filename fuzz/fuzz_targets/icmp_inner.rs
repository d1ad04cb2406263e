//! Any quotation in an ICMP error: what comes out is a flow of the address the error went to. The
//! first byte chooses the IP version and the ICMP type.
#![no_main]

use lbcore::net::packet::{Subject, parse};
use lbcore::net::{Addr, FrameMeta};
use libfuzzer_sys::fuzz_target;

const VIP4: [u8; 4] = [192, 0, 2, 10];
const VIP6: [u8; 16] = [0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10];

fuzz_target!(|data: &[u8]| {
    let Some((&kind, quotation)) = data.split_first() else {
        return;
    };
    let Ok(length) = u16::try_from(quotation.len() + 28) else {
        return;
    };
    let icmp = [&[kind >> 1, 0, 0, 0, 0, 0, 5, 120], quotation].concat();
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 254];
    let vip = if kind & 1 == 0 {
        frame.extend([0x08, 0x00, 0x45, 0]);
        frame.extend(length.to_be_bytes());
        frame.extend([0, 1, 0x40, 0, 64, 1, 0, 0, 203, 0, 113, 1]);
        frame.extend(VIP4);
        Addr::v4(VIP4)
    } else {
        frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        frame.extend((length - 20).to_be_bytes());
        frame.extend([
            58, 64, 0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1,
        ]);
        frame.extend(VIP6);
        Addr::v6(VIP6)
    };
    frame.extend(icmp);
    match parse(&frame, &FrameMeta::default()) {
        Ok(packet) => match packet.subject {
            Subject::IcmpError { key } => {
                assert_eq!(key.service.vip, vip);
                assert_eq!(key.client.is_v4(), vip.is_v4());
            }
            Subject::Other => {}
            Subject::Flow { .. } => panic!("an ICMP error is no packet of a flow"),
        },
        Err(fault) => assert_eq!(fault.destination, Some(vip)),
    }
});
