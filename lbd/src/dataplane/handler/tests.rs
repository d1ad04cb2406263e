use super::*;
use crate::live::Source;
use lbcore::flow::FlowTable;
use lbcore::service::fixture::{IFINDEX, OWN_MAC, World};
use std::sync::atomic::AtomicU64;

/// The first segment of a connection from this port to 192.0.2.10:443.
fn syn(port: u16) -> Vec<u8> {
    let mut frame = OWN_MAC.octets().to_vec();
    frame.extend([2, 0, 0, 0, 0, 0x77, 8, 0]);
    frame.extend([0x45, 0, 0, 40, 0, 0, 0x40, 0, 64, 6, 0, 0, 198, 51, 100, 7]);
    frame.extend([192, 0, 2, 10]);
    frame.extend(port.to_be_bytes());
    frame.extend(443u16.to_be_bytes());
    frame.extend([0; 8]);
    frame.extend([0x50, 2, 0xff, 0xff, 0x12, 0x34, 0, 0]);
    frame
}

fn take(packets: &mut Packets, frame: &mut [u8]) {
    let meta = FrameMeta {
        ifindex: IFINDEX,
        ..FrameMeta::default()
    };
    let recognised = packets.recognise(frame, &meta);
    packets.frame(frame, &meta, &recognised);
}

#[test]
fn a_worker_without_frames_forgets_no_flow_of_a_real_that_is_new() {
    let (mut before, mut after) = (World::web("", &[1]), World::web("", &[1, 1]));
    let words = FlowTable::words_for(1024);
    let memory = (0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
    let flows = FlowTable::create(memory.leak(), &before.key).expect("a table");
    let workers = (0..2)
        .map(|n| Arc::new(WorkerShared::new("eth0", 0, n, Source::RawSocket)))
        .collect();
    let live = Arc::new(Live::new(before.key.clone(), flows, workers, 0));
    let worker = |n: usize| Packets::new(live.clone(), live.workers()[n].clone(), n);
    live.publish(before.table());
    let (mut busy, mut idle) = (worker(0), worker(1));
    idle.begin();
    live.publish(after.table());
    busy.begin();
    for port in 1000..1040 {
        take(&mut busy, &mut syn(port));
    }
    assert_eq!(live.flows.len(), 40);
    // Long enough ago for a sweep of the whole table.
    idle.swept = Tick(clock::now().0.saturating_sub(10_000));
    assert!(EXPIRE_AT_ONCE as usize > live.flows.buckets());
    idle.idle();
    assert_eq!(live.flows.len(), 40);
}
