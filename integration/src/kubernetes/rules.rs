//! The rules kube-proxy writes in iptables mode, chain by chain (kubernetes `pkg/proxy/iptables`,
//! as of 1.28): for Services of type LoadBalancer or NodePort with one TCP port each.

use super::TARGET_PORT;
use crate::fnv::Fnv;
use crate::netns::NetnsHandle;
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Stdio;

/// Which rules: each family has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `iptables`
    V4,
    /// `ip6tables`
    V6,
}

/// `spec.externalTrafficPolicy`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Only to pods of the node that the client reached; its address stays.
    Local,
    /// To any pod; the client's address is masqueraded.
    Cluster,
}

/// How an endpoint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Ready.
    Ready,
    /// Being deleted, and still serving.
    Terminating,
}

/// One pod of a Service.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The node it runs on, counted from 1.
    pub node: u8,
    /// Its address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
    /// How it is.
    pub state: State,
}

/// A Service.
#[derive(Clone, Debug)]
pub struct Service {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
    /// `status.loadBalancer.ingress`, with `ipMode: VIP`.
    pub vips: Vec<IpAddr>,
    /// `spec.ports[0].port`
    pub port: u16,
    /// `spec.ports[0].nodePort`
    pub node_port: u16,
    /// `spec.healthCheckNodePort`, of those with policy Local.
    pub health_port: Option<u16>,
    /// `spec.externalTrafficPolicy`
    pub policy: Policy,
    /// Its pods.
    pub endpoints: Vec<Endpoint>,
}

impl Service {
    /// How many ready pods it has on a node: what `healthCheckNodePort` counts.
    pub fn ready_on(&self, node: u8) -> usize {
        let ready = |e: &&Endpoint| e.node == node && e.state == State::Ready;
        self.endpoints.iter().filter(ready).count()
    }

    /// Ready ones; where there are none, terminating ones (KEP 1669).
    fn usable(&self, of: impl Fn(&Endpoint) -> bool) -> Vec<&Endpoint> {
        let these = |state| {
            let fit = |e: &&Endpoint| e.state == state && of(e);
            self.endpoints.iter().filter(fit).collect::<Vec<_>>()
        };
        match these(State::Ready) {
            none if none.is_empty() => these(State::Terminating),
            ready => ready,
        }
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

/// Replaces all rules of one family, in one transaction.
///
/// # Panics
/// When `iptables-restore` is not installed or refuses them.
pub fn restore(netns: &NetnsHandle, family: Family, rules: &str) {
    let program = match family {
        Family::V4 => "iptables-restore",
        Family::V6 => "ip6tables-restore",
    };
    let mut child = netns
        .command(program)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("nsenter");
    let mut stdin = child.stdin.take().expect("piped");
    // Who does not read it says why.
    let _ = stdin.write_all(rules.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {said}\n{rules}");
}

/// The rules of one family on one node.
pub fn of(services: &[Service], family: Family, node: u8) -> String {
    let mut filter = Table::new("filter", FILTER);
    let mut nat = Table::new("nat", NAT);
    for service in services {
        let rules = Rules {
            service,
            family,
            node,
        };
        rules.filter(&mut filter);
        rules.nat(&mut nat);
    }
    // It has to be the last of its chain.
    nat.rule(
        "KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be \
         the last rule in this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS",
    );
    filter.end() + &nat.end()
}

/// What stands in the filter table whatever the Services are.
const FILTER: &str = "\
INPUT -m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS
INPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
INPUT -j KUBE-FIREWALL
FORWARD -m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD
FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
FORWARD -m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" -j KUBE-EXTERNAL-SERVICES
OUTPUT -m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
OUTPUT -j KUBE-FIREWALL
KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
KUBE-FORWARD -m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT
KUBE-FORWARD -m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";

/// What stands in the nat table whatever the Services are.
const NAT: &str = "\
PREROUTING -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
OUTPUT -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES
POSTROUTING -m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING
KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
KUBE-POSTROUTING -j MARK --xor-mark 0x4000
KUBE-POSTROUTING -m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully
KUBE-MARK-MASQ -j MARK --or-mark 0x4000";

/// One table as text: chains are declared before rules.
struct Table {
    name: &'static str,
    chains: Vec<String>,
    rules: String,
}

impl Table {
    fn new(name: &'static str, rules: &str) -> Table {
        let chains: &[&str] = match name {
            "nat" => &[
                "KUBE-SERVICES",
                "KUBE-NODEPORTS",
                "KUBE-POSTROUTING",
                "KUBE-MARK-MASQ",
            ],
            _ => &[
                "KUBE-SERVICES",
                "KUBE-EXTERNAL-SERVICES",
                "KUBE-NODEPORTS",
                "KUBE-FORWARD",
                "KUBE-FIREWALL",
            ],
        };
        let mut table = Table {
            name,
            chains: chains.iter().map(|chain| (*chain).to_owned()).collect(),
            rules: String::new(),
        };
        rules.lines().for_each(|rule| table.rule(rule));
        table
    }

    fn chain(&mut self, name: &str) {
        if !self.chains.iter().any(|chain| chain == name) {
            self.chains.push(name.to_owned());
        }
    }

    fn rule(&mut self, rule: &str) {
        let _ = writeln!(self.rules, "-A {rule}");
    }

    fn end(self) -> String {
        let chains: String = self.chains.iter().fold(String::new(), |mut text, chain| {
            let _ = writeln!(text, ":{chain} - [0:0]");
            text
        });
        format!("*{}\n{chains}{}COMMIT\n", self.name, self.rules)
    }
}

/// What one Service adds on one node.
struct Rules<'a> {
    service: &'a Service,
    family: Family,
    node: u8,
}

impl Rules<'_> {
    fn filter(&self, table: &mut Table) {
        let (service, name) = (self.service, self.service.full_name());
        if let Some(port) = service.health_port {
            table.rule(&format!(
                "KUBE-NODEPORTS -m comment --comment \"{name} health check node port\" \
                 -m tcp -p tcp --dport {port} -j ACCEPT"
            ));
        }
        let (why, action) = if service.usable(|_| true).is_empty() {
            ("no endpoints", "REJECT")
        } else if self.policy_endpoints().is_empty() {
            ("no local endpoints", "DROP")
        } else {
            return;
        };
        for vip in self.vips() {
            table.rule(&format!(
                "KUBE-EXTERNAL-SERVICES -m comment --comment \"{name} has {why}\" \
                 -m tcp -p tcp -d {vip} --dport {} -j {action}",
                service.port
            ));
        }
        table.rule(&format!(
            "KUBE-EXTERNAL-SERVICES -m comment --comment \"{name} has {why}\" \
             -m addrtype --dst-type LOCAL -m tcp -p tcp --dport {} -j {action}",
            service.node_port
        ));
    }

    fn nat(&self, table: &mut Table) {
        let name = self.service.full_name();
        let (ext, svc, svl) = (
            chain("EXT", &name),
            chain("SVC", &name),
            chain("SVL", &name),
        );
        let all = self.service.usable(|_| true);
        if all.is_empty() {
            return;
        }
        table.chain(&ext);
        for vip in self.vips() {
            table.rule(&format!(
                "KUBE-SERVICES -m comment --comment \"{name} loadbalancer IP\" \
                 -m tcp -p tcp -d {vip} --dport {} -j {ext}",
                self.service.port
            ));
        }
        table.rule(&format!(
            "KUBE-NODEPORTS -m comment --comment {name} -m tcp -p tcp --dport {} -j {ext}",
            self.service.node_port
        ));
        match self.service.policy {
            Policy::Cluster => {
                table.rule(&format!(
                    "{ext} -m comment --comment \"masquerade traffic for {name} external \
                     destinations\" -j KUBE-MARK-MASQ"
                ));
                table.rule(&format!("{ext} -j {svc}"));
            }
            Policy::Local => {
                let pods = match self.family {
                    Family::V4 => "10.244.0.0/16",
                    Family::V6 => "fd00:244::/32",
                };
                table.rule(&format!(
                    "{ext} -m comment --comment \"pod traffic for {name} external \
                     destinations\" -s {pods} -j {svc}"
                ));
                for (verb, to) in [("masquerade", "KUBE-MARK-MASQ"), ("route", &svc)] {
                    table.rule(&format!(
                        "{ext} -m comment --comment \"{verb} LOCAL traffic for {name} external \
                         destinations\" -m addrtype --src-type LOCAL -j {to}"
                    ));
                }
                let local = self.policy_endpoints();
                if !local.is_empty() {
                    table.rule(&format!("{ext} -j {svl}"));
                    self.spread(table, &svl, &local);
                }
            }
        }
        self.spread(table, &svc, &all);
    }

    /// One of these at random, by a chain each.
    fn spread(&self, table: &mut Table, from: &str, endpoints: &[&Endpoint]) {
        let name = self.service.full_name();
        table.chain(from);
        for (at, endpoint) in endpoints.iter().enumerate() {
            let address = match self.family {
                Family::V4 => IpAddr::from(endpoint.v4),
                Family::V6 => endpoint.v6.into(),
            };
            let target = std::net::SocketAddr::new(address, TARGET_PORT);
            let sep = chain("SEP", &format!("{name}{target}"));
            let left = endpoints.len() - at;
            let random = match left {
                1 => String::new(),
                left => {
                    let share = 1.0 / left as f64;
                    format!("-m statistic --mode random --probability {share:.10} ")
                }
            };
            table.rule(&format!(
                "{from} -m comment --comment \"{name} -> {target}\" {random}-j {sep}"
            ));
            if !table.chains.contains(&sep) {
                table.chain(&sep);
                table.rule(&format!(
                    "{sep} -m comment --comment {name} -s {address} -j KUBE-MARK-MASQ"
                ));
                table.rule(&format!(
                    "{sep} -m comment --comment {name} -m tcp -p tcp -j DNAT \
                     --to-destination {target}"
                ));
            }
        }
    }

    /// Those that clients from outside may reach by this node.
    fn policy_endpoints(&self) -> Vec<&Endpoint> {
        match self.service.policy {
            Policy::Cluster => self.service.usable(|_| true),
            Policy::Local => self.service.usable(|e| e.node == self.node),
        }
    }

    fn vips(&self) -> impl Iterator<Item = &IpAddr> {
        let v4 = self.family == Family::V4;
        self.service
            .vips
            .iter()
            .filter(move |vip| vip.is_ipv4() == v4)
    }
}

/// `KUBE-SVC-` and sixteen characters that stand for a name.
fn chain(kind: &str, of: &str) -> String {
    let mut hash = Fnv::new();
    hash.update(of.as_bytes());
    format!("KUBE-{kind}-{:016X}", hash.finish())
}
