//! What other machines said about a VIP of ours.

use crate::net::MacAddr;
use crate::time::Tick;
use std::time::Duration;

/// A claim that comes again, after our defence, for this long is more than one forged frame or one
/// stray burst: some machine means it.
pub const STEADY: Duration = Duration::from_secs(2);

/// Claims further apart than this do not belong together. Two lbds that defend against each other
/// claim once a second.
const GAP: Duration = Duration::from_secs(3);

/// A claim is told for this long: many of our questions, so that a machine that still answers for
/// the VIP stays in `status`; and long enough to be read when it came only once.
pub const MEMORY: Duration = Duration::from_secs(150);

/// How much a claim weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weight {
    /// One of few.
    Light,
    /// The same machine went on claiming, and we defended.
    Steady,
}

/// Memory of claims, of fixed size whatever is forged.
#[derive(Clone, Debug, Default)]
pub(super) struct Claims {
    last: Option<(MacAddr, Tick)>,
    run: Option<Run>,
    count: u64,
}

/// Claims of one machine we would yield to, without a longer gap.
#[derive(Clone, Copy, Debug)]
struct Run {
    mac: MacAddr,
    first: Tick,
    last: Tick,
}

impl Claims {
    /// Another machine claims what we hold or were about to take.
    pub(super) fn against(&mut self, mac: MacAddr, now: Tick) {
        self.count = self.count.saturating_add(1);
        self.last = Some((mac, now));
    }

    /// How much the claim of a machine that we would yield to weighs, with those before it.
    pub(super) fn weigh(&mut self, mac: MacAddr, now: Tick) -> Weight {
        match &mut self.run {
            // Another's claims in between must not hide the one that goes on.
            Some(run) if now.since(run.last) <= millis(GAP) => {
                if run.mac != mac {
                    return Weight::Light;
                }
                run.last = now;
                if now.since(run.first) >= millis(STEADY) {
                    Weight::Steady
                } else {
                    Weight::Light
                }
            }
            run => {
                *run = Some(Run {
                    mac,
                    first: now,
                    last: now,
                });
                Weight::Light
            }
        }
    }

    /// Another machine has the VIP, which we know: nothing to count.
    pub(super) fn seen(&mut self, mac: MacAddr, now: Tick) {
        self.last = Some((mac, now));
    }

    /// Nobody claims any more.
    pub(super) fn forget(&mut self) {
        self.last = None;
        self.run = None;
    }

    /// Forgets what is too old to tell.
    pub(super) fn expire(&mut self, now: Tick) {
        if self.deadline().is_some_and(|end| end <= now) {
            self.forget();
        }
    }

    /// When the last claim is old enough to be forgotten.
    pub(super) fn deadline(&self) -> Option<Tick> {
        self.last.map(|(_, at)| at + MEMORY)
    }

    /// Who claimed last.
    pub(super) fn claimant(&self) -> Option<MacAddr> {
        self.last.map(|(mac, _)| mac)
    }

    /// Claims counted since the start.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
