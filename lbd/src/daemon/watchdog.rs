//! Whether the packet workers live.

use crate::live::Live;
use lbcore::time::Tick;

/// A worker turns at least ten times a second, also when idle or waiting for its interface.
const SILENT_MS: u64 = 5_000;

/// Whether every worker has said so lately. One that never began counts from lbd's start by its
/// first beat.
pub fn workers_live(live: &Live, now: Tick) -> bool {
    live.workers()
        .iter()
        .all(|w| w.last_beat() == Tick(0) || now.since(w.last_beat()) < SILENT_MS)
}
