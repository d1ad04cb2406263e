//! Services of a Kubernetes cluster, from `kubectl get services,nodes,endpointslices -A -o json`:
//! VIPs and ports of each Service that is for clients outside, the nodes as its reals, and the check
//! that tells which of them have pods.
//!
//! | Service | mode | check |
//! |---|---|---|
//! | LoadBalancer, policy Local | dr to VIP:port | `healthCheckNodePort`, which is the weight, too |
//! | LoadBalancer or NodePort, policy Cluster | dr to VIP:port | kube-proxy's own, port 10256 |
//! | NodePort, policy Local | as above or below | tcp to the nodePort: no answer, no pod |
//! | any whose VIP kube-proxy does not take (`ipMode: Proxy`, or given by hand) | tproxy to the nodePort | as above |
//!
//! Which nodes are Ready, cordoned or have pods is left to the checks (as KEP 3458 has cloud
//! balancers do): it changes while the file stays.

mod nodes;
mod objects;
mod render;
mod selector;
mod services;

pub use selector::Selector;

use super::{Finding, Imported};
use crate::health::kubernetes::ServiceName;
use nodes::Machine;
use objects::{EndpointSlice, List, Object};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

/// The largest file that is read: lists of some 10,000 nodes, which with the names of their images
/// have 20 KiB each.
pub const MAX_BYTES: usize = 256 * 1024 * 1024;

/// lbd's own bounds, so that the product of Services and nodes stays one.
const MAX_SERVICES: usize = 4_096;
const MAX_REALS: usize = 65_536;

/// What is wanted of the cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// lbd's interface towards VIPs' packets and nodes.
    pub interface: String,
    /// The mode where both would do.
    pub mode: WantedMode,
    /// Only nodes with such labels.
    pub nodes: Selector,
    /// Only these Services; empty is all.
    pub services: Vec<ServiceName>,
    /// Further VIPs of Services, which the cluster does not know.
    pub vips: Vec<(ServiceName, IpAddr)>,
}

/// How packets shall reach the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WantedMode {
    /// To VIP:port, by direct routing.
    Dr,
    /// To the nodes' own addresses and nodePorts, by the transparent proxy.
    Tproxy,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file is larger than [`MAX_BYTES`].
    #[error("the file has more than {} MiB", MAX_BYTES / (1024 * 1024))]
    TooLarge,
    /// It is not what kubectl prints.
    #[error("this is not what kubectl prints: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// There is nothing to choose from.
    #[error("there is no {0} in it")]
    Lacking(&'static str),
    /// A Service that was asked for is not there.
    #[error("there is no Service {0} in it")]
    NoSuchService(ServiceName),
    /// More than lbd can hold.
    #[error("{what} {count}, and lbd holds {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there would be.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
}

/// Imports what kubectl printed.
///
/// # Errors
/// When it cannot be read, or nothing fit could come of it. A Service that cannot be expressed is no
/// error: it is left out, and told among the findings.
pub fn import(json: &[u8], options: &Options) -> Result<Imported, ImportError> {
    if json.len() > MAX_BYTES {
        return Err(ImportError::TooLarge);
    }
    let list: List = serde_json::from_slice(json)?;
    let (mut found_services, mut found_nodes, mut slices) = (Vec::new(), Vec::new(), Vec::new());
    for item in list.items {
        match item {
            Object::Service(service) => found_services.push(service),
            Object::Node(node) => found_nodes.push(node),
            Object::EndpointSlice(slice) => slices.push(slice),
            Object::Other => {}
        }
    }
    for (what, lacking) in [
        ("Service", found_services.is_empty()),
        ("Node", found_nodes.is_empty()),
    ] {
        if lacking {
            return Err(ImportError::Lacking(what));
        }
    }
    if let Some(missing) = options.services.iter().find(|wanted| {
        let is = |s: &&objects::Service| {
            s.metadata.namespace == wanted.namespace && s.metadata.name == wanted.name
        };
        !found_services.iter().any(|s| is(&s))
    }) {
        return Err(ImportError::NoSuchService(missing.clone()));
    }
    let mut findings = Findings::default();
    let machines = nodes::serving(found_nodes, &options.nodes, &mut findings);
    let pods = Pods::of(slices);
    let planned = services::plan(&found_services, &machines, &pods, options, &mut findings);
    let reals = planned.iter().map(|service| service.reals.len()).sum();
    for (what, count, limit) in [
        ("the services would be", planned.len(), MAX_SERVICES),
        ("the reals of all services would be", reals, MAX_REALS),
    ] {
        if count > limit {
            return Err(ImportError::TooMany { what, count, limit });
        }
    }
    let conditions = render::conditions(&planned);
    Ok(Imported {
        toml: render::file(&planned, &conditions, options),
        services: planned.len(),
        findings: findings.0,
        conditions,
    })
}

/// Findings, gathered.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, about: impl Into<String>, what: impl Into<String>) {
        self.0.push(Finding {
            lines: None,
            about: about.into(),
            what: what.into(),
        });
    }
}

/// Ready pods of a Service in one family: how many, and on which nodes.
#[derive(Debug, Default)]
struct Ready {
    pods: usize,
    nodes: BTreeSet<String>,
}

/// Ready pods by namespace, Service and family.
#[derive(Debug, Default)]
struct Pods(BTreeMap<(String, String, bool), Ready>);

impl Pods {
    fn of(slices: Vec<EndpointSlice>) -> Pods {
        let mut pods = Pods::default();
        for slice in slices {
            let v4 = match slice.address_type.as_str() {
                "IPv4" => true,
                "IPv6" => false,
                _ => continue,
            };
            let labels = slice.metadata.labels;
            let Some(service) = labels.get("kubernetes.io/service-name") else {
                continue;
            };
            let key = (slice.metadata.namespace, service.clone(), v4);
            let ready = pods.0.entry(key).or_default();
            for endpoint in slice.endpoints {
                if endpoint.conditions.ready.unwrap_or(true) {
                    ready.pods += 1;
                    ready.nodes.insert(endpoint.node_name);
                }
            }
        }
        pods
    }

    fn ready(&self, service: &ServiceName, v4: bool) -> Option<&Ready> {
        let key = (service.namespace.clone(), service.name.clone(), v4);
        self.0.get(&key)
    }
}

/// One `[[service]]` of the result.
#[derive(Debug)]
struct Planned {
    name: String,
    /// What it is in the cluster, in words.
    comment: String,
    vips: Vec<IpAddr>,
    ports: BTreeSet<u16>,
    udp: bool,
    /// Dialled there, by the proxy; else direct routing.
    node_port: Option<u16>,
    affinity: bool,
    check: Check,
    reals: Rc<[Machine]>,
}

/// What tells which nodes may get flows.
#[derive(Clone, Debug)]
enum Check {
    /// `healthCheckNodePort`
    Service(u16, ServiceName),
    /// kube-proxy's own.
    KubeProxy,
    /// An answer at this nodePort.
    NodePort(u16),
}

#[cfg(test)]
mod tests;
