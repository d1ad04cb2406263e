//! A capture's frames through the director, as a worker would take them through it: the capture's
//! own time drives timeouts, and the flow table remembers.

use super::supposed::{IFINDEX, Supposed, Unsupposed};
use super::{Seen, Wanted, line};
use crate::api::{PacketView, ShareView, SummaryView};
use crate::capture::{Frame, To};
use crate::director::{
    Counters, Cursors, Decision, DropReason, Flood, Verdict, View, commit, decide,
};
use crate::flow::FlowTable;
use crate::id::RealId;
use crate::load::Loads;
use crate::net::packet::{self, Subject};
use crate::net::{FrameMeta, MacAddr};
use crate::service::ServiceTable;
use crate::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// The largest frame there can be: what is cut off beyond is not missed.
const MAX_FRAME: usize = 1 << 17;

/// Stands for our MAC until a frame tells it, and where a capture never does.
const OWN: MacAddr = MacAddr(0x02, 0x6c, 0x62, 0x64, 0xff, 0xff);

/// Where a capture's time begins: no flow is older.
const BEGIN: Tick = Tick(86_400_000);

/// The whole flow table is swept once in so many milliseconds, as workers do.
const SWEEP_MS: u64 = 4000;

/// A replay under way.
#[derive(Debug)]
pub struct Replay<'m> {
    supposed: Supposed,
    table: ServiceTable,
    own: Option<MacAddr>,
    flows: FlowTable<'m>,
    loads: Loads,
    cursors: Cursors,
    flood: Flood,
    counters: Counters,
    swept: usize,
    first: Option<Duration>,
    now: Tick,
    frame: Vec<u8>,
    sum: Sum,
}

/// What became of one frame.
#[derive(Clone, Copy, Debug)]
pub struct Replayed {
    seen: Seen,
    decision: Decision,
    verdict: Verdict,
}

/// What is counted.
#[derive(Debug, Default)]
struct Sum {
    packets: u64,
    cut_short: u64,
    verdicts: BTreeMap<&'static str, u64>,
    drops: BTreeMap<&'static str, u64>,
    reals: BTreeMap<RealId, [u64; 3]>,
}

impl<'m> Replay<'m> {
    /// With an empty flow table. Frames to VIPs are addressed to `own`; `None`: to whatever MAC
    /// the first frame to a service is.
    ///
    /// # Errors
    /// No snapshot can be made.
    pub fn new(
        supposed: Supposed,
        own: Option<MacAddr>,
        flows: FlowTable<'m>,
    ) -> Result<Self, Unsupposed> {
        Ok(Replay {
            table: supposed.table(own.unwrap_or(OWN))?,
            supposed,
            own,
            flood: Flood::new(flows.capacity()),
            flows,
            loads: Loads::default(),
            cursors: Cursors::new(0),
            counters: Counters::default(),
            swept: 0,
            first: None,
            now: BEGIN,
            frame: Vec::new(),
            sum: Sum::default(),
        })
    }

    /// The snapshot.
    pub fn table(&self) -> &ServiceTable {
        &self.table
    }

    /// Our MAC, once it is known.
    pub fn own(&self) -> Option<MacAddr> {
        self.own
    }

    /// Takes one frame through the director.
    ///
    /// # Errors
    /// No snapshot can be made.
    pub fn frame(&mut self, frame: &Frame<'_>) -> Result<Replayed, Unsupposed> {
        self.pass_time(frame.at);
        let meta = FrameMeta {
            ifindex: IFINDEX,
            ..FrameMeta::default()
        };
        self.frame.clear();
        self.frame.extend_from_slice(frame.bytes);
        if frame.to == To::Us {
            let own = self.own.unwrap_or(OWN).octets();
            self.frame[..own.len()].copy_from_slice(&own);
        }
        let captured = self.frame.len();
        let whole = frame.length.min(MAX_FRAME).max(captured);
        if whole > captured {
            self.sum.cut_short += 1;
            if !self.mend(captured, whole, &meta) {
                return Ok(self.truncated(captured, &meta));
            }
        }
        if frame.to != To::Us {
            self.learn(&meta)?;
        }
        let seen = Seen::of(&self.frame, &meta);
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: self.flood.is_on(),
        };
        let decision = decide(&self.frame, &meta, &view, self.now);
        let verdict = commit(
            &decision,
            &mut self.frame,
            &view,
            &self.counters,
            0,
            self.now,
        );
        if decision.begins() {
            self.cursors.placed(&decision, &self.table);
            self.flood.began();
        }
        Ok(Replayed {
            seen,
            decision,
            verdict,
        })
    }

    /// Counts a frame that is `wanted`, and says its line; `None` if it is not.
    pub fn tell(&mut self, frame: &Replayed, wanted: &Wanted) -> Option<PacketView> {
        let Replayed {
            seen,
            decision,
            verdict,
        } = frame;
        if !wanted.packet(seen, decision, *verdict, &self.table) {
            return None;
        }
        let line = line(seen, decision, *verdict, &self.table);
        self.sum.packets += 1;
        *self.sum.verdicts.entry(line.verdict.word()).or_default() += 1;
        match verdict {
            Verdict::Forward(chosen) => {
                let share = self.sum.reals.entry(chosen.real).or_default();
                share[0] += u64::from(decision.begins());
                share[1] += u64::from(decision.packets);
                share[2] += decision.bytes;
            }
            Verdict::Drop(reason) => *self.sum.drops.entry(reason.word()).or_default() += 1,
            Verdict::Pass => {}
        }
        Some(line)
    }

    /// When the last frame came, since 1970-01-01 UTC.
    pub fn last_at(&self) -> Duration {
        self.first.unwrap_or_default() + Duration::from_millis(self.now.since(BEGIN))
    }

    /// All that was counted.
    pub fn summary(&self) -> SummaryView {
        let counted = |counts: &BTreeMap<&'static str, u64>| {
            counts
                .iter()
                .map(|(word, n)| ((*word).to_owned(), *n))
                .collect()
        };
        let members = self.table.services.iter();
        let members = members.flat_map(|s| s.members.iter().map(move |m| (s, m)));
        let reals = members.filter_map(|(service, member)| {
            let [new_flows, packets, bytes] = *self.sum.reals.get(&member.id)?;
            Some(ShareView {
                service: service.name.to_string(),
                real: member.name.clone(),
                new_flows,
                packets,
                bytes,
            })
        });
        SummaryView {
            packets: self.sum.packets,
            cut_short: self.sum.cut_short,
            time_ms: self.now.since(BEGIN),
            verdicts: counted(&self.sum.verdicts),
            drops: counted(&self.sum.drops),
            reals: reals.collect(),
        }
    }

    /// Lets the capture's time pass up to `at`; a capture in disorder does not go back.
    fn pass_time(&mut self, at: Duration) {
        let first = *self.first.get_or_insert(at);
        let now = (BEGIN + at.saturating_sub(first)).max(self.now);
        let passed = now.since(self.now);
        self.now = now;
        let all = self.flows.buckets();
        let due = u64::try_from(all)
            .unwrap_or(u64::MAX)
            .saturating_mul(passed)
            / SWEEP_MS;
        let buckets = usize::try_from(due).unwrap_or(all).min(all);
        let (table, loads) = (&self.table, &self.loads);
        self.flows.expire(
            &mut self.swept,
            buckets,
            |entry| table.is_expired(&entry, now),
            |gone| loads.sub(gone.real, gone.state.weightiness()),
        );
        self.flood.tick(now, || self.flows.len());
    }

    /// Learns our MAC from the first frame to a service.
    fn learn(&mut self, meta: &FrameMeta) -> Result<(), Unsupposed> {
        if self.own.is_some() {
            return Ok(());
        }
        let Ok(packet) = packet::parse(&self.frame, meta) else {
            return Ok(());
        };
        if let Subject::Flow { key, .. } = packet.subject
            && self.table.service(&key.service).is_some()
            && !packet.dst_mac.is_multicast()
            && !packet.dst_mac.is_zero()
        {
            self.own = Some(packet.dst_mac);
            self.table = self.supposed.table(packet.dst_mac)?;
        }
        Ok(())
    }

    /// Fills up what the capture cut off; false if the director would look at it. What is read the
    /// same whether that is zeros or ones does not depend on it.
    fn mend(&mut self, captured: usize, whole: usize, meta: &FrameMeta) -> bool {
        self.frame.resize(whole, 0);
        let with_zeros = packet::parse(&self.frame, meta);
        self.frame[captured..].fill(0xff);
        let with_ones = packet::parse(&self.frame, meta);
        self.frame[captured..].fill(0);
        with_zeros == with_ones
    }

    /// A frame of which too little is there to decide: dropped if it is for a VIP, as an engine
    /// drops what it got only in part.
    fn truncated(&mut self, captured: usize, meta: &FrameMeta) -> Replayed {
        self.frame.truncate(captured);
        let view = View {
            table: &self.table,
            flows: &self.flows,
            loads: &self.loads,
            cursors: &self.cursors,
            flood: false,
        };
        let decision = decide(&self.frame, meta, &view, self.now);
        Replayed {
            seen: Seen::of(&self.frame, meta),
            verdict: match decision.verdict {
                Verdict::Drop(_) => Verdict::Drop(DropReason::Truncated),
                verdict => verdict,
            },
            decision,
        }
    }
}
