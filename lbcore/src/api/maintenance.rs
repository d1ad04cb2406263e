//! Maintenance: this lbd takes no new flows, and answers for no VIP.

use super::Timestamp;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `GET|POST /v1/maintenance`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MaintenanceView {
    /// Whether this lbd is in maintenance.
    pub maintenance: bool,
    /// Since when and by whom.
    pub begun: Option<InMaintenance>,
    /// Flows, connections and sessions that are still here.
    pub flows: u64,
    /// The VIPs it concerns.
    pub vips: Vec<IpAddr>,
    /// What is different now, in words; empty: it was so already.
    pub changes: Vec<String>,
    /// What the operator should know.
    pub warnings: Vec<String>,
    /// The published snapshot.
    pub generation: u64,
    /// Nothing was changed: this is what would be.
    pub dry_run: bool,
}

/// Since when this lbd is in maintenance, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InMaintenance {
    /// When it began; over restarts, too. `None`: what was kept of it is damaged.
    pub since: Option<Timestamp>,
    /// The user id that wanted it.
    pub by_uid: Option<u32>,
}
