//! lbd's transparent proxy against Debian's HAProxy doing the same job.
//!
//! `cargo bench -p integration --bench proxy [-- --only NAME]... [--write]`, as root on two cores
//! or more, after `cargo build --release -p lbd`; `ROUNDS=n` sets the rounds. Each turn has a
//! network of its own: client, balancer and server are namespaces that the kernel takes back.
//! The proxy has one core for itself, client and server share another: what is compared is what
//! one core can carry, and the proxy is the limit. Contenders take turns in every round, since
//! other work on the machine moves all alike. docs/benchmarks.md says how to read the table.

mod bulk;
mod contender;
mod idle;
mod measure;
mod network;
mod process;
mod server;
mod table;
mod wrk;

use anyhow::{Context, bail};
use contender::{Contender, Running};
use integration::isolate;
use measure::Measure;
use network::Network;
use process::{CLIENT_CORE, Cpu};
use std::time::Duration;
use table::Table;

const DEFAULT_ROUNDS: usize = 5;

/// Long enough for the 10 ms the kernel counts processor time in to be half a per cent.
const SPAN: Duration = Duration::from_secs(3);

/// Before wrk is listened to: connections, buffers and caches as they are under load.
const WARM_UP: Duration = Duration::from_secs(1);

struct Options {
    rounds: usize,
    contenders: Vec<Contender>,
    write: bool,
}

fn main() -> anyhow::Result<()> {
    let options = options()?;
    isolate::enter().context("namespaces: `unshare` of util-linux is needed, and root")?;
    process::pin_this_thread(CLIENT_CORE).context("two cores are needed")?;

    let mut table = Table::default();
    for round in 1..=options.rounds {
        for &contender in &options.contenders {
            println!("round {round} of {}: {contender}", options.rounds);
            turn(contender, &mut table).with_context(|| format!("{contender}, round {round}"))?;
        }
    }
    println!("direct, no proxy");
    turn(Contender::Direct, &mut table).context("direct")?;

    println!("\n{table}");
    if options.write {
        table.write()?;
    }
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let mut options = Options {
        rounds: DEFAULT_ROUNDS,
        contenders: Vec::new(),
        write: false,
    };
    if let Ok(rounds) = std::env::var("ROUNDS") {
        options.rounds = rounds.parse().context("ROUNDS")?;
    }
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--bench" => {} // cargo's
            "--write" => options.write = true,
            "--only" => {
                let name = args.next().unwrap_or_default();
                options.contenders.push(name.parse()?);
            }
            other => bail!("{other}? proxy [--only haproxy|haproxy-copy|lbd]... [--write]"),
        }
    }
    if options.contenders.is_empty() {
        options.contenders = vec![Contender::Haproxy, Contender::HaproxyCopy, Contender::Lbd];
    }
    Ok(options)
}

/// All measures of one contender, in a network of its own.
fn turn(contender: Contender, table: &mut Table) -> anyhow::Result<()> {
    let net = Network::new();
    let _server = server::start(&net);
    let proxy = Running::start(contender, &net)?;
    let cpu = || proxy.pid().map_or(Cpu::default(), Cpu::of);
    let mut note = |measure: Measure, value: f64| {
        println!("  {measure}: {}", measure.show(value));
        table.add(contender, measure, value);
    };

    // First, while nothing was pooled for other work.
    if let Some(pid) = proxy.pid() {
        let cost = idle::cost(&net, proxy.address(), pid)?;
        note(Measure::IdleBytes, cost.bytes);
        note(Measure::IdleDescriptors, cost.descriptors);
    }

    for (connections, rate, p99, cost) in [
        (
            wrk::Connections::Kept,
            Measure::Requests,
            Measure::RequestP99,
            Measure::RequestCpu,
        ),
        (
            wrk::Connections::Closed,
            Measure::Connections,
            Measure::ConnectionP99,
            Measure::ConnectionCpu,
        ),
    ] {
        wrk::run(&net, proxy.address(), connections, WARM_UP)?;
        let before = cpu();
        let seen = wrk::run(&net, proxy.address(), connections, SPAN)?;
        note(rate, seen.per_second);
        note(p99, seen.p99_ms);
        note(cost, cpu().since(before) * 1e6 / seen.count);
    }

    for (streams, rate, cost) in [
        (1, Measure::OneStream, Measure::OneStreamCpu),
        (8, Measure::EightStreams, Measure::EightStreamsCpu),
    ] {
        let moved = bulk::run(&net, proxy.address(), streams, SPAN, cpu)?;
        note(rate, moved.gbit_per_second);
        note(cost, moved.cpu_seconds_per_gb);
    }
    Ok(())
}
