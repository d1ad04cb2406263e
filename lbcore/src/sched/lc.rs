//! Least connections: the real with the least to do.

use super::{Candidate, Pick, weighted};
use crate::id::RealId;
use crate::load::Loads;

/// The reals that may get flows.
#[derive(Clone, Debug)]
pub struct Lc(Box<[RealId]>);

impl Lc {
    pub(super) fn build(candidates: &[Candidate]) -> Self {
        Lc(weighted(candidates)
            .map(|candidate| candidate.real)
            .collect())
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        rotated(&self.0, pick.cursor)
            .map(|real| (overhead(pick.loads, *real), *real))
            .min_by_key(|(overhead, _)| *overhead)
            .map(|(_, real)| real)
    }
}

/// What a real has to do, as IPVS reckons it (`ip_vs_dest_conn_overhead`): an idle or closing flow
/// costs it little.
pub(super) fn overhead(loads: &Loads, real: RealId) -> u64 {
    u64::from(loads.active(real)) * 256 + u64::from(loads.inactive(real))
}

/// All entries once, beginning with the one whose turn it is: whoever comes first wins a tie, so
/// an idle set is spread instead of its first real getting everything.
pub(super) fn rotated<T>(list: &[T], cursor: u64) -> impl Iterator<Item = &T> {
    let length = u64::try_from(list.len()).unwrap_or(u64::MAX).max(1);
    let start = usize::try_from(cursor % length).unwrap_or(0);
    let (before, after) = list.split_at(start.min(list.len()));
    after.iter().chain(before)
}
