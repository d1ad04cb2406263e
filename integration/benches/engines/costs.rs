//! What lbd takes besides packets: memory, and time until a change is in force.

use crate::lbd::{Engine, Setup};
use crate::rows;
use crate::stand::Stand;
use anyhow::Context;
use std::fs;
use std::time::Instant;

const SMALL: u64 = 1 << 20;
const LARGE: u64 = 1 << 22;

/// A service each over UDP and TCP, both in both families: 1,000 reals in all.
const REALS: u16 = 250;

/// Measures both.
///
/// # Errors
/// When lbd cannot be started.
pub fn measure(stand: &mut Stand) -> anyhow::Result<()> {
    println!("memory");
    let mut resident = Vec::new();
    for entries in [SMALL, LARGE] {
        let name = format!("memory-{entries}");
        let (lbd, _wire) = stand.lbd(&name, Setup::new(Engine::Native, entries))?;
        resident.push(resident_bytes(lbd.pid())?);
    }
    let bytes = (resident[1] - resident[0]) / (LARGE - SMALL) as f64;
    // A million flows of so many bytes are as many millions of bytes.
    stand.figures.note(&rows::MEMORY, bytes);

    println!("publish");
    let setup = Setup {
        reals: REALS,
        ..Setup::new(Engine::Native, SMALL)
    };
    let (lbd, _wire) = stand.lbd("publish", setup)?;
    // The first change away from equal weights is half of one: it does not count.
    lbd.write(1);
    lbd.ctl(&["reload"]).ok();
    for round in 0..stand.rounds {
        lbd.write(2 + round as u16 % 2);
        let begin = Instant::now();
        lbd.ctl(&["reload"]).ok();
        let time = begin.elapsed().as_secs_f64() * 1e3;
        stand.figures.note(&rows::PUBLISH, time);
    }
    Ok(())
}

/// Memory of a process that is there, whoever shares it: the flow table is a BPF map or a file.
fn resident_bytes(pid: u32) -> anyhow::Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<f64>().ok());
    Ok(kib.context("smaps_rollup")? * 1024.0)
}
