//! A clock for bounds on how quick something is, on a machine whose cores may stop.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    seen: Arc<Mutex<Seen>>,
    witnesses: Vec<JoinHandle<()>>,
}

/// What the witnesses have seen; times since the start.
#[derive(Debug)]
struct Seen {
    /// When each woke last.
    woke: Vec<Duration>,
    /// From when to when a core stood still.
    stops: Vec<(Duration, Duration)>,
}

impl Seen {
    /// The nap that ends now, if it was too long: when it should have ended, and now.
    fn stop(&self, witness: usize, now: Duration) -> Option<(Duration, Duration)> {
        let woke = self.woke[witness];
        (now.saturating_sub(woke) > STOPPED).then_some((woke + NAP, now))
    }

    fn wake(&mut self, witness: usize, now: Duration) {
        self.stops.extend(self.stop(witness, now));
        self.woke[witness] = now;
    }

    /// How long at least one core stood still until `now`.
    fn stood_still(&self, now: Duration) -> Duration {
        let naps = 0..self.woke.len();
        let mut stops: Vec<_> = naps.filter_map(|nap| self.stop(nap, now)).collect();
        stops.extend(&self.stops);
        stops.sort();
        let (mut sum, mut counted) = (Duration::ZERO, Duration::ZERO);
        for (from, to) in stops {
            sum += to.saturating_sub(from.max(counted));
            counted = counted.max(to);
        }
        sum
    }
}

impl FairClock {
    /// Starts at zero.
    ///
    /// # Panics
    /// When the cores of this process cannot be told.
    pub fn start() -> FairClock {
        let ours = sched_getaffinity(Pid::from_raw(0)).expect("the cores of this process");
        let cores = (0..CpuSet::count()).filter(|core| ours.is_set(*core).unwrap_or(false));
        let cores: Vec<usize> = cores.collect();
        let (start, stop) = (Instant::now(), Arc::new(AtomicBool::new(false)));
        let seen = Arc::new(Mutex::new(Seen {
            woke: vec![Duration::ZERO; cores.len()],
            stops: Vec::new(),
        }));
        let witness = |(number, core): (usize, usize)| {
            let (stop, seen) = (Arc::clone(&stop), Arc::clone(&seen));
            std::thread::spawn(move || {
                let mut only = CpuSet::new();
                only.set(core).expect("a core");
                sched_setaffinity(Pid::from_raw(0), &only).expect("a thread on one core");
                while !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(NAP);
                    lock(&seen).wake(number, start.elapsed());
                }
            })
        };
        let witnesses = cores.into_iter().enumerate().map(witness).collect();
        FairClock {
            start,
            stop,
            seen,
            witnesses,
        }
    }

    /// Time since the start in which no core stood still.
    pub fn elapsed(&self) -> Duration {
        let seen = lock(&self.seen);
        // With the lock: nobody notes what comes after.
        let now = self.start.elapsed();
        now.saturating_sub(seen.stood_still(now))
    }
}

fn lock(seen: &Mutex<Seen>) -> std::sync::MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for FairClock {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for witness in self.witnesses.drain(..) {
            let _ = witness.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn time_in_which_a_core_stands_still_counts_once() {
        let mut seen = Seen {
            woke: vec![ms(0); 2],
            stops: Vec::new(),
        };
        for (witness, now) in [(0, 5), (1, 6), (0, 45), (1, 46)] {
            seen.wake(witness, ms(now));
        }
        assert_eq!(seen.stood_still(ms(50)), ms(0), "cores are shared");
        seen.wake(0, ms(1_045));
        assert_eq!(seen.stood_still(ms(1_045)), ms(995));
        seen.wake(1, ms(1_546));
        assert_eq!(seen.stood_still(ms(1_546)), ms(1_496), "both, then one");
        seen.wake(0, ms(1_546));
        assert_eq!(seen.stood_still(ms(1_550)), ms(1_496), "both run");
        assert_eq!(seen.stood_still(ms(2_051)), ms(1_996), "nobody has woken");
    }
}
