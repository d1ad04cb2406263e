//! Kubernetes nodes as far as a balancer sees them: pods behind a bridge, a pod network of routes
//! between the nodes, the rules of kube-proxy in iptables mode, and its health servers.
//!
//! ```text
//!        eth0 (a machine of SW or RT)        cbr0 10.244.N.1
//! LAN ------------------------------ node N ---+--- n{N}p1 10.244.N.11
//!                                              +--- n{N}p2 10.244.N.12 ...
//! ```
//!
//! There is no API server: the test says which pods a Service has, and every node follows at once,
//! rules first and then health, as kube-proxy does.

pub mod health;
pub mod rules;

use crate::netns::{Netns, NetnsHandle};
use crate::real_server::{RealServer, Settings};
use crate::topology::bring_up;
use health::{HealthServer, Says};
use rules::{Endpoint, Family, Service, State};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Port of the whoami in every pod.
pub const TARGET_PORT: u16 = 8080;

/// Where kube-proxy says how it is itself.
pub const KUBE_PROXY_PORT: u16 = 10_256;

/// One pod; it and its server go with this value.
#[derive(Debug)]
pub struct Pod {
    /// Its namespace, named `n1p1`.
    pub netns: Netns,
    /// The node it runs on, counted from 1.
    pub node: u8,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    server: Option<RealServer>,
}

/// One node.
#[derive(Debug)]
struct Node {
    netns: NetnsHandle,
    v4: Ipv4Addr,
    v6: Ipv6Addr,
    pods: u8,
    /// By port.
    health: BTreeMap<u16, HealthServer>,
}

/// All nodes, their pods, and the Services.
#[derive(Debug)]
pub struct Cluster {
    /// The Services, as the API server would have them.
    pub services: Vec<Service>,
    pods: Vec<Pod>,
    nodes: Vec<Node>,
}

impl Cluster {
    /// Makes nodes of `machines`, whose `eth0` have these addresses.
    pub fn new(machines: &[Netns], addresses: impl Fn(u8) -> (Ipv4Addr, Ipv6Addr)) -> Cluster {
        let numbers = || 1..=u8::try_from(machines.len()).expect("few nodes");
        for (n, machine) in numbers().zip(machines) {
            for key in ["ipv4.ip_forward", "ipv6.conf.all.forwarding"] {
                machine.sysctl(key, "1");
            }
            machine.ip("link add cbr0 type bridge forward_delay 0 stp_state 0 mcast_snooping 0");
            let (v4, v6) = gateway(n);
            bring_up(machine, "cbr0", v4.into(), v6.into());
            for other in numbers().filter(|other| *other != n) {
                let (via4, via6) = addresses(other);
                machine.ip(&format!("route add 10.244.{other}.0/24 via {via4}"));
                machine.ip(&format!("route add fd00:244:{other}::/64 via {via6}"));
            }
        }
        let node = |(n, machine): (u8, &Netns)| {
            let (v4, v6) = addresses(n);
            let says = Says::KubeProxy { eligible: true };
            let health = HealthServer::start(machine.handle(), KUBE_PROXY_PORT, says);
            Node {
                netns: machine.handle(),
                v4,
                v6,
                pods: 0,
                health: [(KUBE_PROXY_PORT, health)].into(),
            }
        };
        Cluster {
            services: Vec::new(),
            pods: Vec::new(),
            nodes: numbers().zip(machines).map(node).collect(),
        }
    }

    /// Adds a Service; its health server runs on every node if its policy is Local.
    pub fn add_service(&mut self, service: Service) {
        self.services.push(service);
        self.sync();
    }

    /// Changes a Service.
    ///
    /// # Panics
    /// When there is no such Service.
    pub fn change(&mut self, name: &str, change: impl FnOnce(&mut Service)) {
        change(self.service(name));
        self.sync();
    }

    /// Starts `count` pods with `whoami` on a node; they are ready.
    pub fn run(&mut self, service: &str, node: u8, count: u8) {
        for _ in 0..count {
            let index = self.add_pod(node);
            let pod = &mut self.pods[index];
            let settings = Settings {
                name: pod.netns.name().to_owned(),
                port: TARGET_PORT,
                udp_addresses: vec![pod.v4.into(), pod.v6.into()],
            };
            pod.server = Some(RealServer::start(pod.netns.handle(), settings));
            let endpoint = endpoint(pod);
            self.service(service).endpoints.push(endpoint);
        }
        self.sync();
    }

    /// A pod in which nothing runs yet, and which belongs to no Service.
    pub fn add_pod(&mut self, n: u8) -> usize {
        let node = &mut self.nodes[usize::from(n) - 1];
        node.pods += 1;
        let name = format!("n{n}p{}", node.pods);
        let netns = Netns::new(&name);
        let (v4, v6) = address(n, node.pods);
        let sh = |line: &str| {
            let mut words = line.split_whitespace();
            let program = words.next().expect("a command");
            let output = node.netns.command(program).args(words).output();
            assert!(output.expect("ip").status.success(), "{line}");
        };
        sh(&format!(
            "ip link add {name} type veth peer name eth0 netns {name}"
        ));
        sh(&format!("ip link set {name} master cbr0 up"));
        bring_up(&netns, "eth0", v4.into(), v6.into());
        let (via4, via6) = gateway(n);
        netns.ip(&format!("route add default via {via4}"));
        netns.ip(&format!("route add default via {via6}"));
        self.pods.push(Pod {
            netns,
            node: n,
            v4,
            v6,
            server: None,
        });
        self.pods.len() - 1
    }

    /// A pod by its index.
    pub fn pod(&self, index: usize) -> &Pod {
        &self.pods[index]
    }

    /// Makes a pod an endpoint of a Service.
    pub fn add_endpoint(&mut self, service: &str, pod: usize) {
        let endpoint = endpoint(&self.pods[pod]);
        self.service(service).endpoints.push(endpoint);
        self.sync();
    }

    /// The pods of a Service on a node are being deleted, and still serve.
    pub fn terminate(&mut self, service: &str, node: u8) {
        for endpoint in &mut self.service(service).endpoints {
            if endpoint.node == node {
                endpoint.state = State::Terminating;
            }
        }
        self.sync();
    }

    /// The pods of a Service on a node are gone: their endpoints first, then the processes.
    pub fn remove(&mut self, service: &str, node: u8) {
        let endpoints = &mut self.service(service).endpoints;
        let gone: Vec<Endpoint> = endpoints.extract_if(.., |e| e.node == node).collect();
        self.sync();
        for pod in &mut self.pods {
            if gone.iter().any(|endpoint| endpoint.v4 == pod.v4) {
                pod.server = None;
            }
        }
    }

    /// What a health port of a node says from now on, whatever the Services are.
    ///
    /// # Panics
    /// When nobody listens there.
    pub fn say(&self, node: u8, port: u16, says: Says) {
        self.nodes[usize::from(node) - 1].health[&port].say(says);
    }

    /// Nobody listens at a health port of a node any more.
    pub fn hang_up(&mut self, node: u8, port: u16) {
        self.nodes[usize::from(node) - 1].health.remove(&port);
    }

    /// Addresses that a pod sees of clients who come masqueraded: the node's towards other nodes,
    /// and its bridge's towards its own pods.
    pub fn masquerades(&self) -> Vec<IpAddr> {
        let numbered = (1..).zip(&self.nodes);
        numbered
            .flat_map(|(n, node)| {
                let (v4, v6) = gateway(n);
                [node.v4.into(), node.v6.into(), v4.into(), v6.into()]
            })
            .collect()
    }

    fn service(&mut self, name: &str) -> &mut Service {
        let found = self.services.iter_mut().find(|s| s.name == name);
        found.unwrap_or_else(|| panic!("no Service {name}"))
    }

    /// Every node follows the Services; what health ports were made to say is over.
    pub fn sync(&mut self) {
        for (n, node) in (1..).zip(&mut self.nodes) {
            for family in [Family::V4, Family::V6] {
                rules::restore(&node.netns, family, &rules::of(&self.services, family, n));
            }
            for service in &self.services {
                let Some(port) = service.health_port else {
                    continue;
                };
                let says = Says::Service {
                    namespace: service.namespace.clone(),
                    name: service.name.clone(),
                    endpoints: service.ready_on(n),
                };
                match node.health.get(&port) {
                    Some(server) => server.say(says),
                    None => {
                        let server = HealthServer::start(node.netns.clone(), port, says);
                        node.health.insert(port, server);
                    }
                }
            }
        }
    }
}

/// The node a whoami runs on, by its name.
pub fn node_of(server: &str) -> u8 {
    let digits = server
        .strip_prefix('n')
        .and_then(|rest| rest.split_once('p'));
    digits
        .and_then(|(node, _)| node.parse().ok())
        .unwrap_or_else(|| panic!("{server} is no pod"))
}

fn endpoint(pod: &Pod) -> Endpoint {
    Endpoint {
        node: pod.node,
        v4: pod.v4,
        v6: pod.v6,
        state: State::Ready,
    }
}

fn gateway(node: u8) -> (Ipv4Addr, Ipv6Addr) {
    let last = Ipv6Addr::new(0xfd00, 0x244, u16::from(node), 0, 0, 0, 0, 1);
    (Ipv4Addr::new(10, 244, node, 1), last)
}

fn address(node: u8, pod: u8) -> (Ipv4Addr, Ipv6Addr) {
    let host = 10 + pod;
    let v6 = Ipv6Addr::new(0xfd00, 0x244, u16::from(node), 0, 0, 0, 0, host.into());
    (Ipv4Addr::new(10, 244, node, host), v6)
}
