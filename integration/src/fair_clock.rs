//! A clock for bounds on how quick something is, on a machine whose cores may stop.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a witness sleeps at a time.
const NAP: Duration = Duration::from_millis(5);

/// Slept for longer than that, a core stood still; less is how cores are shared.
const STOPPED: Duration = Duration::from_millis(50);

/// Time without that in which a core stood still: the host of a virtual machine runs others on it now and
/// then, for seconds. A thread on each core naps, and what it oversleeps is taken off. What lbd itself takes
/// long for is not: it would have to keep a core from everybody.
#[derive(Debug)]
pub struct FairClock {
    start: Instant,
    stop: Arc<AtomicBool>,
    witnesses: Vec<(Arc<Witness>, JoinHandle<()>)>,
}

/// What one core's thread has seen, in nanoseconds since the start.
#[derive(Debug, Default)]
struct Witness {
    woke: AtomicU64,
    stood_still: AtomicU64,
}

impl Witness {
    /// What a nap until `now` was too long by, if the core stood still.
    fn overslept(&self, now: u64) -> u64 {
        let slept = now.saturating_sub(self.woke.load(Ordering::SeqCst));
        match Duration::from_nanos(slept) > STOPPED {
            true => slept - NAP.as_nanos() as u64,
            false => 0,
        }
    }

    fn watch(&self, start: Instant, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(NAP);
            let now = start.elapsed().as_nanos() as u64;
            self.stood_still
                .fetch_add(self.overslept(now), Ordering::SeqCst);
            self.woke.store(now, Ordering::SeqCst);
        }
    }
}

impl FairClock {
    /// Starts at zero.
    ///
    /// # Panics
    /// When the cores of this process cannot be told.
    pub fn start() -> FairClock {
        let (start, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let ours = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this process");
        let cores = (0..CpuSet::count()).filter(|core| ours.is_set(*core).unwrap_or(false));
        let witnesses = cores.map(|core| {
            let (witness, stop) = (Arc::new(Witness::default()), Arc::clone(&stop));
            let noting = Arc::clone(&witness);
            let thread = std::thread::spawn(move || {
                let mut only = CpuSet::new();
                only.set(core).expect("a core");
                sched_setaffinity(Pid::from_raw(0), &only).expect("a thread on one core");
                noting.watch(start, &stop);
            });
            (witness, thread)
        });
        FairClock {
            start,
            witnesses: witnesses.collect(),
            stop,
        }
    }

    /// Time since the start in which no core stood still; at least, where several did at once.
    pub fn elapsed(&self) -> Duration {
        let now = self.start.elapsed();
        let stood_still = self.witnesses.iter().map(|(witness, _)| {
            // One that stands still, or has just gone on and has not said so.
            let pending = witness.overslept(now.as_nanos() as u64);
            witness.stood_still.load(Ordering::SeqCst) + pending
        });
        let stood_still: u64 = stood_still.sum();
        now.saturating_sub(Duration::from_nanos(stood_still))
    }
}

impl Drop for FairClock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for (_, thread) in self.witnesses.drain(..) {
            let _ = thread.join();
        }
    }
}
