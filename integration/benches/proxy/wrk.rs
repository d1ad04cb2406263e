//! wrk: requests as quick as answers come, on 64 connections.

use crate::network::Network;
use anyhow::{Context, ensure};
use std::net::SocketAddr;
use std::time::Duration;

/// What becomes of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Connections {
    /// The next request follows on it.
    Kept,
    /// The server closes it; the next request has a new one.
    Closed,
}

/// What wrk saw.
#[derive(Debug, PartialEq)]
pub struct Seen {
    /// Answers.
    pub count: f64,
    /// Answers per second.
    pub per_second: f64,
    /// 99 of 100 answers came within this, in milliseconds, counted from the request.
    pub p99_ms: f64,
}

/// Runs it for `span`, from the client.
///
/// # Errors
/// When it cannot be run, or saw errors.
pub fn run(
    net: &Network,
    address: SocketAddr,
    connections: Connections,
    span: Duration,
) -> anyhow::Result<Seen> {
    let mut command = net.client.command("wrk");
    command.args(["--threads=1", "--connections=64", "--latency"]);
    command.arg(format!("--duration={}s", span.as_secs()));
    if connections == Connections::Closed {
        command.args(["--header", "Connection: close"]);
    }
    let output = command
        .arg(format!("http://{address}/"))
        .output()
        .context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "wrk failed: {text}");
    parse(&text).with_context(|| format!("wrk said: {text}"))
}

fn parse(text: &str) -> anyhow::Result<Seen> {
    let after = |start: &str| {
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(start))?;
        Some(line.trim())
    };
    for errors in ["Socket errors:", "Non-2xx"] {
        ensure!(after(errors).is_none(), "it saw errors");
    }
    let count = text.lines().find(|line| line.contains(" requests in "));
    let count = count.and_then(|line| line.split_whitespace().next());
    Ok(Seen {
        count: count.context("no number of requests")?.parse()?,
        per_second: after("Requests/sec:").context("no rate")?.parse()?,
        p99_ms: milliseconds(after("99%").context("no 99 %")?)?,
    })
}

/// `726.00us`, `2.21ms` or `1.02s`.
fn milliseconds(text: &str) -> anyhow::Result<f64> {
    let (number, factor) = if let Some(number) = text.strip_suffix("us") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix("ms") {
        (number, 1.0)
    } else {
        (text.strip_suffix('s').context("no unit")?, 1e3)
    };
    Ok(number.parse::<f64>()? * factor)
}
