//! Workers on a real link, followed through everything that can happen to it.

use super::*;
use crate::io::{Disposition, testlink};
use crate::live::WorkerState;
use crate::live::event::Link;
use crate::sys::netns::Netns;
use crate::sys::packet_send::Outgoing;
use lbcore::director::DropReason;
use lbcore::flow::FlowTable;
use lbcore::net::{FrameMeta, HashKey, MacAddr};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Counts frames and drops them.
struct Count(Arc<AtomicU64>);

impl FrameHandler for Count {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, _frame: &mut [u8], _meta: &FrameMeta, _recognised: &()) -> Disposition {
        self.0.fetch_add(1, Relaxed);
        Disposition::Release
    }
    fn sent(&mut self, _ifindex: u32, _frames: u64) {}
    fn lost(&mut self, _ifindex: u32, _reason: DropReason) {}
    fn idle(&mut self) {}
}

/// Holds the first frame until the sender is gone.
struct Held(mpsc::Receiver<()>, Count);

impl FrameHandler for Held {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, frame: &mut [u8], meta: &FrameMeta, recognised: &()) -> Disposition {
        let _ = self.0.recv();
        self.1.frame(frame, meta, recognised)
    }
    fn sent(&mut self, _ifindex: u32, _frames: u64) {}
    fn lost(&mut self, _ifindex: u32, _reason: DropReason) {}
    fn idle(&mut self) {}
}

/// Panics at the first frame.
struct Panics;

impl FrameHandler for Panics {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, _frame: &mut [u8], _meta: &FrameMeta, _recognised: &()) -> Disposition {
        panic!("as a worker that has a bug");
    }
    fn sent(&mut self, _ifindex: u32, _frames: u64) {}
    fn lost(&mut self, _ifindex: u32, _reason: DropReason) {}
    fn idle(&mut self) {}
}

fn live(workers: usize) -> Arc<Live> {
    let key = HashKey::new([7; 16]);
    let words = (0..FlowTable::words_for(1024))
        .map(|_| AtomicU64::new(0))
        .collect::<Vec<_>>();
    let flows = FlowTable::create(words.leak(), &key).expect("flow table");
    let workers = (0..workers)
        .map(|n| Arc::new(WorkerShared::new("lb", 0, n, Source::RawSocket)))
        .collect();
    Arc::new(Live::new(key, flows, workers, 0))
}

fn until(what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "not in time: {what}");
        std::thread::yield_now();
    }
}

/// What the kernel says of `lb`, as the link watcher would tell it.
fn tell_links(live: &Live, lb: &Netns) {
    let links = lb.run(pnet::datalink::interfaces);
    let links = links
        .iter()
        .filter(|link| link.name == "lb")
        .map(|link| Link {
            ifindex: link.index,
            name: link.name.clone(),
            mac: MacAddr::new(2, 0, 0, 0, 0, 1),
            mtu: 1500,
            up: link.is_up(),
            carrier: link.is_up(),
            addresses: Vec::new(),
        });
    live.set_links(Arc::new(links.collect()));
}

/// Sends one UDP frame to 192.0.2.`host` for each port, from the wire's end.
fn send(wire: &Netns, host: u8, ports: std::ops::Range<u16>) {
    let ifindex = testlink::ifindex(wire, "wire");
    let frames: Vec<_> = ports
        .map(|port| {
            let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 7, 8, 0];
            frame.extend([0x45, 0, 0, 28, 0, 1, 0, 0, 64, 17, 0, 0, 192, 0, 2, 1]);
            frame.extend([192, 0, 2, host]);
            frame.extend(port.to_be_bytes());
            frame.extend([0, 53, 0, 8, 0, 0]);
            frame
        })
        .collect();
    wire.run(move || {
        let mut sender = testlink::sender(ifindex);
        let frames = frames.iter().map(|frame| Outgoing {
            ifindex,
            headed: false,
            bytes: frame,
        });
        sender.send(frames, |nth, error| panic!("frame {nth}: {error}"));
    });
}

fn address(host: u8) -> IpAddr {
    IpAddr::from([192, 0, 2, host])
}

fn waits_because(live: &Live, why: &str) -> bool {
    live.workers()
        .iter()
        .all(|worker| worker.state() == WorkerState::Waiting(why.to_owned()))
}

fn all_run(live: &Live) -> bool {
    live.workers()
        .iter()
        .all(|worker| worker.state() == WorkerState::Running)
}

#[test]
fn t58_workers_follow_links_and_filters_until_told_to_stop() {
    for workers in [1, 2] {
        let (Some(lb), Some(wire)) = (Netns::new(), Netns::new()) else {
            return;
        };
        let live = live(workers);
        live.set_vips(vec![address(10)]);
        let frames = Arc::new(AtomicU64::new(0));
        let seen = |n| until("frames", || frames.load(Relaxed) == n);
        let (ours, count) = (live.clone(), frames.clone());
        let pool = lb.run(move || Pool::start(&ours, 1, Vec::new(), |_, _| Count(count.clone())));
        let pool = pool.expect("threads");

        until("no interface", || {
            waits_because(&live, "there is no interface lb")
        });
        testlink::join(&lb, &wire);
        tell_links(&live, &lb);
        until("running", || all_run(&live));
        send(&wire, 10, 0..40);
        seen(40);

        send(&wire, 11, 0..10);
        let version = live.set_vips(vec![address(10), address(11)]);
        until("the filter", || live.filters_at(version));
        send(&wire, 11, 0..10);
        seen(50);

        lb.ip("link set lb down");
        tell_links(&live, &lb);
        until("down", || waits_because(&live, "interface lb is down"));
        lb.ip("link set lb up");
        tell_links(&live, &lb);
        until("up again", || all_run(&live));
        send(&wire, 10, 0..40);
        seen(90);

        lb.ip("link del lb");
        until("gone", || {
            live.workers().iter().all(|worker| !worker.is_open())
        });
        testlink::join(&lb, &wire);
        tell_links(&live, &lb);
        until("there again", || all_run(&live));
        send(&wire, 10, 0..40);
        seen(130);

        assert!(pool.is_whole());
        live.stop();
        pool.join();
    }
}

#[test]
fn what_waits_in_a_ring_that_goes_is_forwarded_first() {
    let (Some(lb), Some(wire)) = (Netns::new(), Netns::new()) else {
        return;
    };
    let live = live(1);
    live.set_vips(vec![address(10)]);
    testlink::join(&lb, &wire);
    tell_links(&live, &lb);
    let frames = Arc::new(AtomicU64::new(0));
    let (open, gate) = mpsc::channel();
    let (ours, mut handler) = (live.clone(), Some(Held(gate, Count(frames.clone()))));
    let pool = lb.run(move || {
        Pool::start(&ours, 4, Vec::new(), |_, _| {
            handler.take().expect("one worker")
        })
    });
    let pool = pool.expect("threads");
    until("running", || all_run(&live));
    // More than one turn takes, all there before the first is done.
    send(&wire, 10, 0..1000);
    let mut links = live.links().to_vec();
    links[0].mtu = 1400;
    live.set_links(Arc::new(links));
    // Long enough for the worker to look at its link next.
    std::thread::sleep(Duration::from_millis(2 * super::super::worker::LOOK_MS));
    drop(open);
    until("frames", || frames.load(Relaxed) == 1000);
    live.stop();
    pool.join();
}

#[test]
fn a_pool_whose_worker_has_panicked_is_not_whole() {
    let (Some(lb), Some(wire)) = (Netns::new(), Netns::new()) else {
        return;
    };
    let live = live(1);
    live.set_vips(vec![address(10)]);
    testlink::join(&lb, &wire);
    tell_links(&live, &lb);
    let ours = live.clone();
    let pool = lb.run(move || Pool::start(&ours, 1, Vec::new(), |_, _| Panics));
    let pool = pool.expect("threads");
    until("running", || all_run(&live));
    assert!(pool.is_whole());
    send(&wire, 10, 0..1);
    until("panicked", || !pool.is_whole());
    live.stop();
    pool.join();
}

#[test]
fn an_interface_that_tells_no_queues_gets_one_worker() {
    assert_eq!(workers_for("no-such-link", 0), 1);
    let cores = affinity::allowed_cores().expect("cores").len();
    assert_eq!(workers_for("no-such-link", 10_000), cores);
}
