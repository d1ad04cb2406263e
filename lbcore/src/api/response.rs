//! Everything lbd answers.

use super::{
    API_VERSION, DoctorView, ExplainView, FlowView, RealView, ServiceView, StatusView, VipView,
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
    /// To `SetReal`.
    Changed(Box<ChangeView>),
    /// To `Vips`.
    Vips(VipsView),
    /// To `Vip`: every interface the VIP is on.
    Vip(VipsView),
    /// To `Flows`.
    Flows(FlowsView),
    /// To `Explain`.
    Explain(Box<ExplainView>),
    /// To `Doctor`.
    Doctor(Box<DoctorView>),
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

/// What a change to a real has done; it is in force when this answer comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ChangeView {
    /// Name of the service.
    pub service: String,
    /// What is different now, in words; empty: it was so already.
    pub changes: Vec<String>,
    /// The published snapshot that carries it.
    pub generation: u64,
    /// What the operator should know: `"web has no other real that is up"`.
    pub warnings: Vec<String>,
    /// The real as it is now.
    pub real: RealView,
}

/// VIPs and who answers for them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VipsView {
    /// In file order.
    pub vips: Vec<VipView>,
}

/// Remembered flows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowsView {
    /// Those that fit the filter, at most as many as its limit.
    pub flows: Vec<FlowView>,
    /// Whether more would have fitted.
    pub truncated: bool,
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
