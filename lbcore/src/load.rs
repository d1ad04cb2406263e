//! How many flows each real has: shared counts outside the snapshot, read by least-connections
//! schedulers and by the views.

use crate::id::{MAX_REALS, RealId};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// Flows of one real as the flow table knows them.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicU32,
    inactive: AtomicU32,
}

/// Which of the two counts a flow belongs to: IPVS's distinction, where an established TCP flow
/// and any UDP flow is active, and a handshaking or closing one is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weightiness {
    /// Established TCP, or UDP.
    Active,
    /// Handshaking or closing TCP.
    Inactive,
}

/// The counts of all reals, indexed by [`RealId`].
#[derive(Debug)]
pub struct Loads(Box<[Load]>);

impl Default for Loads {
    fn default() -> Self {
        Loads((0..MAX_REALS).map(|_| Load::default()).collect())
    }
}

impl Loads {
    fn cell(&self, real: RealId, kind: Weightiness) -> &AtomicU32 {
        let load = &self.0[real.index()];
        match kind {
            Weightiness::Active => &load.active,
            Weightiness::Inactive => &load.inactive,
        }
    }

    /// Counts a flow in.
    pub fn add(&self, real: RealId, kind: Weightiness) {
        self.cell(real, kind).fetch_add(1, Relaxed);
    }

    /// Counts a flow in, unless `real` has `max` of them already (0: no bound). False: it has.
    pub fn add_below(&self, real: RealId, max: u32) -> bool {
        let cell = self.cell(real, Weightiness::Active);
        if max == 0 {
            cell.fetch_add(1, Relaxed);
            return true;
        }
        cell.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1))
            .is_ok()
    }

    /// Counts a flow out. Never wraps below zero: a count that a damaged table made wrong heals
    /// at the next recount instead of turning a real away for ever.
    pub fn sub(&self, real: RealId, kind: Weightiness) {
        let _ = self
            .cell(real, kind)
            .fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
    }

    /// Counts `by` flows in, or out where it is negative; never below zero.
    pub fn adjust(&self, real: RealId, kind: Weightiness, by: i64) {
        let adjusted = |n: u32| {
            let n = i64::from(n).saturating_add(by);
            Some(u32::try_from(n.max(0)).unwrap_or(u32::MAX))
        };
        let _ = self
            .cell(real, kind)
            .fetch_update(Relaxed, Relaxed, adjusted);
    }

    /// Active flows of `real`.
    pub fn active(&self, real: RealId) -> u32 {
        self.cell(real, Weightiness::Active).load(Relaxed)
    }

    /// Inactive flows of `real`.
    pub fn inactive(&self, real: RealId) -> u32 {
        self.cell(real, Weightiness::Inactive).load(Relaxed)
    }

    /// All flows of `real`.
    pub fn flows(&self, real: RealId) -> u32 {
        self.active(real).saturating_add(self.inactive(real))
    }
}
