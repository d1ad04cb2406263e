//! What each Service becomes.

use super::super::is_vip;
use super::nodes::Machine;
use super::objects::{Port, Service};
use super::{Check, Findings, MAX_SERVICES, Options, Planned, Pods, WantedMode};
use crate::health::kubernetes::ServiceName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

/// The longest name of a service.
const MAX_NAME: usize = 63;

/// VIP:port pairs of one Service; as many as lbd takes of all services.
const MAX_ENDPOINTS: usize = 65_536;

/// Plans them all, in file order.
pub(super) fn plan(
    services: &[Service],
    machines: &[Machine],
    pods: &Pods,
    options: &Options,
    findings: &mut Findings,
) -> Vec<Planned> {
    let of = |v4| {
        let here = machines.iter().filter_map(|machine| {
            let addresses = vec![machine.address(v4)?];
            Some(Machine {
                addresses,
                ..machine.clone()
            })
        });
        here.collect()
    };
    let mut plan = Plan {
        nodes: machines.len(),
        v4: of(true),
        v6: of(false),
        addresses: machines.iter().flat_map(|m| m.addresses.clone()).collect(),
        pods,
        options,
        findings,
        names: BTreeSet::new(),
        endpoints: BTreeMap::new(),
        planned: Vec::new(),
    };
    for service in services {
        plan.service(service);
        // Whoever called refuses this; to go on would only take its time.
        if plan.planned.len() > MAX_SERVICES {
            break;
        }
    }
    plan.planned
}

struct Plan<'a> {
    /// How many there are; below, those with an address of the family, and only that.
    nodes: usize,
    v4: Rc<[Machine]>,
    v6: Rc<[Machine]>,
    /// Of all nodes.
    addresses: BTreeSet<IpAddr>,
    pods: &'a Pods,
    options: &'a Options,
    findings: &'a mut Findings,
    names: BTreeSet<String>,
    /// Whose each VIP:port of a protocol is.
    endpoints: BTreeMap<(IpAddr, u16, bool), String>,
    planned: Vec<Planned>,
}

/// One Service while it is planned.
struct This<'a> {
    service: &'a Service,
    name: ServiceName,
    about: String,
    local: bool,
}

impl Plan<'_> {
    fn service(&mut self, service: &Service) {
        let name = ServiceName {
            namespace: service.metadata.namespace.clone(),
            name: service.metadata.name.clone(),
        };
        let asked = self.options.services.contains(&name);
        if !asked && !self.options.services.is_empty() {
            return;
        }
        let this = This {
            about: format!("Service {name}"),
            name,
            service,
            local: service.spec.external_traffic_policy == "Local",
        };
        let outside = ["LoadBalancer", "NodePort"].contains(&&service.spec.kind[..])
            || !service.spec.external_ips.is_empty();
        if !outside {
            if asked {
                let what = "left out: its type is for clients inside the cluster";
                self.findings.add(this.about, what);
            }
            return;
        }
        if !is_label(&this.name.namespace) || !is_label(&this.name.name) {
            self.findings.add(this.about, "left out: that is no name");
            return;
        }
        let vips = self.vips(&this);
        if vips.is_empty() {
            return;
        }
        let count = vips.len().saturating_mul(service.spec.ports.len());
        if self.endpoints.len().saturating_add(count) > MAX_ENDPOINTS {
            let what = "left out: lbd holds 65536 VIP:port pairs, and with it there would be more";
            self.findings.add(this.about, what);
            return;
        }
        self.tell_differences(&this);
        for (udp, protocol) in [(false, "TCP"), (true, "UDP")] {
            let is_it = |port: &&Port| {
                port.port > 0 && (port.protocol == protocol || (!udp && port.protocol.is_empty()))
            };
            let ports: Vec<&Port> = service.spec.ports.iter().filter(is_it).collect();
            for v4 in [true, false] {
                for known in [true, false] {
                    let fits = |(vip, k): &&(IpAddr, bool)| vip.is_ipv4() == v4 && *k == known;
                    let these = vips.iter().filter(fits).map(|(vip, _)| *vip);
                    let these: Vec<IpAddr> = these.collect();
                    if !these.is_empty() && !ports.is_empty() {
                        self.endpoints(&this, &these, known, &ports, udp, v4);
                    }
                }
            }
        }
        for port in &service.spec.ports {
            if !["", "TCP", "UDP"].contains(&&port.protocol[..]) {
                let what = format!("port {} left out: lbd has no SCTP", port.port);
                self.findings.add(&this.about, what);
            }
        }
    }

    /// Its VIPs, and whether kube-proxy takes packets for them.
    fn vips(&mut self, this: &This<'_>) -> Vec<(IpAddr, bool)> {
        let mut vips: Vec<(IpAddr, bool)> = Vec::new();
        let mut seen = BTreeSet::new();
        let mut add = |vip: IpAddr, known: bool| {
            if seen.insert(vip) {
                vips.push((vip, known));
            }
        };
        let (about, findings) = (&this.about, &mut *self.findings);
        let mut texts = Vec::new();
        for ingress in &this.service.status.load_balancer.ingress {
            if ingress.ip.is_empty() {
                let what = "an ingress without an address (a hostname): left out";
                findings.add(about, what);
            } else {
                texts.push((&ingress.ip, ingress.ip_mode != "Proxy"));
            }
        }
        let external = this.service.spec.external_ips.iter();
        texts.extend(external.map(|ip| (ip, true)));
        for (text, known) in texts {
            match text.parse::<IpAddr>() {
                Ok(vip) => add(vip, known),
                Err(_) => findings.add(about, "one of its addresses is none: left out"),
            }
        }
        let by_hand = self.options.vips.iter();
        by_hand
            .filter(|(name, _)| *name == this.name)
            .for_each(|(_, vip)| add(*vip, false));
        if vips.is_empty() {
            let hint = format!("--vip {}=ADDRESS gives it one", this.name);
            let what = match &this.service.spec.kind[..] {
                "LoadBalancer" => {
                    format!("left out: it has no VIP in status.loadBalancer.ingress; {hint}")
                }
                _ => format!("left out: it has no VIP; {hint}"),
            };
            findings.add(about, what);
        }
        let addresses = &self.addresses;
        vips.retain(|(vip, _)| {
            if addresses.contains(vip) {
                let what = format!("{vip} left out: it is a node's own address, so no VIP");
                findings.add(about, what);
                false
            } else if !is_vip(*vip) {
                findings.add(about, format!("{vip} left out: no client could dial it"));
                false
            } else {
                true
            }
        });
        for (vip, known) in &vips {
            if !known {
                let what = format!(
                    "kube-proxy does not take {vip} (ipMode Proxy, or not in the Service): \
                     direct routing cannot work, so it is proxied to the nodePort"
                );
                findings.add(about, what);
            }
        }
        vips
    }

    fn tell_differences(&mut self, this: &This<'_>) {
        let spec = &this.service.spec;
        let mut add = |what: &str| self.findings.add(&this.about, what);
        if !this.local {
            add("externalTrafficPolicy Cluster: pods see a node's address, not the client's");
        }
        if spec.session_affinity == "ClientIP" {
            add(
                "sessionAffinity ClientIP is scheduler sh here: a client stays with its node as \
                 long as the nodes are the same, and its timeout is not kept",
            );
        }
        if !spec.load_balancer_source_ranges.is_empty() {
            add(
                "loadBalancerSourceRanges are not lbd's: kube-proxy keeps them at the VIP (dr); \
                 at a nodePort (tproxy) nobody does",
            );
        }
    }

    /// VIPs of one family, ports of one protocol.
    fn endpoints(
        &mut self,
        this: &This<'_>,
        vips: &[IpAddr],
        known: bool,
        ports: &[&Port],
        udp: bool,
        v4: bool,
    ) {
        let (reals, family) = match v4 {
            true => (Rc::clone(&self.v4), "IPv4"),
            false => (Rc::clone(&self.v6), "IPv6"),
        };
        let lacking = self.nodes - reals.len();
        if lacking > 0 {
            let what = match reals.is_empty() {
                true => format!(
                    "{} left out: no node has an InternalIP of {family}",
                    vips[0]
                ),
                false => format!(
                    "{} without an InternalIP of {family} left out",
                    plural(lacking, "node")
                ),
            };
            self.findings.add(&this.about, what);
        }
        if reals.is_empty() {
            return;
        }
        let Some(check) = self.check(this, udp) else {
            return;
        };
        let spec = &this.service.spec;
        let mut suffix = String::new();
        if udp && spec.ports.iter().any(|p| p.protocol != "UDP") {
            suffix.push_str("-udp");
        }
        if !v4 {
            suffix.push_str("-v6");
        }
        let dr = known && self.options.mode == WantedMode::Dr;
        let comment = self.comment(this, v4);
        // Named when it is known which ports are left to it.
        let of = |ports: BTreeSet<u16>, node_port: Option<u16>| Planned {
            name: String::new(),
            comment: comment.clone(),
            vips: vips.to_vec(),
            ports,
            udp,
            node_port,
            affinity: spec.session_affinity == "ClientIP",
            check: check.clone(),
            reals: Rc::clone(&reals),
        };
        let mut planned = Vec::new();
        if dr {
            let ports: BTreeSet<u16> = ports.iter().map(|port| port.port).collect();
            planned.push(of(ports, None));
        } else {
            for port in ports {
                match port.node_port {
                    0 => {
                        let what = format!("port {} left out: it has no nodePort", port.port);
                        self.findings.add(&this.about, what);
                    }
                    node_port => {
                        planned.push(of([port.port].into(), Some(node_port)));
                    }
                }
            }
        }
        let several = planned.len() > 1;
        for mut service in planned {
            self.claim(this, &mut service);
            let mut suffix = suffix.clone();
            if let Some(port) = service.ports.first().filter(|_| several) {
                suffix.push_str(&format!("-{port}"));
            }
            if service.ports.is_empty() {
                continue;
            }
            service.name = self.name(&this.name, &suffix);
            self.planned.push(service);
        }
    }

    /// Takes the ports that no Service before has at one of the VIPs.
    fn claim(&mut self, this: &This<'_>, service: &mut Planned) {
        let (vips, udp) = (&service.vips, service.udp);
        service.ports.retain(|port| {
            let taken = vips.iter().find_map(|vip| {
                let owner = self.endpoints.get(&(*vip, *port, udp))?;
                Some(format!("port {port} left out: {vip} has it for {owner}"))
            });
            match taken {
                Some(what) => self.findings.add(&this.about, what),
                None => {
                    for vip in vips {
                        let key = (*vip, *port, udp);
                        self.endpoints.insert(key, this.name.to_string());
                    }
                    return true;
                }
            }
            false
        });
    }

    /// How to know its nodes; tells when there is no way.
    fn check(&mut self, this: &This<'_>, udp: bool) -> Option<Check> {
        let spec = &this.service.spec;
        if !this.local {
            return Some(Check::KubeProxy);
        }
        if spec.health_check_node_port > 0 {
            let port = spec.health_check_node_port;
            return Some(Check::Service(port, this.name.clone()));
        }
        let tcp = |port: &&Port| port.protocol != "UDP" && port.protocol != "SCTP";
        let node_port = spec.ports.iter().filter(tcp).map(|port| port.node_port);
        match node_port.filter(|port| *port > 0).min() {
            Some(port) => {
                let what = format!(
                    "policy Local without a healthCheckNodePort: nodes are asked at nodePort \
                     {port}, and all have the same weight"
                );
                self.findings.add(&this.about, what);
                Some(Check::NodePort(port))
            }
            None => {
                let what = format!(
                    "left out ({}): policy Local, and neither a healthCheckNodePort nor a TCP \
                     nodePort tells which nodes have pods",
                    if udp { "UDP" } else { "TCP" }
                );
                self.findings.add(&this.about, what);
                None
            }
        }
    }

    fn comment(&self, this: &This<'_>, v4: bool) -> String {
        let kind = match &this.service.spec.kind[..] {
            kind @ ("LoadBalancer" | "NodePort") => kind,
            _ => "externalIPs",
        };
        let policy = if this.local { "Local" } else { "Cluster" };
        let pods = match self.pods.ready(&this.name, v4) {
            Some(ready) => format!(
                "; {} ready on {} when this was made",
                plural(ready.pods, "pod"),
                plural(ready.nodes.len(), "node")
            ),
            None => String::new(),
        };
        format!("{}: {kind}, policy {policy}{pods}", this.name)
    }

    /// `default.web` and what tells it from its siblings; short enough, and nobody else's.
    fn name(&mut self, service: &ServiceName, suffix: &str) -> String {
        let base = format!("{}.{}", service.namespace, service.name);
        let mut name = String::new();
        for n in 1_u32.. {
            let end = match n {
                1 => suffix.to_owned(),
                n => format!("{suffix}-{n}"),
            };
            let room = MAX_NAME - end.len();
            name = format!("{}{end}", base.get(..room).unwrap_or(&base));
            if self.names.insert(name.clone()) {
                break;
            }
        }
        name
    }
}

fn plural(count: usize, what: &str) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {what}{s}")
}

/// RFC 1123: what names of namespaces and Services are made of.
fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = |c: Option<u8>| c.is_some_and(|b| b != b'-');
    text.len() <= 63
        && text.bytes().all(inner)
        && ends(text.bytes().next())
        && ends(text.bytes().last())
}
