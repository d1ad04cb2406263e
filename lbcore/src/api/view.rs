//! The state of lbd as people and scripts see it. These keys are a contract: a key may be added,
//! none is renamed or taken away.

use super::{InMaintenance, Timestamp, TransitionView, UnconfirmedView};
use crate::config::{Admin, Announce, Mode};
use crate::net::{Prefix, Protocol};
use crate::sched;
pub use crate::service::{RealState, ServiceState};
use crate::vip::Hold;
pub use crate::vip::VipState;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

/// `GET /v1/status`: the whole picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StatusView {
    /// lbd's version.
    pub version: String,
    /// When this process started.
    pub started: Timestamp,
    /// Number of the configuration in force.
    pub revision: u64,
    /// Number of the published snapshot.
    pub generation: u64,
    /// It forwards, and every real was judged once.
    pub ready: bool,
    /// Why, or why not: `"every real was judged"`, `"2 reals not judged yet: web/rs1, web/rs2"`.
    pub ready_reason: String,
    /// This lbd takes no new flows and answers for no VIP, by the operator's wish; `None`: it does.
    #[serde(default)]
    pub maintenance: Option<InMaintenance>,
    /// Tells whether two lbds share a hash key, and nothing else about it.
    pub key_fingerprint: String,
    /// The file the configuration comes from.
    pub config_file: String,
    /// How the last reload ended; `None` before the first.
    pub last_reload: Option<LastReload>,
    /// The file was bad at start: the last good configuration runs.
    pub last_good_in_use: bool,
    /// A configuration that waits to be confirmed; rolled back at the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<UnconfirmedView>,
    /// What runs differently from the file, because an operator changed it at run time.
    pub drift: Vec<DriftView>,
    /// Which engine moves frames, on which interface, and why this one.
    pub engines: Vec<EngineView>,
    /// The interfaces VIP traffic arrives on.
    pub interfaces: Vec<InterfaceView>,
    /// In file order.
    pub services: Vec<ServiceView>,
    /// Who answers for the VIPs, in file order.
    pub vips: Vec<VipView>,
    /// Flows remembered now.
    pub flow_entries: u64,
    /// Flows that can be remembered.
    pub flow_capacity: u64,
    /// Frames of all interfaces together.
    pub frames: FramesView,
    /// Frames dropped, by reason; every reason is there, also with 0.
    pub drops: BTreeMap<String, u64>,
    /// What an operator should know; each says what is wrong and what to do.
    pub warnings: Vec<String>,
}

/// How a reload ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastReload {
    /// When.
    pub at: Timestamp,
    /// Whether the new file is in force.
    pub ok: bool,
    /// What changed, or why it was refused, in one line.
    pub message: String,
}

/// One key that runs differently from the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftView {
    /// Which: `web/rs1 weight`.
    pub key: String,
    /// What the file says.
    pub file: String,
    /// What runs.
    pub running: String,
}

/// One engine on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineView {
    /// `xdp`, `af_xdp` or `af_packet`.
    pub name: String,
    /// Interface name.
    pub interface: String,
    /// Why this engine; with `auto`, why no better one.
    pub reason: String,
    /// Packet workers on this interface.
    pub workers: usize,
}

/// One interface VIP traffic arrives on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceView {
    /// Name.
    pub name: String,
    /// `up`, `down`, `no carrier`, `missing`.
    pub state: String,
    /// Its MAC, when it is there.
    pub mac: Option<String>,
    /// In bytes; 0 when it is missing.
    pub mtu: u32,
    /// Frames on this interface.
    pub frames: FramesView,
}

/// What became of frames: received = sent + passed + all drops.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FramesView {
    /// Seen after the socket filter.
    pub received: u64,
    /// Sent on to a real.
    pub sent: u64,
    /// Left to this host's own stack.
    pub passed: u64,
    /// Lost before lbd saw them: the receive ring was full. Not part of `received`.
    pub ring_drops: u64,
}

/// A virtual service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceView {
    /// Unique name.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Every VIP with every port.
    pub endpoints: Vec<SocketAddr>,
    /// Transport.
    pub protocol: Protocol,
    /// How traffic reaches the reals.
    pub mode: Mode,
    /// Who gets a new flow.
    pub scheduler: sched::Kind,
    /// The operator's wish.
    pub admin: Admin,
    /// How it does.
    pub state: ServiceState,
    /// Why: `"1 of 3 reals is down"`.
    pub state_reason: String,
    /// The checks of its reals, in words: `"http :8080/health every 2s"`.
    pub checks: Vec<String>,
    /// Fewer reals up because checks failed: panic.
    pub min_healthy: u32,
    /// Real of last resort.
    pub sorry: Option<IpAddr>,
    /// How it is proxied, and what became of its connections; mode tproxy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyView>,
    /// Flows now.
    pub flows: u64,
    /// Flows since the counters began, reals that are gone included; so are the next two.
    pub new_flows: u64,
    /// Packets from clients; `None` where the kernel alone knows them: proxied tcp.
    pub packets: Option<u64>,
    /// Bytes from clients, IP headers included; of proxied tcp the payload.
    pub bytes: u64,
    /// In file order; removed ones that still drain come last.
    pub reals: Vec<RealView>,
}

/// How a tproxy service is proxied, and what became of its connections (or udp sessions).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyView {
    /// The address reals are dialled from: `client` or `self`.
    pub source: String,
    /// The PROXY protocol header reals get: `off`, `v1`, `v2`.
    pub send_proxy: String,
    /// Clients begin with such a header.
    pub accept_proxy: bool,
    /// From whom it is believed.
    pub trusted_sources: Vec<Prefix>,
    /// A real that takes longer to accept is given up.
    pub connect_timeout_ms: u64,
    /// Other reals tried before the client is refused.
    pub retries: u32,
    /// Connections at once; 0 = no bound.
    pub max_connections: u32,
    /// Connections of one client address at once; 0 = no bound.
    pub max_connections_per_source: u32,
    /// Connections now.
    pub connections: u64,
    /// Connections that ended, by how; every way is there, also with 0.
    pub results: BTreeMap<String, u64>,
    /// Payload on its way to reals.
    pub bytes_in: u64,
    /// Payload on its way to clients.
    pub bytes_out: u64,
}

/// A real server of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealView {
    /// Unique in its service.
    pub name: String,
    /// Free text.
    pub description: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// Its own address.
    pub address: IpAddr,
    /// The port its traffic goes to (the first, where the service has several).
    pub port: u16,
    /// As configured or set.
    pub weight: u32,
    /// What the scheduler uses now: 0 unless it gets new flows.
    pub effective_weight: u32,
    /// What the real gives itself (its count of pods), in force or not; `None`: it does not say.
    #[serde(default)]
    pub observed_weight: Option<u32>,
    /// The operator's wish.
    pub admin: Admin,
    /// Serves only when no other real is up.
    pub backup: bool,
    /// No longer in the configuration: stays until its flows end.
    pub removed: bool,
    /// How it does.
    pub state: RealState,
    /// Why: `"http 200 in 1.2 ms"`, `"connection refused"`.
    pub reason: String,
    /// Since when it is in this state.
    pub since: Timestamp,
    /// How it is dialled; mode tproxy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dial: Option<DialView>,
    /// The MAC frames for it go to, once known; mode dr only.
    pub mac: Option<String>,
    /// Where it is reached, once known; mode dr only.
    pub interface: Option<String>,
    /// Its checks one by one.
    pub checks: Vec<CheckView>,
    /// Flows now.
    pub flows: u64,
    /// Of these, established TCP and UDP (IPVS's active connections).
    pub active_flows: u64,
    /// Flows since the counters began.
    pub new_flows: u64,
    /// Packets from clients; `None` where the kernel alone knows them: proxied tcp.
    pub packets: Option<u64>,
    /// Bytes from clients, IP headers included; of proxied tcp the payload.
    pub bytes: u64,
    /// What became of clients' TCP handshakes with it; mode dr only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshakes: Option<HandshakesView>,
    /// Its last transitions, the latest first, since lbd started; only where one real is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<TransitionView>,
}

/// What became of TCP handshakes with a real since the counters began, as seen from the clients'
/// side; a SYN sent again counts once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandshakesView {
    /// The client's ACK followed its SYN.
    pub completed: u64,
    /// Nothing followed for a minute.
    pub unanswered: u64,
}

/// How a real is dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DialView {
    /// A port of its own; `None`: the one the client dialled.
    pub port: Option<u16>,
    /// Connections it takes at once; 0 = any number.
    pub max_connections: u32,
}

/// The latest result of one check of one real.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckView {
    /// Which: `tcp`, `http`.
    pub check: String,
    /// `checking`, `up`, `draining`, `down`.
    pub state: RealState,
    /// The last result in words.
    pub reason: String,
}

/// Who answers for a VIP on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VipView {
    /// The VIP.
    pub vip: IpAddr,
    /// The services that use it.
    pub services: Vec<String>,
    /// Interface name; `None` where no interface fits.
    pub interface: Option<String>,
    /// Who answers.
    pub state: VipState,
    /// The configured policy.
    pub announce: Announce,
    /// What was said by command, which goes before the policy: `take`, `release`; `default`:
    /// nothing.
    #[serde(default)]
    pub held: Hold,
    /// The MAC it is announced with.
    pub mac: Option<String>,
    /// When it was last announced.
    pub last_announced: Option<Timestamp>,
    /// Claims by other machines seen so far.
    pub conflicts: u64,
    /// The MAC of another machine that claims it.
    pub claimed_by: Option<String>,
    /// A sentence for the operator, where there is something to say.
    pub note: Option<String>,
}

/// One remembered flow, or one proxied connection or session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlowView {
    /// Name of its service.
    pub service: String,
    /// Name of its real.
    pub real: String,
    /// Transport.
    pub protocol: Protocol,
    /// Where it comes from.
    pub client: SocketAddr,
    /// What it dialled.
    pub vip: SocketAddr,
    /// The state as seen from one direction: `established`.
    pub state: String,
    /// Milliseconds since its last packet, as coarse as the table keeps it.
    pub idle_ms: u64,
    /// Milliseconds until it is forgotten, or ended, if nothing comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
    /// Milliseconds since it began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Where its real was dialled; this and what follows mode tproxy only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<SocketAddr>,
    /// Payload on its way to the real.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_in: Option<u64>,
    /// Payload on its way to the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes_out: Option<u64>,
}
