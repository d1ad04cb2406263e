//! The program and the director get the same frames, and where the program forwards, the director would
//! have: the same real, the same bytes, the same note in the flow table, the same counts.
//!
//! Needs root: BPF, and a bpffs of its own.

mod to_sockets;

use super::{Expected, FastPath};
use crate::live::event::Link;
use aya::programs::{TestRun, TestRunOptions};
use lbcore::config::Admin;
use lbcore::director::{Counters, Cursors, Decision, Verdict, View, commit, decide};
use lbcore::flow::FlowTable;
use lbcore::id::{RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::{FrameMeta, HashKey, MacAddr};
use lbcore::service::ServiceTable;
use lbcore::service::fixture::{IFINDEX, OWN_MAC, World};
use lbcore::time::Tick;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
const MTU: u32 = 1500;
const FLOWS: usize = 4096;

/// A bpffs that goes with the test.
struct Bpffs(tempfile::TempDir);

impl Bpffs {
    /// `None`, with a word about it, where this user may mount none.
    fn mount() -> Option<Bpffs> {
        let dir = tempfile::tempdir().expect("a directory");
        let mounted = Command::new("mount")
            .args(["-t", "bpf", "bpf"])
            .arg(dir.path())
            .output()
            .is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: XDP tests need root");
        }
        mounted.then_some(Bpffs(dir))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// A service of each kind that the program treats differently.
const SERVICES: [(&str, &str, &str); 7] = [
    ("web", "tcp", "scheduler = \"maglev\""),
    ("dns", "udp", "scheduler = \"sh\""),
    ("rr", "tcp", "scheduler = \"rr\""),
    ("lc", "udp", "scheduler = \"lc\""),
    ("loose", "udp", "track = \"none\""),
    ("stable", "tcp", "track = \"changes\""),
    ("source", "tcp", "scheduler = \"sh\"\ntrack = \"changes\""),
];

/// The port of a service.
fn port_of(service: usize) -> u16 {
    443 + service as u16
}

fn world() -> World {
    let mut toml = "[network]\ninterface = \"eth0\"\n".to_owned();
    for (nth, (name, protocol, more)) in SERVICES.into_iter().enumerate() {
        let port = port_of(nth);
        toml += &format!(
            "[[service]]\nname = \"{name}\"\nvip = [\"192.0.2.10\", \"2001:db8::10\"]\nport = {port}\n\
             protocol = \"{protocol}\"\non_dead = \"drop\"\ndead_grace = \"0s\"\n{more}\n\
             [[service.check]]\ntype = \"tcp\"\nport = 1\n"
        );
        for n in 1..=3 {
            toml += &format!(
                "[[service.real]]\nname = \"{name}{n}\"\naddress = \"192.0.2.{}\"\n",
                20 + n
            );
        }
    }
    World::new(&toml)
}

/// The director, a flow table, and all that goes with it.
struct Director {
    flows: FlowTable<'static>,
    loads: Loads,
    cursors: Cursors,
    counters: Counters,
}

impl Director {
    fn new(memory: &'static [AtomicU64], world: &World) -> Self {
        Director {
            flows: FlowTable::create(memory, &world.key).expect("a table"),
            loads: Loads::default(),
            cursors: Cursors::new(0),
            counters: Counters::default(),
        }
    }

    /// One frame, which is rewritten if it is forwarded.
    fn frame(&mut self, frame: &mut [u8], table: &ServiceTable, now: Tick) -> (Verdict, Decision) {
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let view = View {
            table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: false,
        };
        let decision = decide(frame, &meta, &view, now);
        let verdict = commit(&decision, frame, &view, &self.counters, 0, now);
        self.cursors.placed(&decision, table);
        (verdict, decision)
    }
}

/// Program and director on one flow table, and beside them a director alone, on its own.
struct Rig {
    _bpffs: Bpffs,
    fast: FastPath,
    world: World,
    table: ServiceTable,
    /// What the program declines.
    behind: Director,
    /// What the program says it did.
    did: Counters,
    alone: Director,
}

impl Rig {
    fn new() -> Option<Rig> {
        let bpffs = Bpffs::mount()?;
        let mut world = world();
        let mut fast = load(bpffs.path(), &world.key, FLOWS);
        fast.pretend_attached(0, IFINDEX);
        let behind = Director::new(fast.flow_words(), &world);
        let memory: Vec<AtomicU64> = (0..fast.flow_words().len())
            .map(|_| AtomicU64::new(0))
            .collect();
        let alone = Director::new(memory.leak(), &world);
        let table = world.table();
        fast.follow(&table, &links(), world.now);
        fast.renew(&behind.flows, world.now);
        Some(Rig {
            _bpffs: bpffs,
            fast,
            world,
            table,
            behind,
            did: Counters::default(),
            alone,
        })
    }

    fn count(&mut self) {
        self.fast.count(&self.did, &self.behind.loads);
    }

    /// Publishes what the world says now.
    fn publish(&mut self) {
        self.count();
        self.table = self.world.table();
        self.fast.follow(&self.table, &links(), self.world.now);
    }

    fn pass_time(&mut self, by: Duration) {
        self.world.now = self.world.now + by;
        self.fast.renew(&self.behind.flows, self.world.now);
    }

    /// One frame through the program, and what it declines through the director behind it; and the same
    /// through the director alone. True if the program forwarded it.
    fn frame(&mut self, frame: &[u8]) -> bool {
        self.sent(frame).is_some()
    }

    /// The same; the frame as the program sent it.
    fn sent(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let now = self.world.now;
        let mut expected = frame.to_vec();
        let (verdict, decision) = self.alone.frame(&mut expected, &self.table, now);
        let (action, mut out) = run(&mut self.fast, frame);
        let forwarded = action == XDP_TX;
        if forwarded {
            let is_forward = matches!(verdict, Verdict::Forward(_));
            assert!(is_forward, "forwarded, and the director says {decision:?}");
        } else {
            assert_eq!(action, XDP_PASS, "{decision:?}");
            assert_eq!(out, frame, "declined, and yet changed");
            let (behind, _) = self.behind.frame(&mut out, &self.table, now);
            assert_eq!(behind, verdict, "{decision:?}");
        }
        assert_eq!(out, expected, "other bytes: {decision:?}");
        let note = |flows: &FlowTable<'_>| Some(flows.lookup(decision.hash?)?.entry);
        assert_eq!(
            note(&self.behind.flows),
            note(&self.alone.flows),
            "other notes: {decision:?}"
        );
        forwarded.then_some(out)
    }

    /// Both have done, and know, the same.
    fn assert_same_books(&mut self) {
        self.count();
        let listed = |flows: &FlowTable<'_>| {
            let mut all = Vec::new();
            flows.for_each(|key, entry, since| all.push((key, entry.to_word(), since)));
            all.sort();
            all
        };
        let (one, other) = (&self.behind, &self.alone);
        assert_eq!(listed(&one.flows), listed(&other.flows));
        assert_eq!(one.flows.len(), other.flows.len());
        let both = |of: &dyn Fn(&Counters) -> u64| of(&one.counters) + of(&self.did);
        for id in (0..64).map(RealId) {
            let real = |of: fn(&lbcore::director::Tally) -> u64| {
                let sum = both(&|counters| of(counters.real(id)));
                assert_eq!(sum, of(other.counters.real(id)), "{id:?}");
            };
            real(|tally| tally.packets.get());
            real(|tally| tally.bytes.get());
            real(|tally| tally.new_flows.get());
            let completed = |counters: &Counters| counters.handshakes(id).completed.get();
            assert_eq!(both(&completed), completed(&other.counters), "{id:?}");
            let loads = |loads: &Loads| (loads.active(id), loads.inactive(id));
            assert_eq!(loads(&one.loads), loads(&other.loads), "{id:?}");
        }
        for id in (0..16).map(ServiceId) {
            let packets = |counters: &Counters| counters.service(id).packets.get();
            assert_eq!(both(&packets), packets(&other.counters), "{id:?}");
        }
    }
}

fn load(bpffs: &Path, key: &HashKey, flow_entries: usize) -> FastPath {
    let expected = Expected {
        flow_entries,
        services: SERVICES.len(),
        keys: 2 * SERVICES.len(),
        reals: 3 * SERVICES.len(),
    };
    FastPath::load(bpffs, key, expected).expect("the program")
}

fn links() -> Vec<Link> {
    vec![Link {
        ifindex: IFINDEX,
        name: "eth0".to_owned(),
        mac: OWN_MAC,
        mtu: MTU,
        up: true,
        carrier: true,
        addresses: Vec::new(),
    }]
}

/// Runs the program on a frame (BPF_PROG_TEST_RUN): its verdict, and the frame afterwards.
fn run(fast: &mut FastPath, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ..TestRunOptions::default()
    };
    let result = fast.xdp().test_run(options).expect("a run");
    (result.return_value, out)
}

/// Numbers that look random and come again (xorshift64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

const ACK: u8 = 0x10;
const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const RST: u8 = 0x04;
const PSH: u8 = 0x08;

/// A frame of flow number `n`, which belongs to service `n % 7`, with these flags (TCP) and this much
/// payload.
fn flow_frame(n: u16, flags: u8, payload: usize) -> Vec<u8> {
    let service = usize::from(n) % SERVICES.len();
    let (tcp, v6) = (SERVICES[service].1 == "tcp", n.is_multiple_of(3));
    let header = if tcp { 20 } else { 8 };
    let length = header + payload;
    let mut f = OWN_MAC.octets().to_vec();
    f.extend(CLIENT_MAC);
    let protocol = if tcp { 6 } else { 17 };
    if v6 {
        f.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
        f.extend((length as u16).to_be_bytes());
        f.extend([protocol, 64]);
        f.extend([0x20, 1, 0x0d, 0xb8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0]);
        f.extend(n.to_be_bytes());
        f.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10]);
    } else {
        f.extend([0x08, 0, 0x45, 0]);
        f.extend((20 + length as u16).to_be_bytes());
        f.extend([0, 0, 0x40, 0, 64, protocol, 0, 0, 10, 9]);
        f.extend(n.to_be_bytes());
        f.extend([192, 0, 2, 10]);
    }
    f.extend((1024 + n).to_be_bytes());
    f.extend(port_of(service).to_be_bytes());
    if tcp {
        f.extend([0; 8]);
        f.extend([0x50, flags, 0xff, 0xff, 0x12, 0x34, 0, 0]);
    } else {
        f.extend((length as u16).to_be_bytes());
        f.extend([0x12, 0x34]);
    }
    f.extend((0..payload).map(|i| i as u8));
    f.resize(f.len().max(60), 0);
    f
}

/// A few changes that networks and attackers make.
fn mutilate(frame: &mut Vec<u8>, numbers: &mut Numbers) {
    match numbers.below(8) {
        // One bit, anywhere in the headers.
        0..=3 => {
            let at = numbers.below(frame.len().min(80));
            frame[at] ^= 1 << numbers.below(8);
        }
        4 => frame.truncate(14 + numbers.below(frame.len() - 13)),
        // A tag.
        5 => {
            frame.splice(12..12, [0x81, 0, 0, 10]);
        }
        // From a real's own MAC, or from nobody's.
        6 => frame[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 21 + numbers.below(3) as u8]),
        _ => frame[6..12].copy_from_slice(&[numbers.below(2) as u8, 0, 0, 0, 0, 0]),
    }
}

#[test]
fn program_and_director_agree_on_ten_thousand_frames() {
    let Some(mut rig) = Rig::new() else { return };
    let mut numbers = Numbers(0x2545_f491_4f6c_dd1d);
    let (mut forwarded, mut plain) = (0, 0);
    for _ in 0..10_000 {
        let n = numbers.below(350) as u16;
        let flags = match numbers.below(20) {
            0..=2 => SYN,
            3 => ACK | FIN,
            4 => RST,
            5 => numbers.next() as u8,
            _ => ACK,
        };
        let payload = [0, 6, 100, 1400][numbers.below(4)];
        let mut frame = flow_frame(n, flags, payload);
        if numbers.one_in(4) {
            mutilate(&mut frame, &mut numbers);
        } else {
            plain += 1;
        }
        forwarded += u64::from(rig.frame(&frame));
        match numbers.below(1000) {
            0 => rig.pass_time(Duration::from_secs(400)),
            1..=300 => rig.pass_time(Duration::from_millis(numbers.next() % 150)),
            301..=303 => {
                let (name, _, _) = SERVICES[numbers.below(SERVICES.len())];
                rig.world.down(&format!("{name}{}", 1 + numbers.below(3)));
                rig.publish();
            }
            304..=308 => {
                let service = &mut rig.world.config.services[numbers.below(SERVICES.len())];
                let admin = [Admin::Drain, Admin::Disabled][numbers.below(2)];
                service.reals[numbers.below(3)].admin = admin;
                rig.publish();
            }
            309 => {
                rig.world.maintenance ^= true;
                rig.publish();
            }
            310..=319 => {
                rig.world.maintenance = false;
                rig.world.health.clear();
                let services = rig.world.config.services.iter_mut();
                let reals = services.flat_map(|service| &mut service.reals);
                reals.for_each(|real| real.admin = Admin::Enabled);
                rig.publish();
            }
            _ => {}
        }
    }
    // Of frames that are as they should be most are forwarded here, else the test shows nothing.
    assert!(forwarded * 2 > plain, "{forwarded} of {plain}");
    rig.assert_same_books();
    assert_eq!(rig.did.interface(0).received.get(), forwarded);
    assert_eq!(rig.did.interface(0).sent.get(), forwarded);
}

/// The ones' complement sum of the pseudo header, as it stands in a checksum nobody has finished.
fn unfinished(frame: &mut [u8]) {
    let v6 = frame[12] == 0x86;
    let (addresses, transport, protocol) = if v6 {
        (22..54, 54, frame[20])
    } else {
        (26..34, 34, frame[23])
    };
    let length = if v6 {
        u16::from_be_bytes([frame[18], frame[19]])
    } else {
        u16::from_be_bytes([frame[16], frame[17]]) - 20
    };
    let words = frame[addresses].chunks_exact(2);
    let words = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
    let mut sum = words.sum::<u32>() + u32::from(protocol) + u32::from(length);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let at = transport + if protocol == 6 { 16 } else { 6 };
    frame[at..at + 2].copy_from_slice(&(sum as u16).to_be_bytes());
}

/// Flow numbers of a service.
fn of(service: &str, nth: u16) -> u16 {
    let at = SERVICES.iter().position(|(name, ..)| *name == service);
    at.expect("a service") as u16 + nth * SERVICES.len() as u16
}

#[test]
fn t9_a_checksum_that_nobody_has_finished_is_left_to_the_raw_sockets() {
    let Some(mut rig) = Rig::new() else { return };
    for n in 0..28 {
        rig.frame(&flow_frame(n, SYN, 0));
        rig.frame(&flow_frame(n, ACK, 0));
        for payload in [0, 1, 6, 77, 1400] {
            let mut frame = flow_frame(n, ACK, payload);
            assert!(rig.frame(&frame), "flow {n}");
            unfinished(&mut frame);
            assert!(!rig.frame(&frame), "flow {n}, {payload} bytes");
        }
    }
    rig.assert_same_books();
    assert_eq!(rig.fast.unfinished(0), 28 * 5);
}

#[test]
fn first_packets_are_decided_here_where_the_ring_decides() {
    let Some(mut rig) = Rig::new() else { return };
    for nth in 0..20 {
        for (service, here) in [
            ("web", true),
            ("dns", true),
            ("loose", true),
            ("stable", true),
            ("source", true),
            ("rr", false),
            ("lc", false),
        ] {
            let first = flow_frame(of(service, nth), SYN, 0);
            assert_eq!(rig.frame(&first), here, "{service}");
        }
    }
    // Of the others the director alone chooses; what follows is plain.
    assert!(rig.frame(&flow_frame(of("rr", 0), ACK, 0)));
    assert_eq!(
        rig.behind.flows.len(),
        4 * 20,
        "remembered: web, dns, rr, lc"
    );
    rig.assert_same_books();
}

#[test]
fn the_life_of_a_flow_goes_by_here_from_its_syn_to_its_end() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    for flags in [
        SYN,
        ACK,
        ACK | PSH,
        ACK | FIN,
        ACK,
        SYN,
        ACK,
        RST,
        SYN,
        RST,
        SYN,
    ] {
        assert!(rig.frame(&flow_frame(n, flags, 0)), "{flags:#x}");
        rig.assert_same_books();
    }
    // A super-frame: whoever merged it must take it apart.
    assert!(!rig.frame(&flow_frame(n, ACK, 2000)));
    rig.pass_time(Duration::from_secs(901));
    assert!(!rig.frame(&flow_frame(n, ACK, 0)), "silent for too long");
}

#[test]
fn a_real_that_drains_keeps_its_flows_and_one_that_dies_loses_them() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    assert!(rig.frame(&flow_frame(n, SYN, 0)));
    assert!(rig.frame(&flow_frame(n, ACK, 0)));
    let all = |rig: &mut Rig, admin| {
        let reals = &mut rig.world.config.services[0].reals;
        reals.iter_mut().for_each(|real| real.admin = admin);
        rig.publish();
    };
    all(&mut rig, Admin::Drain);
    assert!(rig.frame(&flow_frame(n, ACK, 0)));
    all(&mut rig, Admin::Disabled);
    assert!(!rig.frame(&flow_frame(n, ACK, 0)));
    rig.assert_same_books();
}

/// T15, T16 without memory: nothing is remembered while the set stands, and no flow of a real that stays
/// moves when it changes.
#[test]
fn flows_without_memory_stay_when_the_set_changes_and_changes_back() {
    let Some(mut rig) = Rig::new() else { return };
    let to = |rig: &mut Rig, nth: u16, flags: u8| {
        let sent = rig.sent(&flow_frame(of("stable", nth), flags, 0));
        sent.expect("forwarded by the program")[5]
    };
    let before: Vec<u8> = (0..300).map(|nth| to(&mut rig, nth, SYN)).collect();
    assert!(rig.behind.flows.is_empty());
    let service = SERVICES.iter().position(|(name, ..)| *name == "stable");
    let set = |rig: &mut Rig, admin| {
        rig.world.config.services[service.expect("it")].reals[1].admin = admin;
        rig.world.remembers = !rig.behind.flows.is_empty();
        rig.publish();
    };
    set(&mut rig, Admin::Drain);
    for (nth, mac) in (0..).zip(&before) {
        assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth} after the drain");
    }
    let between: Vec<u8> = (300..600).map(|nth| to(&mut rig, nth, SYN)).collect();
    assert!(
        between.iter().all(|mac| *mac != 22),
        "the drained one gets none"
    );
    let remembered = rig.behind.flows.len();
    assert!((80..140).contains(&remembered), "a third: {remembered}");
    set(&mut rig, Admin::Enabled);
    for (nth, mac) in (0..).zip(before.iter().chain(&between)) {
        assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth} after all");
    }
    rig.assert_same_books();
    // Older flows have ended by then; those that are remembered stay where they are.
    for second in 0..16 {
        for (nth, mac) in (300..).zip(&between) {
            assert_eq!(to(&mut rig, nth, ACK), *mac, "flow {nth}, minute {second}");
        }
        rig.pass_time(Duration::from_secs(60));
        rig.publish();
    }
    assert!(rig.table.services[service.expect("it")].past.is_none());
    for (nth, mac) in (300..).zip(&between) {
        assert_eq!(
            to(&mut rig, nth, ACK),
            *mac,
            "flow {nth} after the change has ended"
        );
    }
    rig.assert_same_books();
}

#[test]
fn a_core_remembers_no_more_flows_than_it_may() {
    let Some(mut rig) = Rig::new() else { return };
    let frame = |nth: u16| flow_frame(of("web", nth), SYN, 0);
    let mut forwarded = 0_u64;
    for nth in 0..3000 {
        // The budget is not renewed: half of the table, all cores together.
        let (action, _) = run(&mut rig.fast, &frame(nth));
        forwarded += u64::from(action == XDP_TX);
    }
    let cores = aya::util::nr_cpus().expect("cores");
    assert!(rig.behind.flows.len() <= FLOWS / 2);
    assert!(rig.behind.flows.len() >= FLOWS / 2 / cores);
    rig.count();
    let unremembered = rig.did.unremembered.get();
    assert!(unremembered > 0);
    assert_eq!(unremembered + rig.behind.flows.len() as u64, forwarded);
}

#[test]
fn nothing_is_remembered_while_others_are_asked_to_pause() {
    let Some(mut rig) = Rig::new() else { return };
    FlowTable::pause_others(rig.fast.flow_words(), true);
    let (action, _) = run(&mut rig.fast, &flow_frame(of("web", 1), SYN, 0));
    assert_eq!(action, XDP_PASS);
    FlowTable::pause_others(rig.fast.flow_words(), false);
    assert!(rig.frame(&flow_frame(of("web", 1), SYN, 0)));
}

/// A tag stays where it is.
#[test]
fn a_tagged_frame_is_forwarded_with_its_tag() {
    let Some(mut rig) = Rig::new() else { return };
    for kind in [[0x81, 0], [0x88, 0xa8]] {
        let mut frame = flow_frame(of("web", 1), SYN, 0);
        frame.splice(12..12, [kind[0], kind[1], 0, 10]);
        assert!(rig.frame(&frame));
        frame.splice(12..12, [0x81, 0, 0, 10]);
        assert!(!rig.frame(&frame), "two tags");
    }
}

#[test]
fn another_mac_of_ours_is_followed() {
    let Some(mut rig) = Rig::new() else { return };
    let n = of("web", 1);
    assert!(rig.frame(&flow_frame(n, SYN, 0)));
    let mut links = links();
    links[0].mtu = 60 - 14;
    rig.table.interfaces[0].mac = MacAddr(2, 0, 0, 0, 0, 9);
    rig.fast.follow(&rig.table, &links, rig.world.now);
    assert!(!rig.frame(&flow_frame(n, ACK, 0)), "to our old MAC");
    let mut frame = flow_frame(n, ACK, 0);
    frame[5] = 9;
    assert!(rig.frame(&frame));
    let mut frame = flow_frame(n, ACK, 100);
    frame[5] = 9;
    assert!(!rig.frame(&frame), "larger than the MTU");
}

#[test]
fn a_flow_table_of_another_size_is_made_anew_and_one_of_the_same_size_found() {
    let Some(bpffs) = Bpffs::mount() else { return };
    let key = world().key;
    let load = |flows: usize| load(bpffs.path(), &key, flows);
    let write =
        |fast: &FastPath| fast.flow_words()[0].store(7, std::sync::atomic::Ordering::Relaxed);
    let read = |fast: &FastPath| fast.flow_words()[0].load(std::sync::atomic::Ordering::Relaxed);
    let first = load(FLOWS);
    write(&first);
    drop(first);
    assert_eq!(read(&load(FLOWS)), 7);
    let other = load(2 * FLOWS);
    assert_eq!(read(&other), 0);
    assert_eq!(super::leftovers(bpffs.path()).len(), 1);
    super::remove(bpffs.path()).expect("removed");
    assert!(super::leftovers(bpffs.path()).is_empty());
}

/// Program, director and expiry write the same few buckets at the same time: afterwards every slot is whole
/// or free, each flow is there once, and the books agree with the table.
#[test]
fn program_and_director_share_buckets_without_harm() {
    const SMALL: usize = 128;
    const ROUNDS: u16 = 200;
    let Some(bpffs) = Bpffs::mount() else { return };
    let mut world = world();
    let mut fast = load(bpffs.path(), &world.key, SMALL);
    fast.pretend_attached(0, IFINDEX);
    let memory = fast.flow_words();
    let flows = FlowTable::create(memory, &world.key).expect("a table");
    let (table, now, loads) = (world.table(), world.now, Loads::default());
    fast.follow(&table, &links(), now);
    fast.renew(&flows, now);
    // Some begin here and some there, most in both at once.
    let frame = |n: u16, round: u16| {
        let flags = [SYN, ACK, ACK | FIN, SYN, RST][usize::from(round + n) % 5];
        flow_frame(of("web", n % 150), flags, 0)
    };
    let director = || {
        let (counters, cursors) = (Counters::default(), Cursors::new(0));
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let mut sweep = 0;
        for round in 0..ROUNDS {
            for n in 0..150 {
                let view = View {
                    table: &table,
                    flows: &flows,
                    loads: &loads,
                    cursors: &cursors,
                    flood: false,
                };
                let mut frame = frame(n, round);
                let decision = decide(&frame, &meta, &view, now);
                commit(&decision, &mut frame, &view, &counters, 0, now);
            }
            // Whoever has ended is forgotten, so that there is room again.
            let over = |entry: lbcore::flow::Entry| entry.state.closing();
            let gone = |entry: lbcore::flow::Entry| {
                loads.sub(entry.real, entry.state.weightiness());
            };
            flows.expire(&mut sweep, flows.buckets(), over, gone);
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(director);
        let mut forwarded = 0_u32;
        for round in 0.. {
            for n in 0..150 {
                forwarded += u32::from(run(&mut fast, &frame(n, round)).0 == XDP_TX);
            }
            fast.renew(&flows, now);
            if other.is_finished() {
                break;
            }
        }
        assert!(forwarded > 150, "both were at it");
    });
    fast.count(&Counters::default(), &loads);
    let (mut seen, by_real) = (BTreeSet::new(), Loads::default());
    flows.for_each(|key, entry, _| {
        assert!(seen.insert(key), "{key:?} is there twice");
        by_real.add(entry.real, entry.state.weightiness());
    });
    assert_eq!(flows.len(), seen.len());
    for id in (0..64).map(RealId) {
        let both = |loads: &Loads| (loads.active(id), loads.inactive(id));
        assert_eq!(both(&loads), both(&by_real), "{id:?}");
    }
    let (_, recovered) = FlowTable::open(memory, &world.key).expect("a table");
    assert_eq!((recovered.flows, recovered.swept), (seen.len(), 0));
}
