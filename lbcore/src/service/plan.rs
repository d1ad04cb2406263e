//! What a change does to traffic, before it does it.

use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The services whose traffic another snapshot treats differently; empty where none is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of the new snapshot; what is gone comes last.
    pub services: Vec<ServicePlan>,
}

/// What becomes of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Its name.
    pub service: String,
    /// What happens to it.
    pub change: ServicePlanChange,
    /// The reals that change, in the order of the new snapshot; what is gone comes last.
    pub reals: Vec<RealPlan>,
    /// Slots of its Maglev ring.
    pub slots: u32,
    /// Of these, slots that lead to another real: the share of the packets without a flow of their
    /// own, and with scheduler maglev of the new flows, that go elsewhere.
    pub slots_moved: u32,
    /// Flows it has now.
    pub flows: u64,
    /// Of these, flows whose real changes such that they do not simply go on.
    pub flows_affected: u64,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePlanChange {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It stays, and is different.
    Changed,
}

/// What becomes of one real of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealPlan {
    /// Its name.
    pub real: String,
    /// Its address.
    pub address: IpAddr,
    /// What happens to it.
    pub change: RealPlanChange,
    /// Flows it has now.
    pub flows: u64,
    /// What becomes of them.
    pub fate: Fate,
}

/// What happens to a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RealPlanChange {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// No new flows any more.
    Drained,
    /// No flows at all any more.
    Disabled,
    /// New flows again.
    Enabled,
    /// Another weight, or other values that do not change who gets flows.
    Changed,
}

/// What becomes of the flows of a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// They go on.
    Stay,
    /// They may end by themselves, within `drain_timeout`.
    Linger,
    /// They are treated at once as after the death of their real: see `on_dead`.
    End,
}
