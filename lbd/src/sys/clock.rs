//! The one clock of the packet path.

use lbcore::time::Tick;

/// Now, in milliseconds of CLOCK_MONOTONIC: the next process on this host shares it, and no
/// administrator can turn it back.
pub fn now() -> Tick {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to for the length of the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut time) };
    debug_assert_eq!(result, 0, "CLOCK_MONOTONIC exists on every Linux");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let millis = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
    Tick(seconds * 1000 + millis)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn keeps_step_with_instant() {
        let (tick, instant) = (now(), Instant::now());
        while instant.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        let passed = now().since(tick);
        assert!((19..1000).contains(&passed), "{passed} ms");
    }
}
