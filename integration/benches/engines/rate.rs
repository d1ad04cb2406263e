//! What an echo in user space tells, and is told: the bare one of lbd's own benchmark asks for it here.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Frames echoed so far, and whether to end.
#[derive(Debug, Default)]
pub struct Progress {
    /// Frames echoed.
    pub sent: AtomicU64,
    /// End.
    pub stop: AtomicBool,
}

impl Progress {
    /// False when it is time to end.
    pub fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::Relaxed)
    }
}
