//! Who answers for the VIPs, as people see it.

use crate::daemon::reconciler::Reconciler;
use lbcore::api::{Timestamp, VipView};
use lbcore::config;
use lbcore::net::MacAddr;
use lbcore::vip::VipState;
use std::collections::HashSet;
use std::net::IpAddr;

impl Reconciler {
    /// Who answers for the VIPs, in file order, by interface.
    pub(in crate::daemon) fn vip_views(&self) -> Vec<VipView> {
        let mut views = Vec::new();
        for vip in self.vips() {
            let services: Vec<&config::Service> = self
                .world
                .services()
                .filter(|s| s.vips.contains(&vip))
                .collect();
            let Some(announce) = self.announce_of(vip) else {
                continue;
            };
            let names: Vec<_> = services.iter().map(|s| s.name.clone()).collect();
            let released = self.world.maintenance.is_some();
            let released = released.then(|| "in maintenance".to_owned());
            let known: Vec<_> = self
                .world
                .vips
                .iter()
                .filter(|((v, _), _)| *v == vip)
                .collect();
            let empty = || VipView {
                vip,
                services: names.clone(),
                interface: None,
                state: VipState::Silent,
                announce,
                held: self
                    .world
                    .overrides
                    .vips
                    .get(&vip)
                    .copied()
                    .unwrap_or_default(),
                mac: None,
                last_announced: None,
                conflicts: 0,
                claimed_by: None,
                note: None,
            };
            if known.is_empty() {
                views.push(empty());
            }
            for ((_, interface), news) in known {
                let link = self.world.links.iter().find(|l| l.name == *interface);
                let ours = !matches!(news.state, VipState::Silent | VipState::Conflict);
                views.push(VipView {
                    interface: Some(interface.clone()),
                    state: news.state,
                    mac: link.filter(|_| ours).map(|l| l.mac.to_string()),
                    conflicts: news.conflicts,
                    last_announced: news.announced.map(Timestamp),
                    claimed_by: news.claimed_by.map(|m: MacAddr| m.to_string()),
                    note: news.note.clone().or_else(|| released.clone()),
                    ..empty()
                });
            }
        }
        views
    }

    /// All VIPs, in the order in which the file names them first.
    pub(in crate::daemon) fn vips(&self) -> Vec<IpAddr> {
        let all = self.world.services().flat_map(|s| s.vips.iter().copied());
        let mut seen = HashSet::new();
        all.filter(|vip| seen.insert(*vip)).collect()
    }
}
