//! Weighted least connections: the real with the least to do for its weight.

use super::lc::{overhead, rotated};
use super::{Candidate, Pick, weighted};
use crate::id::RealId;
use std::cmp::Ordering;

/// The reals that may get flows, with their weights (never 0).
#[derive(Clone, Debug)]
pub struct Wlc(Box<[(RealId, u16)]>);

impl Wlc {
    pub(super) fn build(candidates: &[Candidate]) -> Self {
        Wlc(weighted(candidates)
            .map(|candidate| (candidate.real, candidate.weight))
            .collect())
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        rotated(&self.0, pick.cursor)
            .map(|(real, weight)| (overhead(pick.loads, *real), *weight, *real))
            .min_by(|(a, weight_a, _), (b, weight_b, _)| per_weight(*a, *weight_a, *b, *weight_b))
            .map(|(_, _, real)| real)
    }
}

/// Compares `a / weight_a` with `b / weight_b` exactly: an overhead has at most 41 bits, so the
/// products fit.
fn per_weight(a: u64, weight_a: u16, b: u64, weight_b: u16) -> Ordering {
    (a * u64::from(weight_b)).cmp(&(b * u64::from(weight_a)))
}
