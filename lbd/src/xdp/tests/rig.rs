//! A world of services for the program, the director beside it, and frames for both.

use crate::live::event::Link;
use crate::xdp::FastPath;
use crate::xdp::fast_path::{Candidate, Expected};
use aya::programs::{TestRun, TestRunOptions};
use lbcore::director::{Counters, Cursors, Decision, Verdict, View, commit, decide};
use lbcore::flow::FlowTable;
use lbcore::id::{RealId, ServiceId};
use lbcore::load::Loads;
use lbcore::net::{FrameMeta, HashKey};
use lbcore::service::ServiceTable;
use lbcore::service::fixture::{IFINDEX, OWN_MAC, World};
use lbcore::time::Tick;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub(super) const XDP_PASS: u32 = 2;
pub(super) const XDP_TX: u32 = 3;

pub(super) const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 0, 0x77];
pub(super) const MTU: u32 = 1500;
pub(super) const FLOWS: usize = 4096;

/// A bpffs that goes with the test.
pub(super) struct Bpffs(tempfile::TempDir);

impl Bpffs {
    /// `None`, with a word about it, where this user may mount none.
    pub(super) fn mount() -> Option<Bpffs> {
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

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Bpffs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.path()).status();
    }
}

/// A service of each kind that the program treats differently.
pub(super) const SERVICES: [(&str, &str, &str); 7] = [
    ("web", "tcp", "scheduler = \"maglev\""),
    ("dns", "udp", "scheduler = \"sh\""),
    ("rr", "tcp", "scheduler = \"rr\""),
    ("lc", "udp", "scheduler = \"lc\""),
    ("loose", "udp", "track = \"none\""),
    ("stable", "tcp", "track = \"changes\""),
    ("source", "tcp", "scheduler = \"sh\"\ntrack = \"changes\""),
];

/// The port of a service.
pub(super) fn port_of(service: usize) -> u16 {
    443 + service as u16
}

pub(super) fn world() -> World {
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
pub(super) struct Director {
    pub(super) flows: FlowTable<'static>,
    pub(super) loads: Loads,
    pub(super) cursors: Cursors,
    pub(super) counters: Counters,
}

impl Director {
    pub(super) fn new(memory: &'static [AtomicU64], world: &World) -> Self {
        Director {
            flows: FlowTable::create(memory, &world.key).expect("a table"),
            loads: Loads::default(),
            cursors: Cursors::new(0),
            counters: Counters::default(),
        }
    }

    /// One frame, which is rewritten if it is forwarded.
    pub(super) fn frame(
        &mut self,
        frame: &mut [u8],
        table: &ServiceTable,
        now: Tick,
    ) -> (Verdict, Decision) {
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
pub(super) struct Rig {
    _bpffs: Bpffs,
    pub(super) fast: FastPath,
    pub(super) world: World,
    pub(super) table: ServiceTable,
    /// What the program declines.
    pub(super) behind: Director,
    /// What the program says it did.
    pub(super) did: Counters,
    pub(super) alone: Director,
}

impl Rig {
    pub(super) fn new() -> Option<Rig> {
        Self::with_room_for(FLOWS)
    }

    pub(super) fn with_room_for(flows: usize) -> Option<Rig> {
        let bpffs = Bpffs::mount()?;
        let mut world = world();
        let mut fast = load(bpffs.path(), &world.key, flows);
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

    pub(super) fn count(&mut self) {
        self.fast.count(&self.did, &self.behind.loads);
    }

    /// Publishes what the world says now.
    pub(super) fn publish(&mut self) {
        self.count();
        self.table = self.world.table();
        self.fast.follow(&self.table, &links(), self.world.now);
    }

    pub(super) fn pass_time(&mut self, by: Duration) {
        self.world.now = self.world.now + by;
        self.fast.renew(&self.behind.flows, self.world.now);
    }

    /// One frame through the program, and what it declines through the director behind it; and the same
    /// through the director alone. True if the program forwarded it.
    pub(super) fn frame(&mut self, frame: &[u8]) -> bool {
        self.sent(frame).is_some()
    }

    /// The same; the frame as the program sent it.
    pub(super) fn sent(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let (forwarded, out) = self.through(frame);
        forwarded.then_some(out)
    }

    /// The same; the frame as whoever of the two decided left it.
    pub(super) fn through(&mut self, frame: &[u8]) -> (bool, Vec<u8>) {
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
        (forwarded, out)
    }

    /// One frame that both directors forward and the program does not see.
    pub(super) fn past_the_program(&mut self, frame: &[u8]) {
        for director in [&mut self.behind, &mut self.alone] {
            let (verdict, _) = director.frame(&mut frame.to_vec(), &self.table, self.world.now);
            assert!(matches!(verdict, Verdict::Forward(_)), "{verdict:?}");
        }
    }

    /// Both have done, and know, the same.
    pub(super) fn assert_same_books(&mut self) {
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

pub(super) fn load(bpffs: &Path, key: &HashKey, flow_entries: usize) -> FastPath {
    let expected = Expected {
        flow_entries,
        services: SERVICES.len(),
        keys: 2 * SERVICES.len(),
        reals: 3 * SERVICES.len(),
        ids: 0,
    };
    let candidate = Candidate::load(bpffs, key, expected).expect("the program");
    candidate.open().expect("its maps")
}

pub(super) fn links() -> Vec<Link> {
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
pub(super) fn run(fast: &mut FastPath, frame: &[u8]) -> (u32, Vec<u8>) {
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
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

pub(super) const ACK: u8 = 0x10;
pub(super) const SYN: u8 = 0x02;
pub(super) const FIN: u8 = 0x01;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;

/// A frame of flow number `n`, which belongs to service `n % 7`, with these flags (TCP) and this much
/// payload.
pub(super) fn flow_frame(n: u16, flags: u8, payload: usize) -> Vec<u8> {
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
pub(super) fn mutilate(frame: &mut Vec<u8>, numbers: &mut Numbers) {
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

/// The ones' complement sum of the pseudo header, as it stands in a checksum nobody has finished.
pub(super) fn unfinished(frame: &mut [u8]) {
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
pub(super) fn of(service: &str, nth: u16) -> u16 {
    let at = SERVICES.iter().position(|(name, ..)| *name == service);
    at.expect("a service") as u16 + nth * SERVICES.len() as u16
}
