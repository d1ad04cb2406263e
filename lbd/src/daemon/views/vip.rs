//! Who answers for the VIPs, as people see it.

use crate::daemon::reconciler::Reconciler;
use lbcore::api::{Timestamp, VipView};
use lbcore::config;
use lbcore::net::MacAddr;
use lbcore::vip::VipState;
use std::collections::BTreeSet;
use std::net::IpAddr;

impl Reconciler {
    /// Who answers for the VIPs, by VIP and interface.
    pub(in crate::daemon) fn vip_views(&self) -> Vec<VipView> {
        let mut views = Vec::new();
        for vip in self.vips() {
            let services: Vec<&config::Service> = self
                .world
                .services()
                .filter(|s| s.vips.contains(&vip))
                .collect();
            let Some(first) = services.first() else {
                continue;
            };
            let (names, announce) = (
                services.iter().map(|s| s.name.clone()).collect::<Vec<_>>(),
                first.announce,
            );
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
                    note: news.note.clone(),
                    ..empty()
                });
            }
        }
        views
    }

    fn vips(&self) -> BTreeSet<IpAddr> {
        self.world
            .services()
            .flat_map(|s| s.vips.iter().copied())
            .collect()
    }
}
