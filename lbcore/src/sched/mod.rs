//! Who gets a new flow.
//!
//! A scheduler is immutable once built; what changes from flow to flow (a cursor, the load of the
//! reals) comes in with each pick. The [`Ring`] stands beside it: every service has one, whatever
//! its scheduler, for packets that must be placed without memory.

mod lc;
mod maglev;
mod ring;
mod rr;
mod sh;
mod wlc;
mod wrr;

#[cfg(test)]
mod tests;

pub use ring::Ring;

use crate::id::RealId;
use crate::load::Loads;
use crate::net::{Addr, FlowHash};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The schedulers, by the names the configuration uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Round robin.
    Rr,
    /// Smooth weighted round robin.
    Wrr,
    /// Least connections.
    Lc,
    /// Weighted least connections.
    Wlc,
    /// Source hashing.
    Sh,
    /// Maglev consistent hashing of the flow.
    Maglev,
}

/// What a real is called on every lbd: its place in the ring follows from this alone, so that
/// peers agree whatever order and ids their reals have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity {
    /// The real's own address.
    pub address: Addr,
    /// Its port in tproxy; 0 in dr, where the VIP's port is used.
    pub port: u16,
}

/// A real that may get new flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What a pick answers with.
    pub real: RealId,
    /// What it is called on every lbd; no two candidates share one.
    pub identity: Identity,
    /// Its share of new flows relative to the others; 0 = none.
    pub weight: u16,
}

/// What one pick may look at.
#[derive(Clone, Copy, Debug)]
pub struct Pick<'a> {
    /// How many flows this worker has placed in this service: the caller's count. Workers start
    /// at different numbers, so that they do not all begin with the same real.
    pub cursor: u64,
    /// The service's ring; `None` when no real may get flows.
    pub ring: Option<&'a Ring>,
    /// Hash of the flow's tuple.
    pub flow: FlowHash,
    /// Hash of the client's address alone.
    pub source: FlowHash,
    /// How many flows each real has.
    pub loads: &'a Loads,
}

/// The rule that picks a real for a new flow, ready for one set of candidates.
#[derive(Clone, Debug)]
pub enum Scheduler {
    /// Each in turn.
    Rr(rr::Rr),
    /// Each in turn, as often as its weight says, evenly spread.
    Wrr(wrr::Wrr),
    /// The one with the fewest flows.
    Lc(lc::Lc),
    /// The one with the fewest flows for its weight.
    Wlc(wlc::Wlc),
    /// By the client's address.
    Sh(sh::Sh),
    /// By the flow.
    Maglev(maglev::Maglev),
}

impl Scheduler {
    /// Prepares `kind` for `candidates`; those of weight 0 are left out.
    pub fn build(kind: Kind, candidates: &[Candidate]) -> Scheduler {
        match kind {
            Kind::Rr => Scheduler::Rr(rr::Rr::build(candidates)),
            Kind::Wrr => Scheduler::Wrr(wrr::Wrr::build(candidates)),
            Kind::Lc => Scheduler::Lc(lc::Lc::build(candidates)),
            Kind::Wlc => Scheduler::Wlc(wlc::Wlc::build(candidates)),
            Kind::Sh => Scheduler::Sh(sh::Sh),
            Kind::Maglev => Scheduler::Maglev(maglev::Maglev),
        }
    }

    /// The real for a new flow; `None` when no candidate has a weight.
    pub fn pick(&self, pick: &Pick<'_>) -> Option<RealId> {
        match self {
            Scheduler::Rr(rr) => rr.pick(pick),
            Scheduler::Wrr(wrr) => wrr.pick(pick),
            Scheduler::Lc(lc) => lc.pick(pick),
            Scheduler::Wlc(wlc) => wlc.pick(pick),
            Scheduler::Sh(sh) => sh.pick(pick),
            Scheduler::Maglev(maglev) => maglev.pick(pick),
        }
    }

    /// Which one it is.
    pub fn kind(&self) -> Kind {
        match self {
            Scheduler::Rr(_) => Kind::Rr,
            Scheduler::Wrr(_) => Kind::Wrr,
            Scheduler::Lc(_) => Kind::Lc,
            Scheduler::Wlc(_) => Kind::Wlc,
            Scheduler::Sh(_) => Kind::Sh,
            Scheduler::Maglev(_) => Kind::Maglev,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Rr => "rr",
            Kind::Wrr => "wrr",
            Kind::Lc => "lc",
            Kind::Wlc => "wlc",
            Kind::Sh => "sh",
            Kind::Maglev => "maglev",
        })
    }
}

/// The entry whose turn it is at `cursor` in a list that repeats for ever.
fn turn(list: &[RealId], cursor: u64) -> Option<RealId> {
    let length = u64::try_from(list.len())
        .ok()
        .filter(|length| *length > 0)?;
    let index = usize::try_from(cursor % length).ok()?;
    list.get(index).copied()
}

/// Those that may get flows.
fn weighted(candidates: &[Candidate]) -> impl Iterator<Item = &Candidate> {
    candidates.iter().filter(|candidate| candidate.weight > 0)
}
