#![allow(clippy::unwrap_used)]

use super::*;
use crate::api::{FlowFound, PacketView, TraceFilter, Verdict as Word};
use crate::capture::{Frame, To};
use crate::config;
use crate::flow::FlowTable;
use crate::net::{HashKey, MacAddr};
use etherparse::PacketBuilder;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const OWN: [u8; 6] = [2, 0, 0, 0, 0, 1];

const TOML: &str = r#"
[network]
interface = "eth0"
flow_entries = 4096

[[service]]
name = "web"
vip = "192.0.2.10"
port = 443
protocol = "tcp"
on_dead = "drop"
dead_grace = "0s"
real = [{ name = "rs1", address = "192.0.2.21" }, { name = "rs2", address = "192.0.2.22", mac = "02:00:00:00:00:22" }]

[[service]]
name = "shop"
vip = "192.0.2.10"
port = 80
protocol = "tcp"
mode = "tproxy"
real = [{ name = "rs1", address = "192.0.2.21" }]
"#;

/// A replay of frames a second apart, unless they say otherwise.
struct Bench {
    replay: Replay<'static>,
    wanted: Wanted,
    at: Duration,
}

impl Bench {
    fn new(down: &[&str], own: Option<MacAddr>) -> Self {
        let config = config::parse(TOML).unwrap_or_else(|e| panic!("{e:#?}"));
        let key = HashKey::new([7; 16]);
        let words = FlowTable::words_for(config.network.flow_entries);
        let memory: Vec<AtomicU64> = (0..words).map(|_| AtomicU64::new(0)).collect();
        let flows = FlowTable::create(memory.leak(), &key).unwrap();
        let down: Vec<String> = down.iter().map(ToString::to_string).collect();
        let supposed = suppose(config, key, &down).unwrap();
        let filter = TraceFilter {
            passed: true,
            ..TraceFilter::default()
        };
        Bench {
            replay: Replay::new(supposed, own, flows).unwrap(),
            wanted: Wanted::new(filter, None, None),
            at: Duration::from_secs(1_700_000_000),
        }
    }

    fn see(&mut self, bytes: &[u8]) -> PacketView {
        self.see_cut(bytes, bytes.len())
    }

    fn see_cut(&mut self, bytes: &[u8], length: usize) -> PacketView {
        self.at += Duration::from_secs(1);
        let frame = Frame {
            at: self.at,
            bytes,
            length,
            to: To::Mac,
        };
        let replayed = self.replay.frame(&frame).unwrap();
        self.replay.tell(&replayed, &self.wanted).unwrap()
    }
}

fn tcp(port: u16, to: u16, flags: &str) -> Vec<u8> {
    let mut builder = PacketBuilder::ethernet2([2, 0, 0, 0, 0, 0x77], OWN)
        .ipv4([198, 51, 100, 7], [192, 0, 2, 10], 64)
        .tcp(port, to, 1, 1000);
    if flags.contains('S') {
        builder = builder.syn();
    }
    if flags.contains('A') {
        builder = builder.ack(1);
    }
    if flags.contains('R') {
        builder = builder.rst();
    }
    let mut frame = Vec::new();
    builder.write(&mut frame, b"payload").unwrap();
    frame
}

#[test]
fn a_flow_is_told_packet_by_packet() {
    let mut bench = Bench::new(&[], None);
    let first = bench.see(&tcp(40_000, 443, "S"));
    assert_eq!(first.client.as_deref(), Some("198.51.100.7:40000"));
    assert_eq!(first.vip.as_deref(), Some("192.0.2.10:443"));
    assert_eq!(
        (first.verdict, first.flow),
        (Word::Forward, FlowFound::Miss)
    );
    assert_eq!(first.flags.as_deref(), Some("SYN"));
    assert_eq!(first.service.as_deref(), Some("web"));
    assert_eq!(first.reason, "a new flow: maglev decides");
    assert_eq!((first.length, first.packets), (61, 1));
    let next = bench.see(&tcp(40_000, 443, "A"));
    assert_eq!((next.flow, &next.real), (FlowFound::Hit, &first.real));
    assert_eq!(next.flow_state.as_deref(), Some("syn_recv"));
    // Time is the capture's: the flow is forgotten.
    bench.at += Duration::from_secs(3600);
    let later = bench.see(&tcp(40_000, 443, "A"));
    assert_eq!((later.flow, later.flow_state), (FlowFound::Miss, None));
    let summary = bench.replay.summary();
    assert_eq!(summary.packets, 3);
    assert_eq!(summary.verdicts["forward"], 3);
    let flows: u64 = summary.reals.iter().map(|share| share.new_flows).sum();
    assert_eq!(
        flows, 1,
        "what is taken up in its middle does not begin: {summary:?}"
    );
    assert_eq!(summary.time_ms, 3_602_000);
}

#[test]
fn a_syn_on_a_known_flow_says_why_it_is_decided_anew() {
    let mut bench = Bench::new(&[], None);
    let first = bench.see(&tcp(40_000, 443, "S"));
    let real = first.real.unwrap();
    bench.see(&tcp(40_000, 443, "R"));
    // A reset in a handshake may be forged: the flow is what it was.
    let again = bench.see(&tcp(40_000, 443, "S"));
    assert_eq!(again.flow, FlowFound::Hit);
    bench.see(&tcp(40_000, 443, "A"));
    bench.see(&tcp(40_000, 443, "R"));
    let ended = bench.see(&tcp(40_000, 443, "S"));
    assert_eq!(ended.flow, FlowFound::HitRedecided);
    let words = format!(
        "a known flow (close) of {real}, which the client has ended: decided anew by maglev"
    );
    assert_eq!(ended.reason, words);
}

#[test]
fn pinned_macs_are_kept_and_others_stand_for_themselves() {
    let mut bench = Bench::new(&[], None);
    for port in 40_000..40_050 {
        let seen = bench.see(&tcp(port, 443, "S"));
        let mac = match seen.real.as_deref() {
            Some("rs1") => "02:6c:62:64:00:00",
            _ => "02:00:00:00:00:22",
        };
        assert_eq!(seen.mac.as_deref(), Some(mac));
    }
    assert_eq!(bench.replay.own(), Some(MacAddr(2, 0, 0, 0, 0, 1)));
    assert_eq!(bench.replay.summary().reals.len(), 2);
}

#[test]
fn who_is_said_to_be_down_gets_nothing() {
    for (down, real) in [("web/rs1", Some("rs2")), ("192.0.2.22", Some("rs1"))] {
        let mut bench = Bench::new(&[down], None);
        for port in 40_000..40_020 {
            assert_eq!(
                bench.see(&tcp(port, 443, "S")).real.as_deref(),
                real,
                "{down}"
            );
        }
    }
    let mut bench = Bench::new(&["rs1", "rs2"], None);
    let seen = bench.see(&tcp(40_000, 443, "S"));
    assert_eq!(seen.drop_reason.as_deref(), Some("no_real"));
    assert_eq!(bench.replay.summary().drops["no_real"], 1);
    let nobody = suppose(
        config::parse(TOML).unwrap(),
        HashKey::new([7; 16]),
        &["rs9".into()],
    );
    assert_eq!(nobody.unwrap_err().to_string(), "no service has a real rs9");
    let elsewhere = suppose(
        config::parse(TOML).unwrap(),
        HashKey::new([7; 16]),
        &["shop/rs2".into()],
    );
    assert!(elsewhere.is_err());
}

#[test]
fn what_is_not_ours_says_why() {
    let mut bench = Bench::new(&[], Some(MacAddr(2, 0, 0, 0, 0, 1)));
    let mut others = tcp(40_000, 443, "S");
    others[5] = 9;
    for (frame, why) in [
        (others, "for the MAC 02:00:00:00:00:09, which is not ours"),
        (tcp(40_000, 22, "S"), "no service has 192.0.2.10:22/tcp"),
        (
            tcp(40_000, 80, "S"),
            "shop is proxied: the host's stack brings it there",
        ),
        (
            vec![0xff; 60],
            "for the MAC ff:ff:ff:ff:ff:ff, which is not ours",
        ),
    ] {
        let seen = bench.see(&frame);
        assert_eq!((seen.verdict, seen.reason.as_str()), (Word::Pass, why));
    }
}

#[test]
fn a_broken_packet_says_what_is_broken_and_whose_it_is() {
    let mut bench = Bench::new(&[], Some(MacAddr(2, 0, 0, 0, 0, 1)));
    let mut frame = tcp(40_000, 443, "S");
    frame[46] = 0x10;
    let seen = bench.see(&frame);
    assert_eq!(seen.drop_reason.as_deref(), Some("malformed"));
    assert_eq!(seen.reason, "TCP data offset below 5");
    assert_eq!(seen.client.as_deref(), Some("198.51.100.7"));
    assert_eq!(seen.vip.as_deref(), Some("192.0.2.10"));
}

#[test]
fn a_snapshot_length_hides_nothing_that_is_looked_at() {
    let whole = tcp(40_000, 443, "S");
    let mut bench = Bench::new(&[], None);
    let seen = bench.see_cut(&whole[..54], whole.len());
    assert_eq!(seen.verdict, Word::Forward);
    assert_eq!(seen.length as usize, whole.len());
    // The TCP header itself is cut: its flags may be anything.
    let seen = bench.see_cut(&whole[..46], whole.len());
    assert_eq!(seen.drop_reason.as_deref(), Some("truncated"));
    assert_eq!(bench.replay.summary().cut_short, 2);
    assert_eq!(bench.replay.summary().drops["truncated"], 1);
}

#[test]
fn filters_let_through_what_they_say() {
    let mut bench = Bench::new(&[], Some(MacAddr(2, 0, 0, 0, 0, 1)));
    let mut malformed = tcp(40_001, 443, "S");
    malformed[46] = 0x10;
    let frames = [
        tcp(40_000, 443, "S"),
        tcp(40_000, 443, "A"),
        malformed,
        tcp(40_002, 22, "S"),
    ];
    let replayed: Vec<Replayed> = frames
        .iter()
        .map(|bytes| {
            let length = bytes.len();
            let (at, to) = (bench.at, To::Mac);
            bench
                .replay
                .frame(&Frame {
                    at,
                    bytes,
                    length,
                    to,
                })
                .unwrap()
        })
        .collect();
    let real = bench
        .replay
        .tell(&replayed[0], &bench.wanted)
        .unwrap()
        .real
        .unwrap();
    let table = bench.replay.table().clone();
    let web = table.services[0].id;
    let of = |name: &str| Some(reals_called(&name.into(), None, &table));
    let other = if real == "rs1" { "rs2" } else { "rs1" };
    let filter = |change: &dyn Fn(&mut TraceFilter)| {
        let mut filter = TraceFilter::default();
        change(&mut filter);
        filter
    };
    let reason = |word: &str| filter(&|f| f.reason = Some(word.to_owned()));
    let verdict = |word| filter(&|f| f.verdict = Some(word));
    let client = |prefix: &str| filter(&|f| f.client = Some(prefix.parse().unwrap()));
    let any = TraceFilter::default();
    for (filter, service, reals, shown) in [
        (any.clone(), None, None, [true, true, true, false]),
        (filter(&|f| f.passed = true), None, None, [true; 4]),
        (verdict(Word::Pass), None, None, [false, false, false, true]),
        (verdict(Word::Drop), None, None, [false, false, true, false]),
        (reason("malformed"), None, None, [false, false, true, false]),
        (reason("no_real"), None, None, [false; 4]),
        (any.clone(), Some(web), None, [true, true, false, false]),
        (any.clone(), Some(table.services[1].id), None, [false; 4]),
        (any.clone(), None, of(&real), [true, true, false, false]),
        (any.clone(), None, of(other), [false; 4]),
        (
            client("198.51.100.0/24"),
            None,
            None,
            [true, true, true, false],
        ),
        (client("198.51.101.0/24"), None, None, [false; 4]),
        (
            filter(&|f| f.protocol = Some(crate::net::Protocol::Udp)),
            None,
            None,
            [false; 4],
        ),
    ] {
        let wanted = Wanted::new(filter, service, reals);
        let told: Vec<bool> = replayed
            .iter()
            .map(|frame| bench.replay.tell(frame, &wanted).is_some())
            .collect();
        assert_eq!(told, shown, "{wanted:?}");
    }
}

#[test]
fn connections_are_filtered_by_the_reals_they_tried_too() {
    let bench = Bench::new(&[], None);
    let table = bench.replay.table();
    let shop = &table.services[1];
    let (id, real) = (shop.id, shop.members[0].id);
    let client = "198.51.100.7".parse().unwrap();
    let asks = |filter: TraceFilter, service, reals: Option<Vec<_>>| {
        let wanted = Wanted::new(filter, service, reals);
        let is = |verdict, met: &[_], result| {
            wanted.connection(crate::net::Protocol::Tcp, client, id, verdict, met, result)
        };
        [
            is(Word::Proxy, &[real], None),
            is(Word::Refuse, &[real], Some("connect_failed")),
            is(Word::Refuse, &[], Some("no_real")),
        ]
    };
    let any = TraceFilter::default();
    assert_eq!(asks(any.clone(), None, None), [true; 3]);
    assert_eq!(
        asks(any.clone(), Some(table.services[0].id), None),
        [false; 3]
    );
    assert_eq!(
        asks(any.clone(), None, Some(vec![real])),
        [true, true, false]
    );
    let refused = TraceFilter {
        verdict: Some(Word::Refuse),
        ..any.clone()
    };
    assert_eq!(asks(refused, None, None), [false, true, true]);
    let failed = TraceFilter {
        reason: Some("connect_failed".into()),
        ..any
    };
    assert_eq!(asks(failed, None, None), [false, true, false]);
}
