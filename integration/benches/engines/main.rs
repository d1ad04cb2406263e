//! lbd's engines against their peers, and against the least that anybody could do.
//!
//! `cargo bench -p integration --bench engines [-- --only PART]... [--write]`, as root on two cores
//! or more, after `cargo build --release -p lbd -p lbctl`; `ROUNDS=n` sets the rounds. Parts: program,
//! one-arm, sockets, stream, costs, ten-million. Needs clang, nft, ethtool and setpriv.
//!
//! The generator is a BPF program that the kernel runs for frame after frame and whose frames it
//! sends into a veth; what returns is counted by a program at the same end. So neither making nor
//! counting of frames goes through a socket, and a lost frame is seen. Every contender has a wire of
//! its own, all stand side by side, and take turns in every round, since other work on the machine moves
//! all alike. docs/benchmarks.md says how to read the tables.

mod af_xdp_echo;
// lbd's own benchmark has it, with kinds that are of no use here.
#[path = "../../../lbd/benches/engine/bare.rs"]
#[allow(dead_code, unsafe_code)]
mod bare;
mod cores;
mod costs;
mod echo;
mod far_end;
mod figures;
mod lbd;
mod machine;
mod nft;
mod object;
mod one_arm;
mod plan;
mod plot;
mod program;
mod quiet;
mod rate;
mod rows;
mod sockets;
mod stand;
mod stream;
mod wire;

use anyhow::{Context, bail};
use integration::isolate;
use stand::Stand;
use std::time::Instant;

const DEFAULT_ROUNDS: usize = 5;

/// A part of the benchmark.
type Part = fn(&mut Stand) -> anyhow::Result<()>;

const PARTS: [(&str, Part); 6] = [
    ("program", program::measure),
    ("one-arm", one_arm::measure),
    ("sockets", sockets::measure),
    ("stream", stream::measure),
    ("costs", costs::measure),
    ("ten-million", program::measure_ten_million),
];

struct Options {
    rounds: usize,
    parts: Vec<(&'static str, Part)>,
    write: bool,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    isolate::enter().context("namespaces: `unshare` of util-linux is needed, and root")?;
    lbd::mount_bpffs()?;
    let mut stand = Stand::new(options.rounds)?;
    for (name, measure) in &options.parts {
        let begin = Instant::now();
        stand.begin_part();
        measure(&mut stand).with_context(|| (*name).to_owned())?;
        println!("{name} took {:.0?}", begin.elapsed());
    }
    println!("\n{}\n{}", stand.figures, stand.quietness());
    if options.write {
        let command = format!(
            "ROUNDS={} cargo bench -p integration --bench engines",
            options.rounds
        );
        stand.figures.write(&command, &stand.quietness())?;
    }
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        rounds: DEFAULT_ROUNDS,
        parts: Vec::new(),
        write: false,
    };
    if let Ok(rounds) = std::env::var("ROUNDS") {
        options.rounds = rounds.parse().context("ROUNDS")?;
    }
    let names = PARTS.map(|(name, _)| name).join("|");
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {} // cargo's
            "--write" => options.write = true,
            "--only" => {
                let name = args.next().unwrap_or_default();
                let part = PARTS.into_iter().find(|(known, _)| *known == name);
                let part = part.with_context(|| format!("{name:?} is none of {names}"))?;
                options.parts.push(part);
            }
            other => bail!("{other}? engines [--only {names}]... [--write]"),
        }
    }
    if options.write && !options.parts.is_empty() {
        bail!("--write is for all parts at once: what is not measured would be gone from the page");
    }
    if options.parts.is_empty() {
        options.parts = PARTS.to_vec();
    }
    Ok(options)
}
