//! What a trace costs the packet path: nothing while there is none, no allocation for a frame that
//! nobody wants to see, and no more than its queue however fast frames come.
#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../lbcore/benches/rig/mod.rs"]
mod rig;

use lbcore::api::{TraceFilter, Verdict};
use lbcore::config;
use lbcore::flow::FlowTable;
use lbcore::net::{FrameMeta, HashKey, MacAddr};
use lbcore::trace::{Quota, Wanted, suppose};
use lbd::dataplane::Packets;
use lbd::io::FrameHandler;
use lbd::live::{Live, MAX_TAPS, Sighting, Source, Tap, WorkerShared};
use rig::frame;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

const SYN: u8 = 0x02;

const CONFIG: &str = r#"
[network]
interface = "eth0"
[[service]]
name = "web"
vip = "192.0.2.10"
port = 443
protocol = "tcp"
[[service.real]]
address = "192.0.2.21"
[[service.real]]
address = "192.0.2.22"
"#;

fn live() -> Arc<Live> {
    let key = HashKey::new([7; 16]);
    let words = FlowTable::words_for(65_536);
    let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
    let flows = FlowTable::create(memory.leak(), &key).unwrap();
    let worker = Arc::new(WorkerShared::new("eth0", 0, 0, Source::RawSocket));
    let live = Live::new(key.clone(), flows, vec![worker], 0);
    let supposed = suppose(config::parse(CONFIG).unwrap(), key, &[]).unwrap();
    live.publish(supposed.table(MacAddr(2, 0, 0, 0, 0, 1)).unwrap());
    Arc::new(live)
}

/// One batch of first packets of the flows with these numbers; says how often memory was allocated.
fn batch(packets: &mut Packets, ifindex: u32, flows: Range<u32>) -> u64 {
    let meta = FrameMeta {
        ifindex,
        ..FrameMeta::default()
    };
    allocation_counter::measure(|| {
        packets.begin();
        for n in flows {
            let mut frame = frame(n, SYN, false);
            let recognised = packets.recognise(&frame, &meta);
            packets.frame(&mut frame, &meta, &recognised);
        }
        packets.idle();
    })
    .count_total
}

fn tap(filter: TraceFilter) -> (Arc<Tap>, tokio::sync::mpsc::Receiver<Sighting>) {
    let quota = Quota::new(1, u32::MAX);
    let (tap, sightings) = Tap::new(Wanted::new(filter, None, None), quota);
    (Arc::new(tap), sightings)
}

#[test]
fn a_trace_costs_nothing_when_off_and_is_bounded_when_on() {
    let live = live();
    let ifindex = live.table().interfaces[0].ifindex;
    let me = live.workers()[0].clone();
    let mut packets = Packets::new(live.clone(), me.clone(), 0);
    assert_eq!(batch(&mut packets, ifindex, 0..1000), 0, "off");

    let (others, mut nothing) = tap(TraceFilter {
        verdict: Some(Verdict::Drop),
        ..TraceFilter::default()
    });
    assert!(live.taps.add(others.clone()));
    assert_eq!(
        batch(&mut packets, ifindex, 1000..2000),
        0,
        "nobody wants it"
    );
    assert_eq!(others.quota.spent().matched, 0);
    assert!(nothing.try_recv().is_err());

    let (all, mut sightings) = tap(TraceFilter::default());
    assert!(live.taps.add(all.clone()));
    batch(&mut packets, ifindex, 2000..5000);
    let mut queued = 0;
    while let Ok(sighting) = sightings.try_recv() {
        assert!(matches!(sighting, Sighting::Packet { .. }));
        queued += 1;
    }
    assert!((1..3000).contains(&queued), "{queued}");
    assert_eq!(
        queued + all.queue_full(),
        3000,
        "what does not fit is counted"
    );

    live.taps.remove(&all);
    live.taps.remove(&others);
    assert_eq!(batch(&mut packets, ifindex, 5000..6000), 0, "off again");
    assert_eq!(all.quota.spent().matched, 3000);
    let counted = me.counters.interface(0).received.get();
    assert_eq!(counted, 6000, "a trace changes no count");
    assert_eq!(live.flows.len(), 6000);
}

#[test]
fn traces_are_bounded_and_their_places_come_back() {
    let live = live();
    let taps: Vec<_> = (0..MAX_TAPS)
        .map(|_| tap(TraceFilter::default()).0)
        .collect();
    assert!(taps.iter().all(|tap| live.taps.add(tap.clone())));
    let (one_more, _) = tap(TraceFilter::default());
    assert!(!live.taps.add(one_more.clone()));
    live.taps.remove(&taps[1]);
    assert!(live.taps.add(one_more));
    assert_eq!(live.taps.list().len(), MAX_TAPS);
}
