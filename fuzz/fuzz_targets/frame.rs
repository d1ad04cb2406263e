//! Any frame: parsing ends with an answer that keeps its promises, and direct routing changes the
//! two MAC addresses and nothing else. The first two bytes are the segment size, 0 for most.
#![no_main]

use lbcore::net::packet::{Subject, parse};
use lbcore::net::{FrameMeta, MacAddr, rewrite};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&gso_size, frame)) = data.split_first_chunk() else {
        return;
    };
    let meta = FrameMeta {
        gso_size: u16::from_le_bytes(gso_size),
        ..FrameMeta::default()
    };
    let parsed = parse(frame, &meta);
    match parsed {
        Ok(packet) => {
            assert!(packet.segments >= 1);
            let counted = packet.wire_bytes > 0;
            assert_eq!(counted, packet.subject != Subject::Other);
            if packet.segments == 1 {
                assert!(packet.wire_bytes <= frame.len() as u64);
            }
        }
        Err(fault) => assert!(fault.destination.is_none() || frame.len() >= 34),
    }
    if meta.gso_size == 0 && frame.len() >= 18 && parsed.is_ok() {
        let padded = [frame, &[0xff; 9]].concat();
        assert_eq!(parse(&padded, &meta), parsed, "padding made a difference");
    }
    let mut sent = frame.to_vec();
    rewrite::direct_route(&mut sent, MacAddr::broadcast(), MacAddr::zero());
    assert_eq!(sent.get(12..), frame.get(12..));
    assert_eq!(sent.len(), frame.len());
});
