//! Any file as a capture: reading ends with an answer, and whatever frames come out go through the
//! director, each with one verdict.
#![no_main]

use lbcore::api::TraceFilter;
use lbcore::capture::Reader;
use lbcore::config;
use lbcore::flow::FlowTable;
use lbcore::net::HashKey;
use lbcore::trace::{Replay, Wanted, suppose};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::AtomicU64;

const CONFIG: &str = r#"
[network]
interface = "eth0"
[[service]]
name = "web"
vip = ["192.0.2.10", "2001:db8::10"]
port = 443
protocol = "tcp"
real = [{ address = "192.0.2.21" }, { address = "192.0.2.22" }]
"#;

fuzz_target!(|data: &[u8]| {
    let Ok(mut reader) = Reader::new(data) else {
        return;
    };
    let key = HashKey::new([7; 16]);
    let memory: Vec<_> = (0..FlowTable::words_for(64))
        .map(|_| AtomicU64::new(0))
        .collect();
    let flows = FlowTable::create(&memory, &key).expect("the words it asked for");
    let config = config::parse(CONFIG).expect("the text above is good");
    let supposed = suppose(config, key, &[]).expect("no real is down");
    let mut replay = Replay::new(supposed, None, flows).expect("two ids are left");
    let all = TraceFilter {
        passed: true,
        ..TraceFilter::default()
    };
    let all = Wanted::new(all, None, None);
    let mut frames = 0;
    while let Ok(Some(frame)) = reader.next_frame() {
        assert!(frame.bytes.len() <= frame.length);
        let replayed = replay.frame(&frame).expect("two ids are left");
        assert!(replay.tell(&replayed, &all).is_some());
        frames += 1;
    }
    let summary = replay.summary();
    assert_eq!(summary.packets, frames);
    assert_eq!(summary.verdicts.values().sum::<u64>(), frames);
});
