//! The `af_packet` engine against bare echoes and against no balancer at all.
//!
//! `cargo bench -p lbd --bench engine [-- rate | goodput]`, as root on two cores or more;
//! `ROUNDS=n` sets the rounds. Everything happens in namespaces that live as long as this process.
//! Contenders take turns in every round and medians count, since other work on the machine moves
//! all alike.
// The bare echoes stand for a program without our wrappers, so they call libc themselves.
#![allow(unsafe_code)]

mod bare;
mod director;
mod goodput;
mod netns;
mod rate;
mod wire;

use std::thread;

const VIP: [u8; 4] = [192, 0, 2, 10];
/// Echoed frames go to nobody's MAC, so that the kernel at the other end drops them early.
const MACS: [u8; 12] = [2, 0, 0, 0, 0, 0x99, 2, 0, 0, 0, 0, 1];
const RING_MIB: usize = 64;

/// The value below which `part` of all lie.
fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[(values.len() as f64 * part) as usize]
}

fn main() {
    let rounds = std::env::var("ROUNDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(7);
    let chosen: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    let wanted = |name: &str| chosen.is_empty() || chosen.iter().any(|arg| arg == name);
    // A thread each: namespaces and cores are a thread's.
    if wanted("rate") {
        thread::spawn(move || rate::compare(rounds))
            .join()
            .expect("rate");
    }
    if wanted("goodput") {
        thread::spawn(move || goodput::compare(rounds))
            .join()
            .expect("goodput");
    }
}
