#![allow(clippy::unwrap_used)]

use super::*;
use crate::load::Weightiness;
use crate::net::HashKey;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn candidate(number: u16, weight: u16) -> Candidate {
    let [high, low] = number.to_be_bytes();
    let identity = Identity {
        address: Addr::v4([10, 0, high, low]),
        port: 0,
    };
    Candidate {
        real: RealId(number),
        identity,
        weight,
    }
}

fn candidates(weights: &[u16]) -> Vec<Candidate> {
    (0..)
        .zip(weights)
        .map(|(number, weight)| candidate(number, *weight))
        .collect()
}

/// Picks `count` times as one worker would, with hashes that spread.
fn picks(scheduler: &Scheduler, ring: Option<&Ring>, count: u64) -> BTreeMap<RealId, u64> {
    let loads = Loads::default();
    let key = HashKey::new([1; 16]);
    let mut seen = BTreeMap::new();
    for cursor in 0..count {
        let flow = FlowHash(key.bytes(&cursor.to_be_bytes()));
        let source = FlowHash(key.bytes(&(!cursor).to_be_bytes()));
        let pick = Pick {
            cursor,
            ring,
            flow,
            source,
            loads: &loads,
        };
        if let Some(real) = scheduler.pick(&pick) {
            *seen.entry(real).or_insert(0) += 1;
        }
    }
    seen
}

fn order(scheduler: &Scheduler, count: u64) -> Vec<u16> {
    let loads = Loads::default();
    (0..count)
        .map(|cursor| Pick {
            cursor,
            ring: None,
            flow: FlowHash(0),
            source: FlowHash(0),
            loads: &loads,
        })
        .map(|pick| scheduler.pick(&pick).unwrap().0)
        .collect()
}

const ALL: [Kind; 6] = [
    Kind::Rr,
    Kind::Wrr,
    Kind::Lc,
    Kind::Wlc,
    Kind::Sh,
    Kind::Maglev,
];

#[test]
fn rr_gives_each_its_turn() {
    let rr = Scheduler::build(Kind::Rr, &candidates(&[1, 9, 0, 3]));
    assert_eq!(order(&rr, 7), [0, 1, 3, 0, 1, 3, 0]);
}

#[test]
fn wrr_spreads_the_turns_of_a_heavy_real_as_nginx_does() {
    let wrr = Scheduler::build(Kind::Wrr, &candidates(&[5, 1, 1]));
    assert_eq!(order(&wrr, 14), [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
}

#[test]
fn wrr_frees_weights_of_common_factors() {
    let small = Scheduler::build(Kind::Wrr, &candidates(&[1, 2, 3]));
    let large = Scheduler::build(Kind::Wrr, &candidates(&[80, 160, 240]));
    assert_eq!(order(&small, 12), order(&large, 12));
}

#[test]
fn wrr_rounds_where_the_period_would_grow_too_long() {
    let weights: Vec<u16> = (0..400).map(|n| 57 + n / 2).collect();
    let Scheduler::Wrr(wrr) = Scheduler::build(Kind::Wrr, &candidates(&weights)) else {
        panic!("not a wrr")
    };
    let scheduler = Scheduler::Wrr(wrr);
    let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
    assert!(total > 16_384 * 3);
    let seen = picks(&scheduler, None, total * 100);
    for (index, weight) in (0..).zip(&weights) {
        let share = seen[&RealId(index)] as f64 / 100.0;
        let off = (share / f64::from(*weight) - 1.0).abs();
        assert!(off < 0.05, "weight {weight} got {share}");
    }
}

#[test]
fn lc_prefers_the_one_with_less_to_do_and_spreads_an_idle_set() {
    let lc = Scheduler::build(Kind::Lc, &candidates(&[1, 1, 1]));
    assert_eq!(order(&lc, 6), [0, 1, 2, 0, 1, 2]);

    let loads = Loads::default();
    loads.add(RealId(0), Weightiness::Active);
    for _ in 0..255 {
        loads.add(RealId(1), Weightiness::Inactive);
    }
    for _ in 0..257 {
        loads.add(RealId(2), Weightiness::Inactive);
    }
    for cursor in 0..3 {
        let hash = FlowHash(0);
        let pick = Pick {
            cursor,
            ring: None,
            flow: hash,
            source: hash,
            loads: &loads,
        };
        assert_eq!(
            lc.pick(&pick),
            Some(RealId(1)),
            "255 idle flows weigh less than 1 active"
        );
    }
}

#[test]
fn wlc_compares_what_each_has_for_its_weight() {
    let wlc = Scheduler::build(Kind::Wlc, &candidates(&[1, 3]));
    let loads = Loads::default();
    let mut placed = [0u32; 2];
    for cursor in 0..400 {
        let hash = FlowHash(0);
        let pick = Pick {
            cursor,
            ring: None,
            flow: hash,
            source: hash,
            loads: &loads,
        };
        let real = wlc.pick(&pick).unwrap();
        loads.add(real, Weightiness::Active);
        placed[real.index()] += 1;
    }
    assert!(placed[0].abs_diff(100) <= 1, "{placed:?}");
}

#[test]
fn sh_goes_by_the_client_and_maglev_by_the_flow() {
    let set = candidates(&[1; 50]);
    let ring = Ring::build(&set, &HashKey::new([7; 16])).unwrap();
    let loads = Loads::default();
    let sh = Scheduler::build(Kind::Sh, &set);
    let maglev = Scheduler::build(Kind::Maglev, &set);
    for number in 0..1_000 {
        let (flow, source) = (FlowHash(number * 7), FlowHash(number * 1_003));
        let pick = Pick {
            cursor: number,
            ring: Some(&ring),
            flow,
            source,
            loads: &loads,
        };
        assert_eq!(sh.pick(&pick), Some(ring.pick(source)));
        assert_eq!(maglev.pick(&pick), Some(ring.pick(flow)));
    }
}

#[test]
fn nobody_is_picked_from_nobody() {
    for set in [vec![], candidates(&[0, 0])] {
        let ring = Ring::build(&set, &HashKey::new([7; 16]));
        assert!(ring.is_none());
        for kind in ALL {
            assert!(
                picks(&Scheduler::build(kind, &set), ring.as_ref(), 10).is_empty(),
                "{kind}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// T14: over one period each real has exactly its weight in turns.
    #[test]
    fn wrr_shares_are_exact_over_a_period(weights in prop::collection::vec(0u16..=256, 1..60)) {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let wrr = Scheduler::build(Kind::Wrr, &candidates(&weights));
        let seen = picks(&wrr, None, total);
        for (index, weight) in (0..).zip(&weights) {
            prop_assert_eq!(seen.get(&RealId(index)).copied().unwrap_or(0), u64::from(*weight));
        }
    }

    /// T14: whatever the scheduler, weight 0 gets nothing and a set with a weight never nobody.
    #[test]
    fn weight_zero_gets_nothing(
        weights in prop::collection::vec(prop_oneof![Just(0u16), 1u16..=256], 1..12),
    ) {
        let set = candidates(&weights);
        let ring = Ring::build(&set, &HashKey::new([3; 16]));
        for kind in ALL {
            let seen = picks(&Scheduler::build(kind, &set), ring.as_ref(), 300);
            for real in seen.keys() {
                prop_assert!(weights[real.index()] > 0);
            }
            let all: u64 = seen.values().sum();
            prop_assert_eq!(all, if weights.iter().any(|w| *w > 0) { 300 } else { 0 });
        }
    }
}
