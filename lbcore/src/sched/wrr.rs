//! Smooth weighted round robin, as nginx does it: weights 5, 1, 1 give `a a b a c a a`, never five
//! in a row. The whole period is worked out beforehand, so that a pick is one array access and
//! workers need no shared state.

use super::{Candidate, Pick, turn, weighted};
use crate::id::RealId;

/// The longest period worked out: 32 KiB, which stays in a core's cache. Sets whose weights, freed
/// of common factors, add up to more get rounded weights (at least 1). That takes more than 64
/// reals of the highest weight in mixed company; a real's share is then off by at most one turn in
/// the period.
const LONGEST_PERIOD: u64 = 16_384;

/// Whose turn it is, over one period.
#[derive(Clone, Debug)]
pub struct Wrr(Box<[RealId]>);

impl Wrr {
    pub(super) fn build(candidates: &[Candidate]) -> Self {
        let reals: Vec<RealId> = weighted(candidates)
            .map(|candidate| candidate.real)
            .collect();
        let weights: Vec<u64> = weighted(candidates).map(|c| u64::from(c.weight)).collect();
        Wrr(period(&reals, &shortened(weights)))
    }

    pub(super) fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        turn(&self.0, pick.cursor)
    }
}

/// The same proportions in smaller numbers: exact where the period allows, else rounded.
fn shortened(mut weights: Vec<u64>) -> Vec<u64> {
    divide_by_gcd(&mut weights);
    let total: u64 = weights.iter().sum();
    if total > LONGEST_PERIOD {
        for weight in &mut weights {
            *weight = ((*weight * LONGEST_PERIOD + total / 2) / total).max(1);
        }
        divide_by_gcd(&mut weights);
    }
    weights
}

fn divide_by_gcd(weights: &mut [u64]) {
    let gcd = weights.iter().copied().reduce(gcd).unwrap_or(1);
    for weight in weights {
        *weight /= gcd;
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// One period: each turn goes to whoever has waited longest for its weight; it then pays the
/// whole round.
fn period(reals: &[RealId], weights: &[u64]) -> Box<[RealId]> {
    if weights.iter().all(|weight| *weight == 1) {
        return reals.into();
    }
    let weights: Vec<i64> = weights.iter().map(|weight| weight.cast_signed()).collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0i64; reals.len()];
    (0..total)
        .filter_map(|_| {
            let mut richest = 0;
            for (index, weight) in weights.iter().enumerate() {
                credit[index] += weight;
                if credit[index] > credit[richest] {
                    richest = index;
                }
            }
            *credit.get_mut(richest)? -= total;
            reals.get(richest).copied()
        })
        .collect()
}
