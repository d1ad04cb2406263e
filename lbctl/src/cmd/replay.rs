//! `lbctl replay`: needs no daemon. A capture through the same director as lbd's.

use super::config::BAD_CONFIG;
use crate::args::{Global, ReplayArgs};
use crate::failure::Failure;
use crate::files;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ApiError, ErrorCode, Timestamp, TraceFilter, TraceLine, TraceView};
use lbcore::capture::{CaptureError, Reader};
use lbcore::director::DropReason;
use lbcore::flow::FlowTable;
use lbcore::net::HashKey;
use lbcore::service::ServiceTable;
use lbcore::trace::{Replay, Unsupposed, Wanted, reals_called, service_called, suppose};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime};

/// Stands for the key of an lbd: any will do, as long as it is always the same.
const FIXED_KEY: [u8; 16] = *b"lbctl replay key";

/// Flows that are remembered at most, whatever the configuration says: 84 MB.
const MAX_FLOWS: usize = 1 << 20;

pub fn run(args: ReplayArgs, global: Global) -> Result<ExitCode, Failure> {
    let Some(config) = files::good(&args.config)? else {
        return Ok(ExitCode::from(BAD_CONFIG));
    };
    let key = match &args.key {
        Some(file) => HashKey::new(key(file)?),
        None => HashKey::new(FIXED_KEY),
    };
    let capacity = config.network.flow_entries.min(MAX_FLOWS);
    let memory: Vec<AtomicU64> = (0..FlowTable::words_for(capacity))
        .map(|_| AtomicU64::new(0))
        .collect();
    let flows = FlowTable::create(&memory, &key).map_err(|e| Failure::Replay(e.to_string()))?;
    let supposed = suppose(config, key, &args.down).map_err(unsupposed)?;
    let mut replay = Replay::new(supposed, args.mac, flows).map_err(unsupposed)?;
    let wanted = wanted(args.packets.filter(), replay.table())?;
    let context = Context::new(global);
    let mut out = Out {
        context: &context,
        lines: !args.summary,
        left: args.count.unwrap_or(u64::MAX),
    };
    let ended = play(&args.capture, &mut replay, &wanted, &mut out);
    if let Err(failure @ (Failure::Output(_) | Failure::Unreadable { .. })) = ended {
        return Err(failure);
    }
    let given = (args.key.is_some(), args.mac.is_some());
    finish(&replay, given, &out)?;
    ended.map(|()| ExitCode::SUCCESS)
}

/// Where lines go.
struct Out<'a> {
    context: &'a Context,
    lines: bool,
    left: u64,
}

fn play(
    file: &Path,
    replay: &mut Replay<'_>,
    wanted: &Wanted,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    let unreadable = |source| Failure::Unreadable {
        file: file.into(),
        source,
    };
    let input: Box<dyn Read> = match file.as_os_str() == "-" {
        true => Box::new(io::stdin()),
        false => Box::new(BufReader::new(File::open(file).map_err(unreadable)?)),
    };
    let bad = |source| Failure::Capture {
        file: file.into(),
        source,
    };
    let mut reader = Reader::new(input).map_err(bad)?;
    while out.left > 0 {
        let frame = match reader.next_frame() {
            Ok(Some(frame)) => frame,
            Ok(None) => break,
            // Whoever captured was stopped while it wrote: all before is whole.
            Err(error @ CaptureError::CutOff { .. }) => {
                say(&format!("the capture {error}; all before is shown"));
                break;
            }
            Err(error) => return Err(bad(error)),
        };
        let at = frame.at;
        let replayed = replay.frame(&frame).map_err(unsupposed)?;
        let Some(packet) = replay.tell(&replayed, wanted) else {
            continue;
        };
        if out.lines {
            let what = TraceLine::Packet(Box::new(packet));
            let view = TraceView {
                at: moment(at),
                what,
            };
            out.context.print_streamed(&view, render::trace::line)?;
            out.left -= 1;
        }
    }
    Ok(())
}

/// The last line: what became of all. Words about what was supposed go to stderr.
fn finish(
    replay: &Replay<'_>,
    (has_key, has_mac): (bool, bool),
    out: &Out<'_>,
) -> Result<(), Failure> {
    let summary = replay.summary();
    if !has_key {
        say(
            "without --key new flows may go to other reals than a running lbd's: it has a key of its own",
        );
    }
    match replay.own() {
        _ if has_mac => {}
        Some(own) => say(&format!(
            "frames to {own} are taken as lbd's; --mac says otherwise"
        )),
        None if summary.verdicts.contains_key("forward") => {}
        None => say("no frame goes to a service of this configuration; --passed shows the others"),
    }
    if summary.cut_short > 0 {
        say(&format!(
            "{} packets were cut short by the capture's snapshot length; what lbd looks at was there \
             unless they are dropped as truncated",
            summary.cut_short
        ));
    }
    if !out.lines {
        return out
            .context
            .print(&summary, render::trace::summary)
            .map(drop);
    }
    let view = TraceView {
        at: moment(replay.last_at()),
        what: TraceLine::Summary(Box::new(summary)),
    };
    out.context.print_streamed(&view, render::trace::line)
}

fn moment(at: Duration) -> Timestamp {
    Timestamp(SystemTime::UNIX_EPOCH + at)
}

/// The 16 bytes of a hash key.
fn key(file: &Path) -> Result<[u8; 16], Failure> {
    let bytes = files::read(file, 16)?;
    <[u8; 16]>::try_from(bytes).map_err(|_| {
        Failure::Replay(format!(
            "{} is no hash key: that has 16 bytes (hash.key in lbd's state_dir)",
            file.display()
        ))
    })
}

/// The filter, with the names it speaks of looked up.
fn wanted(filter: TraceFilter, table: &ServiceTable) -> Result<Wanted, Failure> {
    let service = match &filter.service {
        None => None,
        Some(wanted) => {
            let known = || table.services.iter().map(|s| &*s.name).collect::<Vec<_>>();
            let found = service_called(wanted, table);
            Some(found.ok_or_else(|| ApiError::no_such_service(wanted, &known()))?)
        }
    };
    let reals = match &filter.real {
        None => None,
        Some(wanted) => match reals_called(wanted, service, table) {
            reals if reals.is_empty() => return Err(no_real(&wanted.0)),
            reals => Some(reals),
        },
    };
    if let Some(reason) = &filter.reason
        && !DropReason::ALL.iter().any(|known| known.word() == reason)
    {
        let known: Vec<&str> = DropReason::ALL.iter().map(|r| r.word()).collect();
        let error = format!("no packet is dropped for the reason {reason:?}");
        let error = ApiError::new(ErrorCode::BadRequest, error);
        return Err(error.hint(format!("reasons: {}", known.join(", "))).into());
    }
    Ok(Wanted::new(filter, service, reals))
}

fn unsupposed(why: Unsupposed) -> Failure {
    match why {
        Unsupposed::NoSuchReal(name) => no_real(&name),
        Unsupposed::Exhausted(why) => Failure::Replay(why.to_string()),
    }
}

fn no_real(name: &str) -> Failure {
    let error = format!("no service of the configuration has a real {name}");
    ApiError::new(ErrorCode::NotFound, error).into()
}
