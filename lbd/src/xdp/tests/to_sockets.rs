//! The program of engine `af_xdp`: what it hands to a socket the director never leaves to the host, and
//! it goes there whole.

use super::rig::{
    ACK, Bpffs, MTU, Numbers, SERVICES, XDP_PASS, flow_frame, links, mutilate, unfinished,
};
use crate::io::af_xdp::{AfXdp, Options, chunk_for, room_in};
use crate::sys::netns::Netns;
use crate::sys::xsk::Way;
use crate::xdp::{self, Passed, ToSockets};
use aya::programs::{TestRun, TestRunOptions};
use lbcore::config::Mode;
use lbcore::director::{Cursors, Decision, Verdict, View, decide};
use lbcore::flow::FlowTable;
use lbcore::load::Loads;
use lbcore::net::FrameMeta;
use lbcore::service::ServiceTable;
use lbcore::service::fixture::{IFINDEX, World};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

const XDP_REDIRECT: u32 = 4;

/// The service of these tests that is proxied: its packets are the host's.
const PROXIED: usize = 6;

/// The services of all tests of programs, one of them proxied.
fn world() -> World {
    let mut world = super::rig::world();
    world.config.services[PROXIED].mode = Mode::Tproxy;
    world
}

/// Whether flow number `n` is balanced.
fn is_balanced(n: u16) -> bool {
    usize::from(n) % SERVICES.len() != PROXIED
}

/// The program before a socket on the loopback of a namespace of its own.
struct Rig {
    program: ToSockets,
    socket: Option<AfXdp>,
    world: World,
    table: ServiceTable,
    flows: FlowTable<'static>,
    loads: Loads,
    cursors: Cursors,
}

impl Rig {
    fn new() -> Rig {
        let options = Options {
            ifindex: IFINDEX,
            mtu: MTU,
            queues: vec![0],
            way: Way::Copy,
            chunks: 1024,
            busy_poll: Duration::ZERO,
        };
        let socket = AfXdp::open(&options).expect("a socket");
        let room = room_in(chunk_for(MTU)) as u32;
        let mut program = ToSockets::load(0, IFINDEX, 1, room).expect("the program");
        program
            .attach(socket.sockets(), xdp::Mode::Generic)
            .expect("attached");
        let mut world = world();
        let table = world.table();
        program.offer(&table, &links());
        let words: Vec<_> = (0..FlowTable::words_for(1024))
            .map(|_| AtomicU64::new(0))
            .collect();
        Rig {
            program,
            socket: Some(socket),
            flows: FlowTable::create(words.leak(), &world.key).expect("a table"),
            world,
            table,
            loads: Loads::default(),
            cursors: Cursors::new(0),
        }
    }

    /// True if the frame goes to the socket.
    fn redirects(&mut self, frame: &[u8]) -> bool {
        let mut out = vec![0; frame.len()];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ..TestRunOptions::default()
        };
        let verdict = self.program.xdp().test_run(options).expect("a run");
        assert_eq!(out, frame, "the frame was changed");
        match verdict.return_value {
            XDP_REDIRECT => true,
            XDP_PASS => false,
            other => panic!("verdict {other}"),
        }
    }

    fn director(&self, frame: &[u8]) -> Decision {
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: false,
        };
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        decide(frame, &meta, &view, self.world.now)
    }
}

/// Runs a test in a namespace of its own; skipped, with a word about it, without root.
fn with_rig(test: impl FnOnce(Rig) + Send + 'static) {
    let Some(_bpffs) = Bpffs::mount() else { return };
    let Some(netns) = Netns::new() else { return };
    netns.run(move || test(Rig::new()));
}

#[test]
fn a_socket_gets_only_what_the_director_does_not_leave_to_the_host() {
    with_rig(|mut rig| {
        let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
        let (mut plain, mut redirected) = (0, 0);
        for _ in 0..10_000 {
            let n = numbers.below(200) as u16;
            let flags = match numbers.below(4) {
                0 => numbers.next() as u8,
                _ => ACK,
            };
            let mut frame = flow_frame(n, flags, [0, 6, 100, 1400][numbers.below(4)]);
            let nobodys = numbers.one_in(8);
            if nobodys {
                let at = if frame[12] == 0x86 { 56 } else { 36 };
                frame[at..at + 2].copy_from_slice(&81_u16.to_be_bytes());
            }
            if numbers.one_in(3) {
                mutilate(&mut frame, &mut numbers);
            } else if is_balanced(n) && !nobodys && flags == ACK {
                plain += 1;
            }
            if rig.redirects(&frame) {
                redirected += 1;
                let decision = rig.director(&frame);
                assert_ne!(decision.verdict, Verdict::Pass, "{frame:02x?}");
            }
        }
        assert!(redirected >= plain, "{redirected} of {plain} plain ones");
    });
}

#[test]
fn what_is_unfinished_or_too_large_goes_up_and_is_counted() {
    with_rig(|mut rig| {
        for n in (0..28).filter(|n| is_balanced(*n)) {
            for payload in [0, 1, 77, 1400] {
                let mut frame = flow_frame(n, ACK, payload);
                assert!(rig.redirects(&frame), "flow {n}, {payload} bytes");
                unfinished(&mut frame);
                assert!(!rig.redirects(&frame), "flow {n}, {payload} bytes");
            }
        }
        assert!(!rig.redirects(&flow_frame(2, ACK, 1461)), "above the MTU");
        let mut padded = flow_frame(2, ACK, 100);
        padded.resize(room_in(chunk_for(MTU)), 0);
        assert!(rig.redirects(&padded));
        padded.push(0);
        assert!(!rig.redirects(&padded), "more than a socket has room for");
        let counted = Passed {
            unfinished: 96,
            too_large: 2,
        };
        assert_eq!(rig.program.passed(), counted);
    });
}

#[test]
fn a_tagged_frame_goes_to_the_socket_and_one_with_two_tags_up() {
    with_rig(|mut rig| {
        let mut frame = flow_frame(2, ACK, 1460);
        frame.splice(12..12, [0x81, 0, 0, 10]);
        assert!(rig.redirects(&frame));
        frame.splice(12..12, [0x88, 0xa8, 0, 10]);
        assert!(!rig.redirects(&frame));
    });
}

#[test]
fn the_program_follows_services_macs_and_sockets() {
    with_rig(|mut rig| {
        let (tcp, udp) = (flow_frame(7, ACK, 0), flow_frame(1, 0, 0));
        assert!(rig.redirects(&tcp) && rig.redirects(&udp));
        assert!(!rig.redirects(&flow_frame(PROXIED as u16, ACK, 0)));
        // Half a change takes away and gives nothing.
        rig.world.config.services.remove(0);
        let table = rig.world.table();
        rig.program.withdraw(&table);
        assert!(!rig.redirects(&tcp) && rig.redirects(&udp));
        let mut other = table;
        other.interfaces[0].mac.5 = 9;
        rig.program.offer(&other, &links());
        assert!(!rig.redirects(&udp), "to the old MAC");
        let mut to_new = udp.clone();
        to_new[5] = 9;
        assert!(rig.redirects(&to_new));
        rig.program.offer(&other, &[]);
        assert!(!rig.redirects(&to_new), "the interface is gone");
        rig.program.offer(&other, &links());
        assert!(rig.redirects(&to_new));
        rig.socket = None;
        assert!(!rig.redirects(&to_new), "nobody reads the queue");
    });
}
