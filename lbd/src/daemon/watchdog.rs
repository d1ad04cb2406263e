//! Whether the packet and proxy workers live.

use crate::live::Live;
use lbcore::time::Tick;

/// A worker turns at least ten times a second, also when idle or waiting for its interface.
const SILENT_MS: u64 = 5_000;

/// Whether every worker has said so lately. One that never began counts from lbd's start by its
/// first beat.
pub fn workers_live(live: &Live, now: Tick) -> bool {
    let packets = live.workers().iter().map(|w| w.last_beat());
    let proxied = live.proxies().iter().map(|w| w.last_beat());
    packets
        .chain(proxied)
        .all(|beat| beat == Tick(0) || now.since(beat) < SILENT_MS)
}
