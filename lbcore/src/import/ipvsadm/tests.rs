#![allow(clippy::unwrap_used)]

use super::super::tests::{good, options, told};
use super::*;
use rstest::rstest;

fn imported(text: &str) -> Imported {
    good(import(text.as_bytes(), &options()))
}

#[test]
fn saved_rules_become_a_file() {
    let imported = imported(include_str!("../fixtures/rules.ipvsadm"));
    insta::assert_snapshot!("ipvsadm", imported.toml);
    insta::assert_snapshot!("ipvsadm_findings", told(&imported));
}

/// `ipvsadm -S` without `-n`.
#[test]
fn names_are_looked_up() {
    let imported = imported(include_str!("../fixtures/names.ipvsadm"));
    insta::assert_snapshot!("ipvsadm_names", imported.toml);
    insta::assert_snapshot!("ipvsadm_names_findings", told(&imported));
}

/// Long options, as in scripts; the program's name before them.
#[test]
fn long_options_mean_the_same() {
    let short = imported("-A -t 192.0.2.1:80 -s rr\n-a -t 192.0.2.1:80 -r 192.0.2.2:80 -g -w 3\n");
    let long = imported(
        "ipvsadm --add-service --tcp-service 192.0.2.1:80 --scheduler rr\n\
         /sbin/ipvsadm --add-server --tcp-service 192.0.2.1:80 --real-server 192.0.2.2:80 \
         --gatewaying --weight 3\n",
    );
    let without_comments = |imported: &Imported| {
        let lines = imported.toml.lines().filter(|line| !line.starts_with('#'));
        lines.collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_comments(&short), without_comments(&long));
    assert_eq!(long.findings, []);
}

#[rstest]
#[case("-C", "line 1: -C: left out")]
#[case("-A -t", "line 1: -A -t: left out: -t wants a value")]
#[case("nonsense", "line 1: nonsense: left out")]
#[case(
    "-A -t 192.0.2.1:99999",
    "line 1: -A -t 192.0.2.1:99999: 99999 is no port"
)]
#[case(
    "-a -t 192.0.2.1:80 -r 192.0.2.2:80",
    "line 1: -a -t 192.0.2.1:80 -r 192.0.2.2:80: left out: no line above"
)]
#[case(
    "-A -t 192.0.2.1:80\n-A -t 192.0.2.1:80",
    "line 2: -A -t 192.0.2.1:80: left out"
)]
#[case("-A -t 127.0.0.1:80", "line 1: -A -t 127.0.0.1:80: 127.0.0.1 left out")]
#[case(
    "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 192.0.2.1:80",
    "line 2: -a -t 192.0.2.1:80 -r 192.0.2.1:80: left out: 192.0.2.1 is a VIP"
)]
#[case(
    "-A -t 192.0.2.1:80\n-a -t 192.0.2.1:80 -r 192.0.2.2:80 --zz",
    "line 2: -a -t 192.0.2.1:80 -r 192.0.2.2:80 --zz: --zz: no equivalent"
)]
fn what_has_no_equivalent_is_told(#[case] text: &str, #[case] begins: &str) {
    let told = told(&imported(text));
    assert!(told.lines().any(|line| line.starts_with(begins)), "{told}");
}

/// Weights of IPVS go to 2^31: their proportions stay.
#[test]
fn weights_are_scaled_together() {
    let real =
        |n: u8, weight: u32| format!("-a -t 192.0.2.1:80 -r 192.0.2.{n}:80 -g -w {weight}\n");
    let text = format!(
        "-A -t 192.0.2.1:80 -s wrr\n{}{}{}{}",
        real(2, 5120),
        real(3, 2560),
        real(4, 1),
        real(5, 0)
    );
    let config = crate::config::parse(&imported(&text).toml).unwrap();
    let weights: Vec<u16> = config.services[0]
        .reals
        .iter()
        .map(|real| real.weight)
        .collect();
    assert_eq!(weights, [256, 128, 1, 0]);
}
