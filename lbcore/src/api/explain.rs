//! Why a packet goes where it goes.

use super::RealState;
use crate::net::Protocol;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The answer to `explain`: what the director would do with a packet, step by step, and why it would
/// not choose the others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainView {
    /// The protocol asked about.
    pub protocol: Protocol,
    /// The client asked about.
    pub client: SocketAddr,
    /// The VIP and port asked about.
    pub vip: SocketAddr,
    /// The packet asked about, or that was supposed: the next one of a known flow, else the first
    /// of a new one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packet: Option<PacketKind>,
    /// The service that answers there.
    pub service: Option<String>,
    /// Where no service answers: those that come near, and what differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<NearView>,
    /// Its scheduler.
    pub scheduler: Option<String>,
    /// What the flow table knows.
    pub flow: FlowFound,
    /// What it remembers of the flow, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<EntryView>,
    /// The flow's hash, 16 hex digits; `None` without a service.
    pub hash: Option<String>,
    /// The Maglev ring slot the hash falls on.
    pub ring_slot: Option<u32>,
    /// The real that slot belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ring_real: Option<String>,
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

/// A kind of packet: the director treats the first of a flow and one out of nowhere differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PacketKind {
    /// TCP, opens a connection.
    Syn,
    /// TCP, in the middle of one.
    Ack,
    /// UDP.
    Datagram,
}

impl PacketKind {
    /// In a sentence: `a SYN`.
    pub fn words(self) -> &'static str {
        match self {
            PacketKind::Syn => "a SYN",
            PacketKind::Ack => "an ACK",
            PacketKind::Datagram => "a datagram",
        }
    }
}

/// A service that does not answer where a packet goes, but nearly.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NearView {
    /// Its name.
    pub service: String,
    /// `VIP:PORT/PROTO`.
    pub endpoint: String,
    /// What differs: `"another port"`.
    pub why_not: String,
}

/// What the flow table remembers of a flow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryView {
    /// Name of its real.
    pub real: Option<String>,
    /// Its state: `established`.
    pub state: String,
    /// Milliseconds since it began; `None`: it has just made room.
    pub age_ms: Option<u64>,
    /// Milliseconds since its last packet.
    pub idle_ms: u64,
    /// Milliseconds until it is forgotten, if nothing comes; 0: it is over.
    pub expires_ms: u64,
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

impl FlowFound {
    /// The word in tables.
    pub fn word(self) -> &'static str {
        match self {
            FlowFound::Hit => "hit",
            FlowFound::HitRedecided => "anew",
            FlowFound::Miss => "miss",
            FlowFound::NotTracked => "-",
        }
    }
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
    /// Every verdict.
    pub const ALL: [Verdict; 5] = [
        Verdict::Forward,
        Verdict::Proxy,
        Verdict::Refuse,
        Verdict::Pass,
        Verdict::Drop,
    ];

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
