//! Frames per second from a full ring and under a flood, and round trips at rest.
//!
//! The echo runs on core 1, the generator on core 0.

use super::director::Director;
use super::{MACS, RING_MIB, VIP, bare, quantile, wire};
use lbcore::director::DropReason;
use lbcore::net::FrameMeta;
use lbd::io::af_packet::{AfPacket, Fanout, Options};
use lbd::io::{Disposition, FrameHandler, FrameIo};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// What echoes frames.
#[derive(Clone, Copy)]
enum Contender {
    /// With a handler that does no more than the bare echoes.
    Engine {
        ring_mib: usize,
    },
    /// With lbd's own handler.
    Director,
    Bare(bare::Kind),
}

/// Frames echoed so far, and what the measurement wishes.
#[derive(Default)]
pub struct Progress {
    /// Frames echoed.
    pub sent: AtomicU64,
    /// Leave frames in the ring for now.
    pub hold: AtomicBool,
    /// End.
    pub stop: AtomicBool,
    /// The clock of the echo's processor time.
    clock: AtomicI32,
}

impl Progress {
    /// From now on the processor time is the calling thread's.
    fn measure_this_thread(&self) {
        let mut clock = 0;
        // SAFETY: `clock` is valid for writes; the calling thread exists.
        let result = unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
        assert_eq!(result, 0, "a thread has a clock");
        self.clock.store(clock, Relaxed);
    }

    /// Processor time the echo has used, while it lives: what other work takes is not in it.
    pub fn processor_time(&self) -> Duration {
        let mut time = libc::timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        // SAFETY: `time` is valid for writes; an unknown clock is an error.
        let result = unsafe { libc::clock_gettime(self.clock.load(Relaxed), &mut time) };
        assert_eq!(result, 0, "the echo lives");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }

    /// Waits while held; false when it is time to end.
    pub fn goes_on(&self) -> bool {
        while self.hold.load(Acquire) && !self.stop.load(Relaxed) {
            std::hint::spin_loop();
        }
        !self.stop.load(Relaxed)
    }
}

struct Echo {
    ifindex: u32,
    progress: Arc<Progress>,
}

impl FrameHandler for Echo {
    type Recognised = ();
    fn recognise(&self, _frame: &[u8], _meta: &FrameMeta) {}
    fn begin(&mut self) {}
    fn frame(&mut self, frame: &mut [u8], _meta: &FrameMeta, _recognised: &()) -> Disposition {
        frame[..12].copy_from_slice(&MACS);
        Disposition::Forward {
            ifindex: self.ifindex,
        }
    }
    fn sent(&mut self, _ifindex: u32, frames: u64) {
        let sent = self.progress.sent.load(Relaxed);
        self.progress.sent.store(sent + frames, Relaxed);
    }
    fn lost(&mut self, _ifindex: u32, _reason: DropReason) {}
    fn idle(&mut self) {}
}

/// Runs a contender in the calling thread's namespace until told to stop.
fn echo(contender: Contender, ifindex: u32, progress: &Arc<Progress>, ready: impl FnOnce()) {
    match contender {
        Contender::Bare(kind) => {
            let mut bare = bare::Bare::open(kind, ifindex, RING_MIB, MACS);
            ready();
            bare.run(progress);
        }
        Contender::Engine { ring_mib } => {
            let handler = Echo {
                ifindex,
                progress: progress.clone(),
            };
            turn(ring_mib, ifindex, progress, handler, ready);
        }
        Contender::Director => {
            let handler = Director::new(ifindex, MACS, progress.clone());
            turn(RING_MIB, ifindex, progress, handler, ready);
        }
    }
}

fn turn(
    ring_mib: usize,
    ifindex: u32,
    progress: &Progress,
    mut handler: impl FrameHandler,
    ready: impl FnOnce(),
) {
    let options = Options {
        interface: "lb",
        ifindex,
        mtu: 1500,
        ring_mib: ring_mib as u32,
        fanout: Fanout::Alone,
        vips: &[IpAddr::from(VIP)],
    };
    let mut engine = AfPacket::open(&options).expect("open");
    ready();
    while progress.goes_on() {
        engine
            .turn(Duration::from_millis(10), &mut handler)
            .expect("turn");
    }
}

/// Runs `measure` on core 0 while `contender` echoes on core 1.
fn against<T>(net: &wire::Net, contender: Contender, measure: impl FnOnce(&Progress) -> T) -> T {
    let progress = Arc::new(Progress::default());
    let (ready, is_ready) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let theirs = progress.clone();
        scope.spawn(move || {
            net.enter_lb();
            lbd::sys::affinity::pin(1).expect("core 1");
            theirs.measure_this_thread();
            echo(contender, net.lb_index, &theirs, || {
                ready.send(()).expect("waited for")
            });
        });
        is_ready.recv().expect("the echo opens");
        let result = measure(&progress);
        progress.stop.store(true, Relaxed);
        result
    })
}

/// Lets every contender run in every round, and prints medians.
pub fn compare(rounds: usize) {
    let Some(net) = wire::Net::new() else { return };
    let mut generator = wire::Generator::new(&net);
    lbd::sys::affinity::pin(0).expect("core 0");

    let contenders = [
        (
            "bare V3, sendmmsg, bypass",
            Contender::Bare(bare::Kind::V3 {
                header: false,
                bypass: true,
            }),
        ),
        (
            "bare V3, sendmmsg",
            Contender::Bare(bare::Kind::V3 {
                header: false,
                bypass: false,
            }),
        ),
        (
            "bare V3, virtio headers",
            Contender::Bare(bare::Kind::V3 {
                header: true,
                bypass: false,
            }),
        ),
        (
            "bare V2, 64 KiB slots, virtio headers",
            Contender::Bare(bare::Kind::V2 { slot: 65_536 }),
        ),
        (
            "bare V2, 2 KiB slots, virtio headers",
            Contender::Bare(bare::Kind::V2 { slot: 2048 }),
        ),
        ("engine, 64 MiB ring", Contender::Engine { ring_mib: 64 }),
        ("engine and director, 64 MiB ring", Contender::Director),
        ("engine, 16 MiB ring", Contender::Engine { ring_mib: 16 }),
        ("engine, 4 MiB ring", Contender::Engine { ring_mib: 4 }),
    ];
    println!("{rounds} rounds, medians; ratios to the first");
    let mut figures: Vec<[Vec<f64>; 4]> = vec![Default::default(); contenders.len()];
    for _ in 0..rounds {
        for ((_, contender), [full, echoed, offered, rest]) in contenders.iter().zip(&mut figures) {
            full.push(against(&net, *contender, |progress| {
                generator.drains(progress)
            }));
            let flood = against(&net, *contender, |progress| generator.flood(progress));
            echoed.push(flood.0);
            offered.push(flood.1);
            rest.extend(against(&net, *contender, |_| generator.pings()));
        }
    }
    println!(
        "{:38}  {:>12}  {:>12} {:>8}  {:>8} {:>8}",
        "", "full ring", "flood", "offered", "at rest", "p99"
    );
    println!(
        "{:38}  {:>12}  {:>12} {:>8}  {:>8} {:>8}",
        "", "Mpps ratio", "Mpps ratio", "Mpps", "us", "us"
    );
    let base: Vec<_> = figures[0]
        .iter_mut()
        .map(|values| quantile(values, 0.5))
        .collect();
    for ((name, _), [full, echoed, offered, rest]) in contenders.iter().zip(&mut figures) {
        let (full, echoed) = (quantile(full, 0.5), quantile(echoed, 0.5));
        println!(
            "{name:38}  {:7.3} {:4.2}  {:7.3} {:4.2} {:8.3}  {:8.1} {:8.1}",
            full / 1e6,
            full / base[0],
            echoed / 1e6,
            echoed / base[1],
            quantile(offered, 0.5) / 1e6,
            quantile(rest, 0.5),
            quantile(rest, 0.99)
        );
    }
}
