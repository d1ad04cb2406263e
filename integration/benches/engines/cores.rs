//! Which core runs what.

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The generator's; on a veth, all that is done in the kernel's receive path runs here, too: XDP
/// programs, nft, and the delivery to raw sockets.
pub const GENERATOR: usize = 0;
/// The balancer's, as far as it is a process.
pub const BALANCER: usize = 1;

/// As systemd/lbd.service has it.
const NICE: i32 = -10;

/// Binds the calling thread to a core, and puts it before what else runs there, as lbd's unit does; threads
/// and processes it starts follow.
///
/// # Panics
/// When this process may not use that core: two are needed.
pub fn pin(core: usize) {
    let mut set = CpuSet::new();
    set.set(core).expect("a core that can exist");
    sched_setaffinity(Pid::from_raw(0), &set).expect("two cores are needed");
    // Without the privilege all are alike, too.
    let _ = rustix::process::setpriority_process(None, NICE);
}

/// Runs `f` on a core.
pub fn on<T: Send>(core: usize, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            pin(core);
            f()
        });
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
