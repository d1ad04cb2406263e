//! Machines: one address in every service that it serves.

use super::{RealState, ServiceView};
use crate::config::Admin;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodesView {
    /// In the order in which the file names them first.
    pub nodes: Vec<NodeView>,
}

/// One machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeView {
    /// Its address.
    pub address: IpAddr,
    /// Its flows in all services together.
    pub flows: u64,
    /// What it is in each service; with ports of its own it can be several reals of one.
    pub reals: Vec<NodeRealView>,
}

/// A machine in one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRealView {
    /// Name of the service.
    pub service: String,
    /// Its name there.
    pub real: String,
    /// The port its traffic goes to (the first, where the service has several).
    pub port: u16,
    /// How it does.
    pub state: RealState,
    /// Why.
    pub reason: String,
    /// The operator's wish.
    pub admin: Admin,
    /// As configured or set.
    pub weight: u32,
    /// What the scheduler uses now: 0 unless it gets new flows.
    pub effective_weight: u32,
    /// No longer in the configuration: stays until its flows end.
    pub removed: bool,
    /// Flows now.
    pub flows: u64,
}

impl NodesView {
    /// The machines of `services`.
    pub fn of(services: &[ServiceView]) -> Self {
        let mut nodes: Vec<NodeView> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for service in services {
            for real in &service.reals {
                let at = *places.entry(real.address).or_insert_with(|| {
                    nodes.push(NodeView {
                        address: real.address,
                        flows: 0,
                        reals: Vec::new(),
                    });
                    nodes.len() - 1
                });
                let node = &mut nodes[at];
                node.flows += real.flows;
                node.reals.push(NodeRealView {
                    service: service.name.clone(),
                    real: real.name.clone(),
                    port: real.port,
                    state: real.state,
                    reason: real.reason.clone(),
                    admin: real.admin,
                    weight: real.weight,
                    effective_weight: real.effective_weight,
                    removed: real.removed,
                    flows: real.flows,
                });
            }
        }
        NodesView { nodes }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::StatusView;

    #[test]
    fn a_machine_is_found_in_every_service_that_it_serves() {
        let text = include_str!("fixtures/status.json");
        let mut services = serde_json::from_str::<StatusView>(text).unwrap().services;
        let reals = services[0].reals.len();
        let mut other = services[0].clone();
        other.name = "other".into();
        other.reals.truncate(1);
        services.insert(1, other);
        let NodesView { nodes } = NodesView::of(&services);
        assert_eq!(nodes[0].address, services[0].reals[0].address);
        let places: Vec<&str> = nodes[0].reals.iter().map(|r| r.service.as_str()).collect();
        assert_eq!(places[..2], [services[0].name.as_str(), "other"]);
        assert!(nodes.len() >= reals);
        let all: usize = nodes.iter().map(|n| n.reals.len()).sum();
        let there: usize = services.iter().map(|s| s.reals.len()).sum();
        assert_eq!(all, there);
        let flows: u64 = nodes[0].reals.iter().map(|r| r.flows).sum();
        assert_eq!(nodes[0].flows, flows);
    }
}
