//! Why a packet goes where it goes.

use super::RealState;
use crate::net::Protocol;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The answer to `explain`: what the director would do with the first packet of a flow, step by
/// step, and why it would not choose the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The protocol asked about.
    pub protocol: Protocol,
    /// The client asked about.
    pub client: SocketAddr,
    /// The VIP and port asked about.
    pub vip: SocketAddr,
    /// The service that answers there.
    pub service: Option<String>,
    /// Its scheduler.
    pub scheduler: Option<String>,
    /// What the flow table knows.
    pub flow: FlowFound,
    /// The flow's hash, 16 hex digits; `None` without a service.
    pub hash: Option<String>,
    /// The Maglev ring slot the hash falls on.
    pub ring_slot: Option<u32>,
    /// Every real of the service, in file order.
    pub candidates: Vec<CandidateView>,
    /// Name of the chosen real.
    pub real: Option<String>,
    /// The MAC the frame would go to.
    pub mac: Option<String>,
    /// Where it would leave.
    pub interface: Option<String>,
    /// Where the real would be dialled; this and the next mode tproxy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// The address it would be dialled from; `None` also where the kernel chooses one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// What becomes of the packet.
    pub verdict: Verdict,
    /// Why it would be dropped.
    pub drop_reason: Option<String>,
    /// The same in words, one step a line.
    pub steps: Vec<String>,
}

/// What the flow table knows of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FlowFound {
    /// The flow is known and keeps its real.
    Hit,
    /// The flow is known, but is decided anew: it is closing, or its real is draining, dead or
    /// removed.
    HitRedecided,
    /// The flow is new.
    Miss,
    /// Flows of this service are not remembered, or no service answers there.
    NotTracked,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// To a real.
    Forward,
    /// The connection is taken, and a real is dialled for it.
    Proxy,
    /// The connection is taken and then refused: nobody may be dialled.
    Refuse,
    /// To this host's own stack.
    Pass,
    /// Nowhere.
    Drop,
}

impl Verdict {
    /// The word in JSON and in tables.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Forward => "forward",
            Verdict::Proxy => "proxy",
            Verdict::Refuse => "refuse",
            Verdict::Pass => "pass",
            Verdict::Drop => "drop",
        }
    }
}

/// One real that could have been chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateView {
    /// Name in the service.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// A port of its own, in mode tproxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How it does.
    pub state: RealState,
    /// What the scheduler uses.
    pub weight: u32,
    /// Flows now.
    pub flows: u64,
    /// Whether the packet goes here.
    pub chosen: bool,
    /// Why not: `"down: connection refused"`, `"the ring slot is rs2's"`.
    pub why_not: Option<String>,
}
