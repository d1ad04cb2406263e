//! Round robin: each real in turn.

use super::{Candidate, Pick, turn, weighted};
use crate::id::RealId;

/// The reals in the order of their turns.
#[derive(Clone, Debug)]
pub struct Rr(Box<[RealId]>);

impl Rr {
    pub(super) fn build(candidates: &[Candidate]) -> Self {
        Rr(weighted(candidates)
            .map(|candidate| candidate.real)
            .collect())
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        turn(&self.0, pick.cursor)
    }
}
