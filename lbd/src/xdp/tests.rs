//! The program and the director get the same frames, and where the program forwards, the director would
//! have: the same real, the same bytes, the same note in the flow table, the same counts.
//!
//! Needs root: BPF, and a bpffs of its own.

use super::FastPath;
use crate::live::event::Link;
use aya::programs::{TestRun, TestRunOptions};
use lbcore::config::Admin;
use lbcore::director::{Counters, Cursors, Verdict, View, commit, decide};
use lbcore::flow::{FlowTable, Hit};
use lbcore::id::RealId;
use lbcore::load::Loads;
use lbcore::net::{FrameMeta, MacAddr};
use lbcore::service::ServiceTable;
use lbcore::service::fixture::{IFINDEX, OWN_MAC, World};
use std::path::Path;
use std::process::Command;
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

fn world() -> World {
    let mut toml = "[network]\ninterface = \"eth0\"\n".to_owned();
    for (name, port, protocol) in [("web", 443, "tcp"), ("dns", 53, "udp")] {
        toml += &format!(
            "[[service]]\nname = \"{name}\"\nvip = [\"192.0.2.10\", \"2001:db8::10\"]\nport = {port}\n\
             protocol = \"{protocol}\"\non_dead = \"drop\"\ndead_grace = \"0s\"\n\
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

/// Program, director, and the flow table both have.
struct Rig {
    _bpffs: Bpffs,
    fast: FastPath,
    world: World,
    table: ServiceTable,
    flows: FlowTable<'static>,
    loads: Loads,
    cursors: Cursors,
    /// What the director counts of what the program declined.
    declined: Counters,
    /// What the program says it counted.
    forwarded: Counters,
}

impl Rig {
    fn new() -> Option<Rig> {
        let bpffs = Bpffs::mount()?;
        let mut world = world();
        let (words, half) = (
            FlowTable::words_for(FLOWS),
            FlowTable::buckets_for(FLOWS) / 2,
        );
        let mut fast =
            FastPath::load(bpffs.path(), &world.key, words, half, 6).expect("the program");
        fast.pretend_attached(0, IFINDEX);
        let flows = FlowTable::create(fast.flow_words(), &world.key).expect("a table");
        let table = world.table();
        fast.follow(&table, &links(), world.now);
        Some(Rig {
            _bpffs: bpffs,
            fast,
            world,
            table,
            flows,
            loads: Loads::default(),
            cursors: Cursors::new(0),
            declined: Counters::default(),
            forwarded: Counters::default(),
        })
    }

    /// Publishes what the world says now.
    fn publish(&mut self) {
        self.fast.count(&self.forwarded);
        self.table = self.world.table();
        self.fast.follow(&self.table, &links(), self.world.now);
    }

    fn pass_time(&mut self, by: Duration) {
        self.world.now = self.world.now + by;
        self.fast.tell_time(self.world.now);
    }

    /// One frame through the program, and what it declines through the director. True if the program
    /// forwarded it.
    fn frame(&mut self, frame: &[u8]) -> bool {
        let now = self.world.now;
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: false,
        };
        let decision = decide(frame, &meta, &view, now);
        let found = |flows: &FlowTable<'_>| decision.hash.and_then(|hash| flows.lookup(hash));
        let before: Option<Hit> = found(&self.flows);
        let (verdict, out) = run(&mut self.fast, frame);
        let mut frame = frame.to_vec();
        if verdict == XDP_PASS {
            assert_eq!(out, frame, "declined, and yet changed");
            assert_eq!(found(&self.flows), before, "declined, and yet noted");
            commit(&decision, &mut frame, &view, &self.declined, 0, now);
            self.cursors.placed(&decision, &self.table);
            return false;
        }
        assert_eq!(verdict, XDP_TX, "{decision:?}");
        let Verdict::Forward(chosen) = decision.verdict else {
            panic!("forwarded, and the director says {decision:?}");
        };
        assert_eq!(chosen.path.ifindex, IFINDEX);
        assert!(!decision.begins(), "{decision:?}");
        // The program's note stands already, so the director finds it made and adds nothing.
        let after = found(&self.flows).expect("a known flow");
        assert_eq!(after.entry.real, chosen.real);
        assert_eq!(Some(after.entry.state), before.map(|hit| hit.entry.state));
        assert_eq!(after.entry.idle_ms(now), 0);
        let done = commit(&decision, &mut frame, &view, &Counters::default(), 0, now);
        assert_eq!(done, Verdict::Forward(chosen));
        assert_eq!(out, frame, "other bytes than the director's");
        true
    }
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

/// A frame of flow number `n` with these flags (TCP) and this much payload.
fn flow_frame(n: u16, flags: u8, payload: usize) -> Vec<u8> {
    let (tcp, v6) = (n % 2 == 0, n % 3 == 0);
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
    f.extend(if tcp { 443u16 } else { 53 }.to_be_bytes());
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
        let n = numbers.below(200) as u16;
        let flags = match numbers.below(50) {
            0 => SYN,
            1 => ACK | 1,
            2 => 0x04,
            3 => numbers.next() as u8,
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
                let name = format!("web{}", 1 + numbers.below(3));
                rig.world.down(&name);
                rig.publish();
            }
            304..=306 => {
                let real = &mut rig.world.config.services[numbers.below(2)].reals[numbers.below(3)];
                real.admin = [Admin::Drain, Admin::Disabled][numbers.below(2)];
                rig.publish();
            }
            307..=319 => {
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
    assert!(forwarded * 3 > plain, "{forwarded} of {plain}");
    rig.fast.count(&rig.forwarded);
    assert_eq!(rig.forwarded.interface(0).received.get(), forwarded);
    assert_eq!(rig.forwarded.interface(0).sent.get(), forwarded);
    let by_real = (0..=u16::MAX).map(|id| rig.forwarded.real(RealId(id)).packets.get());
    assert_eq!(by_real.sum::<u64>(), forwarded);
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

/// Makes the flow known, and shows that its packets are forwarded.
fn establish(rig: &mut Rig, n: u16) {
    assert!(!rig.frame(&flow_frame(n, SYN, 0)));
    assert!(!rig.frame(&flow_frame(n, ACK, 0)));
    assert!(rig.frame(&flow_frame(n, ACK, 0)), "flow {n}");
}

#[test]
fn t9_a_checksum_that_nobody_has_finished_is_left_to_the_raw_sockets() {
    let Some(mut rig) = Rig::new() else { return };
    for n in 0..24 {
        establish(&mut rig, n);
        for payload in [0, 1, 6, 77, 1400] {
            let mut frame = flow_frame(n, ACK, payload);
            assert!(rig.frame(&frame));
            unfinished(&mut frame);
            assert!(!rig.frame(&frame), "flow {n}, {payload} bytes");
        }
    }
    rig.fast.count(&rig.forwarded);
    assert_eq!(rig.fast.unfinished(0).0, 24 * 5);
}

#[test]
fn what_goes_on_as_it_did_is_forwarded_and_nothing_else_is() {
    let Some(mut rig) = Rig::new() else { return };
    for n in 0..6 {
        establish(&mut rig, n);
    }
    // A super-frame: whoever merged it must take it apart.
    assert!(!rig.frame(&flow_frame(2, ACK, 2000)));
    assert!(!rig.frame(&flow_frame(2, ACK | 1, 0)), "the end of a flow");
    assert!(!rig.frame(&flow_frame(2, ACK, 0)), "a flow that has ended");
    rig.pass_time(Duration::from_secs(901));
    assert!(!rig.frame(&flow_frame(4, ACK, 0)), "silent for too long");
}

#[test]
fn a_real_that_drains_keeps_its_flows_and_one_that_dies_loses_them() {
    let Some(mut rig) = Rig::new() else { return };
    establish(&mut rig, 2);
    rig.world.config.services[0]
        .reals
        .iter_mut()
        .for_each(|real| real.admin = Admin::Drain);
    rig.publish();
    assert!(rig.frame(&flow_frame(2, ACK, 0)));
    rig.world.config.services[0]
        .reals
        .iter_mut()
        .for_each(|real| real.admin = Admin::Disabled);
    rig.publish();
    assert!(!rig.frame(&flow_frame(2, ACK, 0)));
}

#[test]
fn another_mac_of_ours_is_followed() {
    let Some(mut rig) = Rig::new() else { return };
    establish(&mut rig, 2);
    let mut links = links();
    links[0].mtu = 60 - 14;
    rig.table.interfaces[0].mac = MacAddr(2, 0, 0, 0, 0, 9);
    rig.fast.follow(&rig.table, &links, rig.world.now);
    assert!(!rig.frame(&flow_frame(2, ACK, 0)), "to our old MAC");
    let mut frame = flow_frame(2, ACK, 0);
    frame[5] = 9;
    assert!(rig.frame(&frame));
    let mut frame = flow_frame(2, ACK, 100);
    frame[5] = 9;
    assert!(!rig.frame(&frame), "larger than the MTU");
}

#[test]
fn a_flow_table_of_another_size_is_made_anew_and_one_of_the_same_size_found() {
    let Some(bpffs) = Bpffs::mount() else { return };
    let key = world().key;
    let load = |flows: usize| {
        let (words, half) = (
            FlowTable::words_for(flows),
            FlowTable::buckets_for(flows) / 2,
        );
        FastPath::load(bpffs.path(), &key, words, half, 1).expect("the program")
    };
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
