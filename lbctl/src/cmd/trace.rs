//! `lbctl trace`

use crate::args::TraceArgs;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{Request, TraceAsk, TraceBounds, TraceEnd, TraceLine, TraceView};
use std::process::ExitCode;
use std::time::Duration;

pub async fn run(args: TraceArgs, context: &Context) -> Result<ExitCode, Failure> {
    let passed = args.packets.passed;
    let ask = TraceAsk {
        filter: args.packets.filter(),
        count: args.count,
        for_ms: u64::try_from(args.time.as_millis()).unwrap_or(u64::MAX),
        sample: args.sample,
        rate: args.rate,
    };
    let mut ended = None;
    let hear = |line: &str| {
        // A line of a version to come is still printed: print_line says what is wrong with it.
        match serde_json::from_str(line).map(|view: TraceView| view.what) {
            Ok(TraceLine::Begin(bounds)) => {
                say(&beginning(&bounds));
                if !bounds.unseen_on.is_empty() {
                    say(&unseen(&bounds.unseen_on));
                }
            }
            Ok(TraceLine::End(end)) => ended = Some(end),
            _ => {}
        }
        context.print_line(line, render::trace::line).map(drop)
    };
    let request = Request::Trace { ask };
    context.client.lines(&request, hear).await?;
    let Some(end) = ended else {
        return Err(Failure::StreamEnded);
    };
    say(&summary(&end, passed));
    match end.why.as_str() {
        "stopping" => Err(Failure::StreamEnded),
        _ => Ok(ExitCode::SUCCESS),
    }
}

/// `tracing until 100 lines or 1m; Ctrl-C ends it`
fn beginning(bounds: &TraceBounds) -> String {
    let time = humantime::format_duration(Duration::from_millis(bounds.for_ms));
    format!(
        "tracing until {} lines or {time}; Ctrl-C ends it",
        bounds.count
    )
}

/// What an operator must know who wonders where the packets are.
fn unseen(interfaces: &[String]) -> String {
    format!(
        "not shown: what the XDP program on {} forwards by itself, most packets; lbctl flows lists their flows",
        interfaces.join(", ")
    )
}

/// `12 of 340 shown (time is up); not shown: 328 by --sample`
fn summary(end: &TraceEnd, passed: bool) -> String {
    let why = match end.why.as_str() {
        "count" => "as many as asked for",
        "time" => "time is up",
        "stopping" => "lbd stops",
        other => other,
    };
    let left_out = [
        (end.sampled_out, "by --sample"),
        (end.over_rate, "over --rate"),
        (end.queue_full, "faster than they were read"),
        (end.late, "after the last"),
    ];
    let left_out: Vec<String> = left_out
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, how)| format!("{count} {how}"))
        .collect();
    let mut text = format!("{} of {} shown: {why}", end.shown, end.matched);
    if !left_out.is_empty() {
        text += &format!("; not shown: {}", left_out.join(", "));
    }
    if end.matched == 0 {
        text += match passed {
            false => "; nothing fitted: lbctl flows shows who is there, --passed what is not lbd's",
            true => "; nothing fitted: lbctl flows shows who is there, lbctl vip list who answers",
        };
    }
    text
}
