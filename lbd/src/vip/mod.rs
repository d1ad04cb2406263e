//! Holds VIP addresses on the wire: one task and packet socket an interface, one
//! [`lbcore::vip::Announcer`] a VIP.

mod host;
mod place;
mod port;
mod station;

#[cfg(test)]
mod tests;

pub use place::interfaces_for;

use crate::live::Event;
use crate::live::event::Link;
use lbcore::net::MacAddr;
use lbcore::vip::{Announce, Hold};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};

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
    // Dropped, it ends its tasks.
    let mut tasks = JoinSet::new();
    let mut ports: BTreeMap<String, AbortHandle> = BTreeMap::new();
    loop {
        let names: BTreeSet<String> = wanted
            .borrow_and_update()
            .vips
            .iter()
            .map(|vip| vip.interface.clone())
            .collect();
        ports.retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
        for name in names {
            ports.entry(name.clone()).or_insert_with(|| {
                tasks.spawn(port::run(
                    name,
                    wanted.clone(),
                    links.clone(),
                    events.clone(),
                ))
            });
        }
        if wanted.changed().await.is_err() {
            return;
        }
        while tasks.try_join_next().is_some() {}
    }
}
