//! The packet path allocates nothing: not for a known flow, not for a new one, not for a flow the
//! table has no room for.

#[path = "../benches/rig/mod.rs"]
mod rig;

use rig::{Rig, frame};

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;

fn allocations(mut work: impl FnMut()) -> u64 {
    allocation_counter::measure(&mut work).count_total
}

#[test]
fn the_director_allocates_nothing() {
    assert!(
        allocations(|| drop(std::hint::black_box(vec![1u8]))) > 0,
        "the counter counts"
    );
    let mut rig = Rig::new(4096);
    let mut flows = |flows: u32, flags: u8, v6: bool| {
        allocations(|| {
            for n in 0..flows {
                rig.packet(&mut frame(n, flags, v6));
            }
        })
    };
    for v6 in [false, true] {
        assert_eq!(flows(1000, SYN, v6), 0, "new flows, v6: {v6}");
        assert_eq!(flows(1000, ACK, v6), 0, "known flows, v6: {v6}");
    }
    assert_eq!(flows(20_000, SYN, false), 0, "a full table");
}

#[test]
fn proxy_headers_allocate_nothing() {
    use lbcore::net::Protocol;
    use lbcore::proxyproto::{Reading, read, write_v1, write_v2};
    use std::net::SocketAddr;

    for ends in [
        ["198.51.100.7:40001", "192.0.2.10:443"],
        ["[2001:db8:1::7]:40001", "[2001:db8::10]:443"],
    ] {
        let [client, server]: [SocketAddr; 2] = ends.map(|end| end.parse().expect("an address"));
        let count = allocations(|| {
            for header in [
                write_v1(client, server),
                write_v2(client, server, Protocol::Tcp),
            ] {
                let reading = read(&header, Protocol::Tcp);
                assert!(matches!(reading, Ok(Reading::Done { .. })));
            }
        });
        assert_eq!(count, 0, "{client}");
    }
}
