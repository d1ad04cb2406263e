//! How many flows each real has: shared counts outside the snapshot, read by least-connections
//! schedulers and by the views.

use crate::id::{MAX_REALS, RealId};
use std::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Flows of one real as the flow table knows them.
#[derive(Debug, Default)]
pub struct Load {
    active: AtomicI32,
    inactive: AtomicI32,
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
    fn cell(&self, real: RealId, kind: Weightiness) -> &AtomicI32 {
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
        let max = i32::try_from(max).unwrap_or(i32::MAX);
        cell.fetch_update(Relaxed, Relaxed, |n| (n < max).then_some(n + 1))
            .is_ok()
    }

    /// Counts a flow out.
    pub fn sub(&self, real: RealId, kind: Weightiness) {
        self.cell(real, kind).fetch_sub(1, Relaxed);
    }

    /// Counts `by` flows in, or out where it is negative: what the XDP program did, which is told a little
    /// later. A count may be below zero until then, and shows as none.
    pub fn adjust(&self, real: RealId, kind: Weightiness, by: i64) {
        // Counts are far from 2^31 flows, so what is cut off cancels out.
        self.cell(real, kind).fetch_add(by as i32, Relaxed);
    }

    fn read(&self, real: RealId, kind: Weightiness) -> i64 {
        self.cell(real, kind).load(Relaxed).into()
    }

    /// Active flows of `real`.
    pub fn active(&self, real: RealId) -> u32 {
        shown(self.read(real, Weightiness::Active))
    }

    /// Inactive flows of `real`.
    pub fn inactive(&self, real: RealId) -> u32 {
        shown(self.read(real, Weightiness::Inactive))
    }

    /// All flows of `real`. One that is counted out of the wrong kind, because it changed while flows were
    /// counted anew, is none all the same.
    pub fn flows(&self, real: RealId) -> u32 {
        shown(self.read(real, Weightiness::Active) + self.read(real, Weightiness::Inactive))
    }
}

fn shown(count: i64) -> u32 {
    u32::try_from(count.max(0)).unwrap_or(u32::MAX)
}
