//! Waiting for a condition, never for a time.

use std::time::{Duration, Instant};

/// How often a condition is looked at: far below every figure a test asserts, and cheap beside
/// the processes some conditions start.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks at `condition` until it gives a value, and returns it with the time that took.
///
/// # Panics
/// When it gave none within `deadline`; `what` says what was waited for.
pub fn wait_for<T>(
    what: &str,
    deadline: Duration,
    mut condition: impl FnMut() -> Option<T>,
) -> (T, Duration) {
    let start = Instant::now();
    loop {
        let began = start.elapsed();
        if let Some(value) = condition() {
            return (value, start.elapsed());
        }
        // Only a look that began too late was the last: it may have taken long itself.
        assert!(began < deadline, "waited {deadline:?} in vain until {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until `condition` holds and returns how long that took.
///
/// # Panics
/// When it did not hold within `deadline`.
pub fn wait_until(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Duration {
    wait_for(what, deadline, || condition().then_some(())).1
}

/// Keeps looking at `condition` for `span`: for what must not happen.
///
/// # Panics
/// As soon as it does not hold.
pub fn holds_for(what: &str, span: Duration, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < span {
        assert!(
            condition(),
            "after {:?} it no longer held that {what}",
            start.elapsed()
        );
        std::thread::sleep(LOOK_EVERY);
    }
}
