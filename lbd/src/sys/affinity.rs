//! Which cores a thread may run on.

use super::check;
use std::io;
use std::mem;

/// Cores this thread may use, ascending. A cgroup's cpuset and `taskset` show here, so a worker
/// count taken from it fits containers too.
pub fn allowed_cores() -> io::Result<Vec<usize>> {
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is valid for writes of the size given; 0 means the calling thread.
    check(unsafe { libc::sched_getaffinity(0, mem::size_of_val(&set), &mut set) })?;
    let possible = 0..usize::try_from(libc::CPU_SETSIZE).unwrap_or(0);
    // SAFETY: `core` is below CPU_SETSIZE, the number of bits in the set.
    Ok(possible
        .filter(|&core| unsafe { libc::CPU_ISSET(core, &set) })
        .collect())
}

/// Binds the calling thread to one core, so that its flows' cache lines stay there.
///
/// # Errors
/// EINVAL if the core does not exist or is not allowed; EPERM where a system-call filter forbids
/// pinning. Both are survivable: the thread runs on unpinned.
pub fn pin(core: usize) -> io::Result<()> {
    if core >= usize::try_from(libc::CPU_SETSIZE).unwrap_or(0) {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: an all-zero cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: `core` is below CPU_SETSIZE, the number of bits in the set.
    unsafe { libc::CPU_SET(core, &mut set) };
    // SAFETY: `set` is valid for reads of the size given; 0 means the calling thread.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_thread_may_use_only_its_core() {
        let cores = allowed_cores().expect("sched_getaffinity");
        let last = *cores.last().expect("at least one core");
        let seen = std::thread::spawn(move || pin(last).and_then(|()| allowed_cores())).join();
        assert_eq!(seen.expect("thread").expect("pin"), vec![last]);
    }

    #[test]
    fn a_core_that_cannot_exist_is_an_error() {
        assert_eq!(
            pin(usize::MAX).expect_err("no such core").raw_os_error(),
            Some(libc::EINVAL)
        );
    }
}
