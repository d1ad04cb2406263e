#![allow(clippy::unwrap_used)]

use super::*;
use crate::flow::{FlowTable, State};
use crate::id::RealId;
use crate::load::Loads;
use crate::net::{FrameMeta, MacAddr};
use crate::service::fixture::{IFINDEX, OWN_MAC, World};
use crate::service::{ServiceTable, Way};
use crate::time::Tick;
use etherparse::PacketBuilder;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

mod recognising;
mod remembering;
mod simulation;

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const VIP: [u8; 4] = [192, 0, 2, 10];

/// A director with its tables, fed one frame at a time.
struct Bench {
    world: World,
    table: ServiceTable,
    flows: FlowTable<'static>,
    loads: Loads,
    cursors: Cursors,
    counters: Counters,
    now: Tick,
    flood: bool,
}

impl Bench {
    fn new(mut world: World) -> Self {
        Self::with_capacity(&mut world, 4096).into_bench(world)
    }

    fn with_capacity(world: &mut World, capacity: usize) -> Parts {
        let words = FlowTable::words_for(capacity);
        let memory: &'static [AtomicU64] =
            Vec::leak((0..words).map(|_| AtomicU64::new(0)).collect());
        Parts {
            flows: FlowTable::create(memory, &world.key).unwrap(),
            table: world.table(),
        }
    }

    fn recompile(&mut self) {
        self.world.now = self.now;
        self.table = self.world.table();
    }

    fn run(&mut self, frame: &mut [u8]) -> (Decision, Verdict) {
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        self.counters.interface(0).received.add(1);
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: self.flood,
        };
        let decision = decide(frame, &meta, &view, self.now);
        let done = commit(&decision, frame, &view, &self.counters, 0, self.now);
        self.cursors.placed(&decision, &self.table);
        (decision, done)
    }

    /// Sends a TCP segment from client port `port` and says which real it went to.
    fn tcp(&mut self, port: u16, flags: &str) -> Option<RealId> {
        self.segment([198, 51, 100, 7], port, flags).1
    }

    /// The same for flow number `nth`: of a client of its own.
    fn flow(&mut self, nth: u32, flags: &str) -> Option<RealId> {
        let [_, b, c, d] = nth.to_be_bytes();
        self.segment([10, b, c, d], 40_000, flags).1
    }

    fn segment(&mut self, client: [u8; 4], port: u16, flags: &str) -> (Decision, Option<RealId>) {
        let mut frame = frame_of(client, port, flags);
        let before = frame.clone();
        let (decision, done) = self.run(&mut frame);
        let real = self.reached(&frame, &before, done);
        (decision, real)
    }

    /// The real a frame was sent to, which was `before` until then.
    fn reached(&self, frame: &[u8], before: &[u8], done: Verdict) -> Option<RealId> {
        match done {
            Verdict::Forward(chosen) => {
                assert_eq!(chosen.path.ifindex, IFINDEX);
                assert_eq!(frame[6..12], OWN_MAC.octets());
                assert_eq!(frame[12..], before[12..], "only the two MACs change");
                let mac = MacAddr::new(frame[0], frame[1], frame[2], frame[3], frame[4], frame[5]);
                let service = &self.table.services[0];
                let to = |m: &&crate::service::Member| {
                    self.table.real(m.id).and_then(|r| r.path).map(|p| p.dst) == Some(mac)
                };
                Some(
                    service
                        .members
                        .iter()
                        .find(to)
                        .expect("a real has this MAC")
                        .id,
                )
            }
            Verdict::Pass | Verdict::Drop(_) => {
                assert_eq!(
                    frame, before,
                    "a frame that is not forwarded is not changed"
                );
                None
            }
        }
    }

    fn drops(&self, reason: DropReason) -> u64 {
        self.counters.drops(reason).get()
    }
}

struct Parts {
    flows: FlowTable<'static>,
    table: ServiceTable,
}

impl Parts {
    fn into_bench(self, world: World) -> Bench {
        Bench {
            now: world.now,
            world,
            table: self.table,
            flows: self.flows,
            loads: Loads::default(),
            cursors: Cursors::new(0),
            counters: Counters::default(),
            flood: false,
        }
    }
}

fn tcp_frame(port: u16, flags: &str) -> Vec<u8> {
    frame_of([198, 51, 100, 7], port, flags)
}

fn frame_of(client: [u8; 4], port: u16, flags: &str) -> Vec<u8> {
    let mut step = PacketBuilder::ethernet2(CLIENT_MAC, OWN_MAC.octets())
        .ipv4(client, VIP, 64)
        .tcp(port, 443, 1, 65_000);
    for flag in flags.chars() {
        step = match flag {
            'S' => step.syn(),
            'A' => step.ack(1),
            'F' => step.fin(),
            'R' => step.rst(),
            other => panic!("no flag {other}"),
        };
    }
    let mut bytes = Vec::new();
    step.write(&mut bytes, b"payload").unwrap();
    bytes
}

#[test]
fn a_flow_stays_where_its_syn_went() {
    for kind in ["rr", "wrr", "lc", "wlc", "sh", "maglev"] {
        let mut bench = Bench::new(World::web(&format!("scheduler = \"{kind}\""), &[1, 2, 3]));
        for port in 1000..1200 {
            let first = bench.tcp(port, "S").unwrap();
            for flags in ["A", "A", "FA", "A"] {
                assert_eq!(bench.tcp(port, flags), Some(first), "{kind} {port} {flags}");
            }
        }
        assert_eq!(bench.flows.len(), 200);
        let service = bench.table.services[0].id;
        assert_eq!(bench.counters.service(service).new_flows.get(), 200);
        assert_eq!(bench.counters.service(service).packets.get(), 1000);
    }
}

#[test]
fn decide_changes_nothing() {
    let bench = Bench::new(World::web("", &[1, 1]));
    let frame = tcp_frame(1000, "S");
    let view = View {
        table: &bench.table,
        flows: &bench.flows,
        loads: &bench.loads,
        cursors: &bench.cursors,
        flood: false,
    };
    let meta = FrameMeta {
        ifindex: IFINDEX,
        ..FrameMeta::default()
    };
    let first = decide(&frame, &meta, &view, bench.now);
    assert_eq!(decide(&frame, &meta, &view, bench.now), first);
    assert!(bench.flows.is_empty());
    assert!(matches!(first.verdict, Verdict::Forward(_)));
}

#[test]
fn counts_of_active_and_inactive_flows_follow_the_states() {
    let mut bench = Bench::new(World::web("", &[1]));
    let real = bench.tcp(1000, "S").unwrap();
    assert_eq!(
        (bench.loads.active(real), bench.loads.inactive(real)),
        (0, 1)
    );
    bench.tcp(1000, "A");
    assert_eq!(
        (bench.loads.active(real), bench.loads.inactive(real)),
        (1, 0)
    );
    bench.tcp(1000, "FA");
    assert_eq!(
        (bench.loads.active(real), bench.loads.inactive(real)),
        (0, 1)
    );
}

#[test]
fn a_syn_on_a_closing_flow_is_decided_anew() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1, 1]));
    let first = bench.tcp(1000, "S").unwrap();
    bench.tcp(1000, "A");
    assert_eq!(
        bench.tcp(1000, "S"),
        Some(first),
        "a SYN on a living flow changes nothing"
    );
    bench.tcp(1000, "FA");
    let second = bench.tcp(1000, "S").unwrap();
    assert_ne!(second, first);
    assert_eq!(bench.tcp(1000, "A"), Some(second));
    assert_eq!(bench.flows.len(), 1);
}

#[test]
fn t18_a_draining_real_keeps_its_flows_and_gets_none() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1, 1, 1]));
    let before: Vec<_> = (1000..1090)
        .map(|p| (p, bench.tcp(p, "S").unwrap()))
        .collect();
    bench.world.config.services[0].reals[0].admin = crate::config::Admin::Drain;
    bench.recompile();
    let drained = bench.table.services[0].members[0].id;
    for (port, real) in &before {
        assert_eq!(bench.tcp(*port, "A"), Some(*real));
    }
    for port in 2000..2090 {
        assert_ne!(bench.tcp(port, "S"), Some(drained));
    }
    let reused = before.iter().find(|(_, real)| *real == drained).unwrap().0;
    assert_ne!(
        bench.tcp(reused, "S"),
        Some(drained),
        "a reused source port is a new flow"
    );
}

#[test]
fn t17_flows_of_a_dead_real_are_rehashed_kept_or_dropped_after_the_grace() {
    for word in ["rehash", "keep", "drop"] {
        let extra = format!("on_dead = \"{word}\"\ndead_grace = \"10s\"");
        let mut bench = Bench::new(World::web(&extra, &[1, 1, 1]));
        let dead = bench.tcp(1000, "S").unwrap();
        bench.tcp(1000, "A");
        let name = bench.table.member(dead).unwrap().1.name.clone();
        bench.world.down(&name);
        bench.recompile();
        assert_eq!(bench.tcp(1000, "A"), Some(dead), "{word}: within the grace");
        bench.now = bench.now + Duration::from_secs(10);
        bench.recompile();
        let after = bench.tcp(1000, "A");
        match word {
            "keep" => assert_eq!(after, Some(dead)),
            "drop" => {
                assert_eq!(after, None);
                assert_eq!(bench.drops(DropReason::DeadReal), 1);
            }
            _ => {
                let other = after.unwrap();
                assert_ne!(other, dead);
                let active = bench.loads.active(other);
                assert_eq!(active, 0, "it will be reset, and nobody sees that");
                assert_eq!(bench.tcp(1000, "A"), Some(other), "and it stays there");
                assert_eq!(bench.loads.flows(dead), 0);
            }
        }
    }
}

#[test]
fn a_packet_in_mid_flow_goes_where_the_ring_says_and_stays() {
    for kind in ["rr", "lc", "sh", "maglev"] {
        let mut bench = Bench::new(World::web(&format!("scheduler = \"{kind}\""), &[1, 1, 1]));
        let first = bench.tcp(1000, "A").unwrap();
        let mut other = Bench::new(World::web(&format!("scheduler = \"{kind}\""), &[1, 1, 1]));
        assert_eq!(other.tcp(1000, "A"), Some(first), "{kind}: peers agree");
        assert_eq!(bench.tcp(1000, "A"), Some(first));
        assert_eq!(bench.flows.len(), 1);
    }
}

#[test]
fn a_rst_without_a_flow_is_forwarded_and_not_remembered() {
    let mut bench = Bench::new(World::web("", &[1, 1]));
    assert!(bench.tcp(1000, "R").is_some());
    assert!(bench.flows.is_empty());
}

#[test]
fn a_full_table_refuses_no_flow_and_the_ring_answers_the_same_every_time() {
    let mut world = World::web("scheduler = \"rr\"", &[1, 1, 1]);
    let mut bench = Bench::with_capacity(&mut world, 8).into_bench(world);
    let capacity = bench.flows.capacity() as u16;
    for port in 1000..1000 + capacity * 8 {
        assert!(bench.tcp(port, "S").is_some());
    }
    assert!(bench.counters.unremembered.get() > 0);
    let forgotten = (1000..1000 + capacity * 8)
        .find(|p| {
            let before = bench.counters.unremembered.get();
            bench.tcp(*p, "S");
            bench.counters.unremembered.get() > before
        })
        .unwrap();
    let first = bench.tcp(forgotten, "S");
    for flags in ["A", "A", "FA"] {
        assert_eq!(
            bench.tcp(forgotten, flags),
            first,
            "one flow never scatters"
        );
    }
}

#[test]
fn what_the_ring_answers_for_a_full_table_never_goes_back_to_its_sender() {
    let mut world = World::web("scheduler = \"rr\"", &[1, 1, 1]);
    let mut bench = Bench::with_capacity(&mut world, 8).into_bench(world);
    let capacity = bench.flows.capacity() as u16;
    for port in 1000..1000 + capacity * 8 {
        bench.tcp(port, "S");
    }
    let (full, sender) = (bench.counters.unremembered.get(), World::mac(21));
    for port in 30_000..30_200 {
        let mut frame = tcp_frame(port, "S");
        frame[6..12].copy_from_slice(&sender.octets());
        if let Verdict::Forward(chosen) = bench.run(&mut frame).1 {
            assert_ne!(chosen.path.dst, sender, "{port}");
        }
    }
    assert!(bench.counters.unremembered.get() > full);
    assert!(bench.drops(DropReason::Loop) > 0);
}

#[test]
fn in_a_flood_new_flows_are_not_remembered_and_old_ones_stay() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1, 1, 1]));
    let old = bench.tcp(1000, "S");
    bench.flood = true;
    assert_eq!(bench.tcp(1000, "A"), old);
    let new = bench.tcp(2000, "S");
    assert_eq!(bench.tcp(2000, "A"), new);
    assert_eq!(bench.flows.len(), 1);
}

#[test]
fn a_timed_out_flow_is_a_new_one() {
    let mut bench = Bench::new(World::web(
        "scheduler = \"rr\"\nidle_timeout = \"60s\"",
        &[1, 1],
    ));
    let first = bench.tcp(1000, "S");
    bench.tcp(1000, "A");
    bench.now = bench.now + Duration::from_secs(62);
    assert_ne!(bench.tcp(1000, "S"), first);
    assert_eq!(bench.flows.len(), 1);
}

#[test]
fn nobody_to_serve_is_a_drop_with_that_reason() {
    let mut bench = Bench::new(World::web("min_healthy = 0", &[1]));
    bench.world.down("rs1");
    bench.recompile();
    assert_eq!(bench.tcp(1000, "S"), None);
    assert_eq!(bench.drops(DropReason::NoReal), 1);
}

#[test]
fn a_real_without_a_mac_gets_no_flow() {
    let mut bench = Bench::new(World::web("", &[1, 1]));
    bench.world.ways.insert("rs1".into(), Way::Unknown);
    bench.recompile();
    let rs2 = bench.table.services[0].members[1].id;
    for port in 1000..1050 {
        assert_eq!(bench.tcp(port, "S"), Some(rs2));
    }
}

#[test]
fn t48_frames_for_other_machines_are_passed() {
    let mut bench = Bench::new(World::web("", &[1]));
    for dst in [[2, 0, 0, 0, 0, 9], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]] {
        let mut frame = tcp_frame(1000, "S");
        frame[..6].copy_from_slice(&dst);
        assert_eq!(bench.run(&mut frame).1, Verdict::Pass);
    }
    assert!(bench.flows.is_empty());
}

#[test]
fn a_frame_never_goes_back_to_its_sender_or_to_us() {
    let mut bench = Bench::new(World::web("", &[1]));
    let mut frame = tcp_frame(1000, "S");
    frame[6..12].copy_from_slice(&World::mac(21).octets());
    assert_eq!(bench.run(&mut frame).1, Verdict::Drop(DropReason::Loop));
    bench.world.ways.insert(
        "rs1".into(),
        Way::Known {
            ifindex: IFINDEX,
            mac: OWN_MAC,
        },
    );
    bench.recompile();
    assert_eq!(bench.tcp(1000, "S"), None);
    assert_eq!(bench.drops(DropReason::Loop), 2);
    assert!(bench.flows.is_empty());
}

#[test]
fn t3_other_ports_and_addresses_are_passed() {
    let mut bench = Bench::new(World::web("", &[1]));
    let mut frame = tcp_frame(1000, "S");
    frame[36..38].copy_from_slice(&444u16.to_be_bytes());
    assert_eq!(bench.run(&mut frame).1, Verdict::Pass);
    let mut frame = tcp_frame(1000, "S");
    frame[33] = 11;
    assert_eq!(bench.run(&mut frame).1, Verdict::Pass);
}

#[test]
fn a_fragment_for_a_vip_is_dropped_by_its_own_reason_and_elsewhere_passed() {
    let mut bench = Bench::new(World::web("", &[1]));
    let mut frame = tcp_frame(1000, "S");
    frame[20..22].copy_from_slice(&0x2000u16.to_be_bytes());
    let fragment = Verdict::Drop(DropReason::Fragment);
    assert_eq!(bench.run(&mut frame.clone()).1, fragment);
    assert_eq!(bench.drops(DropReason::Fragment), 1);
    frame[33] = 11;
    assert_eq!(bench.run(&mut frame).1, Verdict::Pass);
}

#[test]
fn t50_an_icmp_error_follows_the_flow_it_speaks_of() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1; 5]));
    for port in 1000..1100 {
        let real = bench.tcp(port, "S").unwrap();
        let mut quoted = Vec::new();
        PacketBuilder::ipv4(VIP, [198, 51, 100, 7], 60)
            .tcp(443, port, 1, 100)
            .write(&mut quoted, &[])
            .unwrap();
        let mut frame = Vec::new();
        PacketBuilder::ethernet2(CLIENT_MAC, OWN_MAC.octets())
            .ipv4([203, 0, 113, 1], VIP, 64)
            .icmpv4_raw(3, 4, [0, 0, 5, 0x78])
            .write(&mut frame, &quoted)
            .unwrap();
        let (decision, _) = bench.run(&mut frame);
        let Verdict::Forward(chosen) = decision.verdict else {
            panic!("{decision:?}")
        };
        assert_eq!(chosen.real, real);
    }
    let hit = bench.flows.len();
    assert_eq!(hit, 100);
}

#[test]
fn an_unchanged_flow_is_not_written_within_one_unit_of_time() {
    let mut bench = Bench::new(World::web("", &[1]));
    bench.tcp(1000, "S");
    bench.tcp(1000, "A");
    let mut frame = tcp_frame(1000, "A");
    assert_eq!(bench.run(&mut frame).0.memory, Memory::Nothing);
    bench.now = bench.now + Duration::from_millis(64);
    let mut frame = tcp_frame(1000, "A");
    assert!(matches!(
        bench.run(&mut frame).0.memory,
        Memory::Refresh { .. }
    ));
}

#[test]
fn received_is_sent_passed_and_dropped_exactly() {
    let mut bench = Bench::new(World::web("", &[1, 1]));
    let mut sent = 0;
    for port in 0..500u16 {
        let mut frame = tcp_frame(port, ["S", "A", "FA", "R"][usize::from(port) % 4]);
        let at = usize::from(port) % frame.len();
        frame[at] ^= 0x55;
        if let Verdict::Forward(_) = bench.run(&mut frame).1 {
            sent += 1;
        }
    }
    let drops: u64 = DropReason::ALL.iter().map(|r| bench.drops(*r)).sum();
    let tally = bench.counters.interface(0);
    assert_eq!(tally.received.get(), sent + tally.passed.get() + drops);
    assert!(sent > 0 && tally.passed.get() > 0 && drops > 0);
}

#[test]
fn untracked_services_decide_each_packet_by_the_ring() {
    let mut bench = Bench::new(World::web("", &[1, 1, 1]));
    bench.world.config.services[0].track = crate::config::Track::None;
    bench.recompile();
    let first = bench.tcp(1000, "S");
    assert_eq!(bench.tcp(1000, "A"), first);
    assert!(bench.flows.is_empty());
}

#[test]
fn an_entry_of_an_earlier_owner_of_the_id_is_no_flow() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1, 1]));
    let real = bench.tcp(1000, "S").unwrap();
    let hash = {
        let frame = tcp_frame(1000, "A");
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let view = View {
            table: &bench.table,
            flows: &bench.flows,
            loads: &bench.loads,
            cursors: &bench.cursors,
            flood: false,
        };
        decide(&frame, &meta, &view, bench.now).hash.unwrap()
    };
    let hit = bench.flows.lookup(hash).unwrap();
    let stale = crate::flow::Entry {
        epoch: hit.entry.epoch.next(),
        ..hit.entry
    };
    assert!(bench.flows.update(hit.slot, hit.entry, stale));
    let next = bench.tcp(1000, "S").unwrap();
    assert_ne!(next, real, "rr moved on: the flow was new");
    assert_eq!(
        bench.flows.lookup(hash).unwrap().entry.state,
        State::SynRecv
    );
}

#[test]
fn a_flow_that_another_worker_has_moved_meanwhile_does_not_split() {
    let mut bench = Bench::new(World::web("scheduler = \"rr\"", &[1, 1, 1]));
    bench.tcp(1000, "S");
    bench.tcp(1000, "FA");
    let meta = FrameMeta {
        ifindex: IFINDEX,
        ..FrameMeta::default()
    };
    let view = |cursors| View {
        table: &bench.table,
        flows: &bench.flows,
        loads: &bench.loads,
        cursors,
        flood: false,
    };
    // Two workers decide on one SYN and its repetition before either commits.
    let workers = [Cursors::new(0), Cursors::new(1)];
    let mut frames = [tcp_frame(1000, "S"), tcp_frame(1000, "S")];
    let decisions = [0, 1].map(|i: usize| decide(&frames[i], &meta, &view(&workers[i]), bench.now));
    assert_ne!(decisions[0].verdict, decisions[1].verdict, "they differ");
    let went = [0, 1].map(|i: usize| {
        let (frame, view) = (&mut frames[i], view(&workers[i]));
        commit(&decisions[i], frame, &view, &bench.counters, 0, bench.now);
        frame[..6].to_vec()
    });
    assert_eq!(went[0], went[1]);
}

#[test]
fn a_syn_again_stays_with_a_backup_that_no_longer_gets_new_flows() {
    let mut world = World::web("", &[1, 1]);
    world.config.services[0].reals[1].backup = true;
    world.down("rs1");
    let mut bench = Bench::new(world);
    let backup = bench.tcp(1000, "S").unwrap();
    bench.tcp(1000, "A");
    bench.world.health.clear();
    bench.recompile();
    assert_eq!(bench.tcp(1000, "S"), Some(backup));
    assert_ne!(bench.tcp(1001, "S"), Some(backup));
}

#[test]
fn handshakes_are_counted_once_by_how_they_end() {
    let mut bench = Bench::new(World::web("", &[1]));
    let real = bench.tcp(1, "S").unwrap();
    let seen = |bench: &Bench| {
        let counts = bench.counters.handshakes(real);
        (counts.completed.get(), counts.unanswered.get())
    };
    bench.tcp(1, "S");
    assert_eq!(seen(&bench), (0, 0));
    bench.tcp(1, "A");
    bench.tcp(1, "A");
    assert_eq!(seen(&bench), (1, 0), "a SYN sent again is no other one");

    // One that nobody answers, and one of a checker that opens by half.
    bench.tcp(2, "S");
    bench.tcp(3, "S");
    bench.tcp(3, "R");
    bench.now = bench.now + Duration::from_secs(61);
    let (table, now) = (&bench.table, bench.now);
    let over = |entry| table.is_expired(&entry, now);
    let gone = |entry| bench.counters.expired(&entry);
    bench.flows.expire(&mut 0, usize::MAX, over, gone);
    assert_eq!(bench.flows.len(), 1);
    assert_eq!(seen(&bench), (1, 1));
}

/// In maintenance: known flows go on, beginnings are dropped with their own reason, and what is no
/// beginning belongs to a flow that was here before.
#[test]
fn maintenance_takes_no_new_flows_and_leaves_those_it_has() {
    let mut bench = Bench::new(World::web("", &[1, 1, 1]));
    let old = bench.tcp(1000, "S").unwrap();
    assert_eq!(bench.tcp(1000, "A"), Some(old));
    bench.world.maintenance = true;
    bench.recompile();
    assert_eq!(bench.tcp(1000, "A"), Some(old), "a known flow");
    assert_eq!(bench.tcp(1001, "S"), None, "a new one");
    assert_eq!(bench.drops(DropReason::Maintenance), 1);
    let stray = bench.tcp(1002, "A");
    assert!(stray.is_some(), "the rest of a flow that is not remembered");
    assert_eq!(bench.tcp(1000, "FA"), Some(old), "its end");
    assert_eq!(bench.tcp(1000, "S"), None, "its port used again");
    assert_eq!(bench.drops(DropReason::Maintenance), 2);
    bench.world.maintenance = false;
    bench.recompile();
    assert!(bench.tcp(1001, "S").is_some(), "as before");
    assert_eq!(bench.drops(DropReason::Maintenance), 2);
}
