//! Which core a process runs on, and what it costs.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use std::fs;

/// The proxy's.
pub const PROXY_CORE: usize = 0;
/// Client's and server's.
pub const CLIENT_CORE: usize = 1;

/// Ticks per second of what /proc tells of processor time: Linux's USER_HZ.
const TICKS_PER_SECOND: f64 = 100.0;

/// Pins the calling thread; threads and processes it starts from then on follow.
///
/// # Errors
/// When this process may not use that core.
pub fn pin_this_thread(core: usize) -> nix::Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    sched_setaffinity(Pid::from_raw(0), &set)
}

/// Runs `start` on `core`, so that what it starts stays there.
///
/// # Errors
/// As [`pin_this_thread`].
pub fn spawned_on<T>(core: usize, start: impl FnOnce() -> T) -> nix::Result<T> {
    let mine = sched_getaffinity(Pid::from_raw(0))?;
    pin_this_thread(core)?;
    let started = start();
    sched_setaffinity(Pid::from_raw(0), &mine)?;
    Ok(started)
}

/// Processor time of a process, user and system, all threads.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    ticks: u64,
}

impl Cpu {
    /// What `pid` has used up to now.
    ///
    /// # Panics
    /// When there is no such process.
    pub fn of(pid: u32) -> Cpu {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("a process that runs");
        // The name, in parentheses, may hold blanks; field 3 follows it.
        let (_, fields) = stat.rsplit_once(") ").expect("proc_pid_stat(5)");
        let ticks = fields.split(' ').skip(11).take(2); // fields 14 and 15
        Cpu {
            ticks: ticks.filter_map(|n| n.parse::<u64>().ok()).sum(),
        }
    }

    /// Seconds since `before`.
    pub fn since(self, before: Cpu) -> f64 {
        (self.ticks - before.ticks) as f64 / TICKS_PER_SECOND
    }
}

/// Bytes of memory that only `pid` uses, swapped out or not.
///
/// # Panics
/// When there is no such process.
pub fn private_bytes(pid: u32) -> u64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).expect("smaps_rollup");
    let counts = |line: &&str| line.starts_with("Private_") || line.starts_with("Swap:");
    let private = rollup.lines().filter(counts);
    private
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok())
        .sum::<u64>()
        * 1024
}

/// Open descriptors of `pid`.
///
/// # Panics
/// When there is no such process.
pub fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("a process that runs")
        .count()
}
