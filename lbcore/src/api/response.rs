//! Everything lbd answers.

use super::{
    API_VERSION, ConfigDiffView, ConfigView, DoctorView, ExplainView, FlowView, HistoryView,
    MaintenanceView, NodeView, NodesView, Plan, RealView, ServiceView, StatusView, Timestamp,
    UnconfirmedView, VipView,
};
use serde::{Deserialize, Serialize};

/// The answer to a [`super::Request`].
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Response {
    /// To `Status`.
    Status(Box<StatusView>),
    /// To `Services`.
    Services(ServicesView),
    /// To `Service`.
    Service(Box<ServiceView>),
    /// To `Reals`.
    Reals(RealsView),
    /// To `Real`.
    Real(Box<RealView>),
    /// To everything that changes services, reals or the whole configuration.
    Changed(Box<ChangeView>),
    /// To `Vips`.
    Vips(VipsView),
    /// To `Vip`: every interface the VIP is on.
    Vip(VipsView),
    /// To `Flows`.
    Flows(FlowsView),
    /// To `ClearFlows`.
    Cleared(ClearedView),
    /// To `Nodes`.
    Nodes(NodesView),
    /// To `Node`.
    Node(NodeView),
    /// To `Maintenance` and `SetMaintenance`.
    Maintenance(Box<MaintenanceView>),
    /// To `Log` and `SetLog`.
    Log(LogView),
    /// To `Key`.
    Key(KeyView),
    /// To `Explain`.
    Explain(Box<ExplainView>),
    /// To `Doctor`.
    Doctor(Box<DoctorView>),
    /// To `Config`'s `Show`.
    Config(ConfigView),
    /// To `Config`'s `History`.
    History(HistoryView),
    /// To `Config`'s `Diff`.
    ConfigDiff(Box<ConfigDiffView>),
    /// To `Reload`.
    Reload(ReloadView),
}

/// All services.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServicesView {
    /// In file order.
    pub services: Vec<ServiceView>,
}

/// The reals of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RealsView {
    /// Name of the service.
    pub service: String,
    /// In file order; removed ones that still drain come last.
    pub reals: Vec<RealView>,
}

/// What a change has done; it is in force when this answer comes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ChangeView {
    /// Name of the service, where a single one was meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// What is different now, in words, old and new; empty: it was so already.
    pub changes: Vec<String>,
    /// The configuration in force.
    pub revision: u64,
    /// The published snapshot.
    pub generation: u64,
    /// Whether the configuration file has it.
    pub saved: SavedView,
    /// What it does to traffic.
    pub plan: Plan,
    /// How the files differ, as a unified diff; empty where they do not.
    pub diff: String,
    /// What the operator should know: `"web has no other real that is up"`.
    pub warnings: Vec<String>,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
    /// It waits to be confirmed; rolled back at the deadline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed: Option<UnconfirmedView>,
    /// The real as it is now, where a single one was meant and is still there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub real: Option<Box<RealView>>,
}

/// Whether the configuration file has a change.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedView {
    /// Whether it has.
    pub state: SavedState,
    /// The files that were written (with `dry_run`: that would be).
    pub files: Vec<String>,
    /// Why not, and what to do; only where the state is `no`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether the configuration file has a change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SavedState {
    /// There was nothing to write.
    #[default]
    Unchanged,
    /// It has.
    Yes,
    /// It was to stay as it is: this is drift, until the file changes the same key.
    Runtime,
    /// It will have, once it is confirmed.
    Unconfirmed,
    /// It could not be written: this is drift.
    No,
}

/// VIPs and who answers for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipsView {
    /// In file order.
    pub vips: Vec<VipView>,
    /// What taking, releasing or leaving a VIP has changed, or would, in words; empty in listings,
    /// and where it was so already.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<String>,
    /// Nothing was changed: that is what would be.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
}

/// Remembered flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowsView {
    /// Those that fit the filter, at most as many as its limit; by service in file order, real,
    /// and client.
    pub flows: Vec<FlowView>,
    /// How many flows of direct routing fit, listed or not; proxied connections are not counted
    /// further than they are listed.
    #[serde(default)]
    pub matched: u64,
    /// Whether more would have fitted.
    pub truncated: bool,
}

/// Flows that were cleared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClearedView {
    /// Flows of mode dr that were forgotten.
    pub forgotten: u64,
    /// Proxied connections that were reset.
    pub connections: u64,
    /// Proxied udp sessions that were ended.
    pub sessions: u64,
    /// Nothing was cleared: so many would be.
    pub dry_run: bool,
}

/// The filter of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogView {
    /// In force.
    pub filter: String,
    /// What the configuration says, as it was read at start.
    pub configured: String,
    /// When it goes back to that by itself.
    pub until: Option<Timestamp>,
    /// What is different now, in words; empty: it was so already.
    pub changes: Vec<String>,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
}

/// The key of every hash, as far as it may be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Sixteen hex digits: equal where the keys are.
    pub fingerprint: String,
    /// The file it was read from.
    pub file: String,
}

/// What a reload has done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReloadView {
    /// The configuration in force.
    pub revision: u64,
    /// The published snapshot.
    pub generation: u64,
    /// What is different, in words; empty: nothing.
    pub changes: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// What it would do to traffic; with `dry_run` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
}

/// A document as it is printed or sent: `api_version` first, then the body's own keys.
#[derive(Clone, Debug, Serialize)]
pub struct Envelope<T> {
    api_version: &'static str,
    #[serde(flatten)]
    body: T,
}

impl<T> Envelope<T> {
    /// `body` with the version of this interface.
    pub fn new(body: T) -> Self {
        Envelope {
            api_version: API_VERSION,
            body,
        }
    }
}
