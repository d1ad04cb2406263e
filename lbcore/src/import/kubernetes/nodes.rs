//! Which nodes may be reals.

use super::super::{is_host, is_real_name};
use super::objects::{Metadata, Node};
use super::{Findings, Selector};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// The label by which a node wants no balancer's traffic (KEP 1143); kubeadm gives it to control
/// planes. A taint that keeps pods away says nothing about traffic.
const EXCLUDED: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// The taint of a node that is about to be deleted.
const DELETED: &str = "ToBeDeletedByClusterAutoscaler";

/// A node that may be a real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Machine {
    /// Its name, where it is fit for a real's.
    pub name: Option<String>,
    /// Its InternalIPs, the first of each family.
    pub addresses: Vec<IpAddr>,
    /// Whether kubelet says so; for a comment.
    pub ready: bool,
}

impl Machine {
    /// Its address of a family.
    pub fn address(&self, v4: bool) -> Option<IpAddr> {
        let fits = |ip: &&IpAddr| ip.is_ipv4() == v4;
        self.addresses.iter().find(fits).copied()
    }
}

/// Chooses, and tells who was left out but for those the selector does not want.
pub(super) fn serving(
    nodes: Vec<Node>,
    selector: &Selector,
    findings: &mut Findings,
) -> Vec<Machine> {
    let mut taken: BTreeSet<IpAddr> = BTreeSet::new();
    let mut names = BTreeSet::new();
    let mut machines = Vec::new();
    for node in nodes {
        let Metadata { name, labels, .. } = &node.metadata;
        if !selector.fits(labels) {
            continue;
        }
        let about = format!("Node {name}");
        if let Some(why) = left_out(&node) {
            findings.add(about, why);
            continue;
        }
        // A name that is an address may be another than the one it is reached at.
        let fits = is_real_name(name) && name.parse::<IpAddr>().is_err();
        let mut machine = Machine {
            name: (fits && names.insert(name.clone())).then(|| name.clone()),
            addresses: Vec::new(),
            ready: is_ready(&node),
        };
        let internal = node.status.addresses.iter();
        for address in internal.filter(|address| address.kind == "InternalIP") {
            match address.address.parse::<IpAddr>() {
                Ok(ip) if !is_host(ip) => {
                    findings.add(
                        &about,
                        format!("its InternalIP {ip} is no machine's: left out"),
                    );
                }
                Ok(ip) if machine.address(ip.is_ipv4()).is_some() => {}
                Ok(ip) if !taken.insert(ip) => {
                    findings.add(&about, format!("another node has {ip}, too: left out here"));
                }
                Ok(ip) => machine.addresses.push(ip),
                Err(_) => findings.add(&about, "an InternalIP is no address: left out"),
            }
        }
        match machine.addresses.is_empty() {
            true => findings.add(about, "left out: it has no InternalIP"),
            false => machines.push(machine),
        }
    }
    machines
}

fn left_out(node: &Node) -> Option<&'static str> {
    if node.metadata.labels.contains_key(EXCLUDED) {
        Some("left out: it is labelled node.kubernetes.io/exclude-from-external-load-balancers")
    } else if node.metadata.deletion_timestamp.is_some() {
        Some("left out: it is being deleted")
    } else if node.spec.taints.iter().any(|taint| taint.key == DELETED) {
        Some("left out: the autoscaler is about to delete it")
    } else {
        None
    }
}

fn is_ready(node: &Node) -> bool {
    let mut conditions = node.status.conditions.iter();
    conditions.any(|condition| condition.kind == "Ready" && condition.status == "True")
}
