//! `trace`: live packets and connections to who asks, a line each, until enough were shown.

use super::reconciler::Reconciler;
use crate::control::{EventStream, Following};
use crate::live::{Live, MAX_TAPS, Outcome, Sighting, Tap};
use crate::sys::clock;
use crate::xdp::Engine;
use lbcore::api::{
    ApiError, Envelope, ErrorCode, Timestamp, TraceAsk, TraceBounds, TraceEnd, TraceLine, TraceView,
};
use lbcore::director::DropReason;
use lbcore::time::Tick;
use lbcore::trace::{Quota, Wanted, line, reals_called, service_called};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// Lines that wait for the connection to take them.
const LINES: usize = 64;

/// A reader who has stopped reading gets his last line within this time, or not at all.
const LAST_LINE: Duration = Duration::from_secs(2);

impl Reconciler {
    /// Begins to show live packets.
    ///
    /// # Errors
    /// There is no such service, real or reason, or too many trace already.
    pub(super) fn trace(&self, ask: TraceAsk) -> Result<EventStream, ApiError> {
        let wanted = self.wanted(&ask)?;
        let (tap, sightings) = Tap::new(wanted, Quota::new(ask.sample, ask.rate));
        let tap = Arc::new(tap);
        if !self.live.taps.add(tap.clone()) {
            let error = format!("{MAX_TAPS} traces run already, which is the most");
            return Err(ApiError::new(ErrorCode::Unavailable, error)
                .hint("wait until one has ended, or end it"));
        }
        let (lines, to_come) = mpsc::channel(LINES);
        let (until, cut) = watch::channel(());
        let show = Show {
            live: self.live.clone(),
            tap,
            sightings,
            lines,
            stop: self.running.subscribe(),
            until: Instant::now() + Duration::from_millis(ask.for_ms),
            count: ask.count,
            shown: 0,
        };
        tokio::spawn(async move {
            show.run().await;
            drop(until);
        });
        let bounds = TraceBounds {
            count: ask.count,
            for_ms: ask.for_ms,
            sample: ask.sample,
            rate: ask.rate,
            unseen_on: self
                .engines()
                .into_iter()
                .filter(|engine| engine.name == Engine::Xdp.word())
                .map(|engine| engine.interface)
                .collect(),
        };
        Ok(EventStream {
            past: text(clock::now(), TraceLine::Begin(bounds)),
            following: Some(Following {
                lines: to_come,
                cut,
            }),
        })
    }

    fn wanted(&self, ask: &TraceAsk) -> Result<Wanted, ApiError> {
        let (filter, table) = (&ask.filter, self.live.table());
        let service = match &filter.service {
            None => None,
            Some(wanted) => {
                let found = service_called(wanted, &table);
                Some(found.ok_or_else(|| self.no_service(wanted))?)
            }
        };
        let reals = match &filter.real {
            None => None,
            Some(wanted) => {
                let reals = reals_called(wanted, service, &table);
                if reals.is_empty() {
                    let error = format!("no service has a real {wanted}");
                    return Err(ApiError::new(ErrorCode::NotFound, error)
                        .hint("lbctl real list shows them all"));
                }
                Some(reals)
            }
        };
        if let Some(reason) = &filter.reason {
            let drops = DropReason::ALL.iter().map(|reason| reason.word());
            let known: Vec<&str> = drops.chain(Outcome::ALL.iter().map(|o| o.word())).collect();
            if !known.contains(&reason.as_str()) {
                let error = format!("nothing ends for the reason {reason:?}");
                return Err(ApiError::new(ErrorCode::BadRequest, error)
                    .hint(format!("reasons: {}", known.join(", "))));
            }
        }
        Ok(Wanted::new(filter.clone(), service, reals))
    }
}

/// One trace under way.
struct Show {
    live: Arc<Live>,
    tap: Arc<Tap>,
    sightings: mpsc::Receiver<Sighting>,
    lines: mpsc::Sender<String>,
    stop: watch::Receiver<()>,
    until: Instant,
    count: u64,
    shown: u64,
}

impl Show {
    /// Shows until it is enough, time is up, lbd stops, or nobody reads any more.
    async fn run(mut self) {
        let why = self.show().await;
        self.live.taps.remove(&self.tap);
        let Some(why) = why else {
            return;
        };
        // In this order: the whole is read last.
        let queue_full = self.tap.queue_full();
        let spent = self.tap.quota.spent();
        let end = TraceEnd {
            why: why.to_owned(),
            matched: spent.matched,
            shown: self.shown,
            sampled_out: spent.sampled_out,
            over_rate: spent.over_rate,
            queue_full,
            late: spent
                .matched
                .saturating_sub(self.shown + spent.sampled_out + spent.over_rate + queue_full),
        };
        let line = text(clock::now(), TraceLine::End(end));
        let _ = timeout(LAST_LINE, self.lines.send(line)).await;
    }

    /// Why it ended; `None`: the reader is gone.
    async fn show(&mut self) -> Option<&'static str> {
        while self.shown < self.count {
            let sighting = tokio::select! {
                biased;
                () = self.lines.closed() => return None,
                _ = self.stop.changed() => return Some("stopping"),
                () = sleep_until(self.until) => return Some("time"),
                sighting = self.sightings.recv() => sighting?,
            };
            let line = drawn(sighting);
            tokio::select! {
                biased;
                sent = self.lines.send(line) => sent.ok()?,
                _ = self.stop.changed() => return Some("stopping"),
                () = sleep_until(self.until) => return Some("time"),
            }
            self.shown += 1;
        }
        Some("count")
    }
}

fn drawn(sighting: Sighting) -> String {
    match sighting {
        Sighting::Packet {
            at,
            seen,
            decision,
            verdict,
            table,
        } => {
            let view = line(&seen, &decision, verdict, &table);
            text(at, TraceLine::Packet(Box::new(view)))
        }
        Sighting::Connection { at, view } => {
            let what = match view.result {
                Some(_) => TraceLine::Ended(view),
                None => TraceLine::Connected(view),
            };
            text(at, what)
        }
    }
}

fn text(at: Tick, what: TraceLine) -> String {
    let ago = Duration::from_millis(clock::now().since(at));
    let view = TraceView {
        at: Timestamp(SystemTime::now() - ago),
        what,
    };
    // Numbers and words only: their serialization has no way to fail.
    serde_json::to_string(&Envelope::new(view)).unwrap_or_default() + "\n"
}
