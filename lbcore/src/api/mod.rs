//! What lbd and lbctl say to each other: one [`Request`], one [`Response`] or [`ApiError`], and
//! how each travels over HTTP ([`route`]). Both programs use these very types, so neither can
//! misread the other.

mod check_now;
mod configure;
mod doctor;
mod error;
mod event;
mod explain;
mod maintenance;
mod name;
mod node;
mod rate;
mod request;
mod response;
mod revision;
pub mod route;
mod text;
mod timestamp;
mod trace;
mod view;

pub use crate::net::Prefix;
pub use crate::service::{Fate, Plan, RealPlan, RealPlanChange, ServicePlan, ServicePlanChange};
pub use check_now::{CheckNowResult, CheckNowView};
pub use configure::{ConfigRequest, Draft};
pub use doctor::{CheckDone, Checked, Code, DoctorView, FindingView, Severity};
pub use error::{ApiError, ErrorBody, ErrorCode};
pub use event::{EVENT_KINDS, EventView, Happening, StateChange, TransitionView};
pub use explain::{
    CandidateView, EntryView, ExplainView, FlowFound, NearView, PacketKind, Verdict,
};
pub use maintenance::{InMaintenance, MaintenanceView};
pub use name::{RealRef, ServiceRef};
pub use node::{NodeRealView, NodeView, NodesView};
pub use rate::{Counts, Rate, Rates};
pub use request::{FLOW_STATES, FlowFilter, How, MAX_FLOWS_LISTED, Request, VipVerb};
pub use response::{
    ChangeView, ClearedView, Envelope, FlowsView, KeyView, LogView, RealsView, ReloadView,
    Response, SavedState, SavedView, ServicesView, VipsView,
};
pub use revision::{
    ConfigDiffView, ConfigView, HistoryView, RevisionResult, RevisionView, UnconfirmedView,
};
pub use text::{is_printable, printable, printable_json};
pub use timestamp::Timestamp;
pub use trace::{
    ConnectionView, MAX_TRACE_COUNT, MAX_TRACE_MS, MAX_TRACE_RATE, PacketView, ShareView,
    SummaryView, TraceAsk, TraceBounds, TraceEnd, TraceFilter, TraceLine, TraceView,
};
pub use view::{
    CheckView, DialView, DriftView, EngineView, FlowView, FramesView, HandshakesView,
    InterfaceView, LastReload, ProxyView, RealState, RealView, ServiceState, ServiceView,
    StatusView, VipState, VipView,
};

/// The version of this interface, in every document as `api_version`.
pub const API_VERSION: &str = "v1";

#[cfg(test)]
mod tests;
