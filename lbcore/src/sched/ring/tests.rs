#![allow(clippy::unwrap_used)]

use super::*;
use crate::net::Addr;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::process::Command;

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

fn equals(count: u16) -> Vec<Candidate> {
    (0..count).map(|number| candidate(number, 1)).collect()
}

fn key(seed: u8) -> HashKey {
    HashKey::new([seed; 16])
}

fn digest(ring: &Ring) -> String {
    let bytes: Vec<u8> = ring
        .slots()
        .iter()
        .flat_map(|slot| slot.to_be_bytes())
        .collect();
    format!("{:016x}", key(0).bytes(&bytes))
}

/// Slots of `real`, as numbers a test can divide.
fn share(ring: &Ring, real: u16) -> f64 {
    f64::from(u32::try_from(ring.share(RealId(real))).unwrap())
}

const SLOTS: f64 = Ring::SIZE as f64;

/// A set with everything in it that could upset agreement: both families, ports, weights.
fn mixed() -> Vec<Candidate> {
    (0..40u16)
        .map(|number| {
            let octet = u8::try_from(number).unwrap();
            let address = match number % 2 {
                0 => Addr::v4([192, 0, 2, octet]),
                _ => Addr::v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, octet]),
            };
            let identity = Identity {
                address,
                port: number % 3 * 1_000,
            };
            Candidate {
                real: RealId(number),
                identity,
                weight: number * 7 % 257,
            }
        })
        .collect()
}

#[test]
fn t12_everyone_has_an_even_share_and_few_survivors_move() {
    for (count, most_moved) in [(3, 0.0035), (10, 0.0035), (100, 0.0065), (400, 0.011)] {
        let all = equals(count);
        let mut moved = Vec::new();
        for seed in 0..10 {
            let full = Ring::build(&all, &key(seed)).unwrap();
            let mean = SLOTS / f64::from(count);
            for real in 0..count {
                assert!(
                    share(&full, real) >= 0.99 * mean,
                    "{count} reals, seed {seed}: {real}"
                );
            }

            let gone = u16::from(seed) * 37 % count;
            let rest: Vec<_> = all.iter().copied().filter(|c| c.real.0 != gone).collect();
            let without = Ring::build(&rest, &key(seed)).unwrap();
            let pairs = || full.slots().iter().zip(without.slots());
            assert!(pairs().all(|(_, after)| *after != gone));
            let strayed = pairs()
                .filter(|(was, is)| **was != gone && was != is)
                .count();
            moved.push(strayed as f64 / (SLOTS - share(&full, gone)));
        }
        let average = moved.iter().sum::<f64>() / moved.len() as f64;
        println!("{count} reals: {average:.4} of the survivors' slots move");
        assert!(average <= most_moved, "{count} reals: {average}");
    }
}

#[test]
fn t13_the_order_of_candidates_does_not_matter() {
    let set = mixed();
    let expected = Ring::build(&set, &key(5)).unwrap();
    let mut shuffled = set.clone();
    let mut random = 1;
    for round in 0..1_000 {
        for index in (1..shuffled.len()).rev() {
            random = key(9).bytes(&u64::to_be_bytes(random));
            shuffled.swap(index, usize::try_from(random % (index as u64 + 1)).unwrap());
        }
        assert!(
            Ring::build(&shuffled, &key(5)).unwrap() == expected,
            "shuffle {round}"
        );
    }
    assert_ne!(shuffled, set);
}

/// T13's other process: run by the test below.
#[test]
#[ignore = "speaks only to t13_two_processes_build_the_same_ring"]
fn t13_digest_for_another_process() {
    println!(
        "digest={}",
        digest(&Ring::build(&mixed(), &key(5)).unwrap())
    );
}

#[test]
fn t13_two_processes_build_the_same_ring() {
    let name = format!("{}::t13_digest_for_another_process", module_path!());
    let name = name.strip_prefix("lbcore::").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", name])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    let ours = format!(
        "digest={}",
        digest(&Ring::build(&mixed(), &key(5)).unwrap())
    );
    assert!(
        said.contains(&ours),
        "expected {ours}, the other process said: {said}"
    );
}

/// Peers of other versions, and the ring of the process before this one, must agree with this
/// one: a change here breaks flows on an upgrade and needs its reason in docs/decisions.md.
#[test]
fn t13_the_algorithm_has_not_changed() {
    assert_eq!(
        digest(&Ring::build(&mixed(), &key(5)).unwrap()),
        "53a2e405dba6c09a"
    );
    assert_eq!(Ring::slot(FlowHash(u64::MAX)), (u64::MAX % 65_537) as usize);
}

#[test]
fn t14_shares_follow_weights() {
    let sets: [&[u16]; 7] = [
        &[2, 13, 111, 10],
        &[1, 256],
        &[1, 1, 1, 0, 256],
        &[65_535, 1],
        &[0, 5],
        &[1; 401],
        &[3, 3, 3, 7, 0, 1, 256, 255, 128, 64],
    ];
    for weights in sets {
        let set: Vec<_> = (0..)
            .zip(weights)
            .map(|(n, weight)| candidate(n, *weight))
            .collect();
        for seed in 0..5 {
            assert_follows(&Ring::build(&set, &key(seed)).unwrap(), weights);
        }
    }
}

fn assert_follows(ring: &Ring, weights: &[u16]) {
    let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
    for (real, weight) in (0..).zip(weights) {
        let fair = SLOTS * f64::from(*weight) / total;
        let off = (share(ring, real) - fair).abs();
        assert!(
            off <= 1.0 + 0.01 * fair,
            "weight {weight}: {} for {fair}",
            share(ring, real)
        );
        assert!(*weight > 0 || share(ring, real) == 0.0);
    }
}

#[test]
fn ids_do_not_matter_only_identities() {
    let set = mixed();
    let renumbered: Vec<_> = set
        .iter()
        .map(|c| Candidate {
            real: RealId(60_000 - c.real.0),
            ..*c
        })
        .collect();
    let ours = Ring::build(&set, &key(5)).unwrap();
    let theirs = Ring::build(&renumbered, &key(5)).unwrap();
    assert!(
        ours.slots()
            .iter()
            .zip(theirs.slots())
            .all(|(a, b)| *b == 60_000 - *a)
    );
}

#[test]
fn another_key_is_another_ring() {
    assert!(Ring::build(&mixed(), &key(5)) != Ring::build(&mixed(), &key(6)));
}

#[test]
fn more_reals_than_slots_fill_the_ring_and_end() {
    let crowd: Vec<_> = (0..=u16::MAX).map(|number| candidate(number, 1)).collect();
    let ring = Ring::build(&crowd, &key(1)).unwrap();
    let placed: BTreeSet<u16> = ring.slots().iter().copied().collect();
    assert_eq!(placed.len(), 65_536, "the second round ends after one turn");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(30))]

    /// T14 with weights nobody chose by hand.
    #[test]
    fn t14_any_weights(weights in prop::collection::vec(0u16..=256, 1..100), seed: u8) {
        let set: Vec<_> = (0..).zip(&weights).map(|(n, weight)| candidate(n, *weight)).collect();
        if let Some(ring) = Ring::build(&set, &key(seed)) {
            assert_follows(&ring, &weights);
        } else {
            prop_assert!(weights.iter().all(|weight| *weight == 0));
        }
    }

    #[test]
    fn scaling_all_weights_changes_nothing(
        weights in prop::collection::vec(0u16..=25, 1..20),
        factor in 2u16..=10,
    ) {
        let set = |factor: u16| -> Vec<_> {
            (0..).zip(&weights).map(|(n, weight)| candidate(n, weight * factor)).collect()
        };
        prop_assert!(Ring::build(&set(1), &key(2)) == Ring::build(&set(factor), &key(2)));
    }
}
