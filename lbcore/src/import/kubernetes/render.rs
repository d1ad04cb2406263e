//! The result as a file.

use super::super::render::item;
use super::{Check, Options, Planned};
use std::fmt::Write;
use std::net::IpAddr;

/// What must hold in the cluster for these services to work.
pub(super) fn conditions(services: &[Planned]) -> Vec<&'static str> {
    let (mut dr, mut tproxy, mut ports) = (false, false, false);
    for service in services {
        dr |= service.node_port.is_none();
        tproxy |= service.node_port.is_some();
        ports |= matches!(service.check, Check::NodePort(_));
    }
    let all: [(bool, &'static str); 7] = [
        (
            dr,
            "Each VIP is the Service's own: in status.loadBalancer.ingress with ipMode VIP (the \
             default), or in spec.externalIPs. Else kube-proxy lets its packets pass by.",
        ),
        (
            dr,
            "Packets reach the nodes at the Service's port, not at its nodePort.",
        ),
        (dr, "lbd's host and the nodes are on one layer-2 network."),
        (
            dr,
            "Nodes in kube-proxy's ipvs mode have strictARP: true; else they answer ARP for the VIP.",
        ),
        (
            tproxy,
            "The nodes' way to clients leads through lbd's host; or give the service source = \
             \"self\", and a send_proxy that the pods understand.",
        ),
        (
            true,
            "lbd's host may reach the nodes' health ports: healthCheckNodePort, and 10256 with \
             policy Cluster.",
        ),
        (
            ports,
            "lbd's host may reach the nodes' nodePorts: no answer there is taken for no pod.",
        ),
    ];
    let these = all.iter().filter(|(holds, _)| *holds);
    these.map(|(_, condition)| *condition).collect()
}

/// The file. Nothing in it is text of the cluster but for names that were looked at.
pub(super) fn file(services: &[Planned], conditions: &[&str], options: &Options) -> String {
    let mut out =
        String::from("# Made by `lbctl import kubernetes`. What must hold in the cluster:\n#\n");
    for condition in conditions {
        item(&mut out, condition);
    }
    let interface = options.interface.replace('\\', "\\\\").replace('"', "\\\"");
    let _ = write!(
        out,
        "\n[network]\ninterface = \"{interface}\" # where the VIPs' packets arrive\n"
    );
    for planned in services {
        service(&mut out, planned);
    }
    out
}

fn service(out: &mut String, service: &Planned) {
    let quoted = |vips: &[IpAddr]| {
        let all: Vec<String> = vips.iter().map(|vip| format!("\"{vip}\"")).collect();
        list(&all)
    };
    let ports: Vec<String> = service.ports.iter().map(u16::to_string).collect();
    let _ = write!(
        out,
        "\n# {}\n[[service]]\nname      = \"{}\"\nvip       = {}\nport      = {}\nprotocol  = \"{}\"\n",
        service.comment,
        service.name,
        quoted(&service.vips),
        list(&ports),
        if service.udp { "udp" } else { "tcp" },
    );
    if service.node_port.is_some() {
        out.push_str("mode      = \"tproxy\"\n");
    }
    if service.affinity {
        out.push_str("scheduler = \"sh\"\n");
    }
    out.push_str("\n[[service.check]]\n");
    let _ = match &service.check {
        Check::Service(port, name) => writeln!(
            out,
            "type    = \"kubernetes\"\nport    = {port}\nservice = \"{name}\""
        ),
        Check::KubeProxy => writeln!(out, "type = \"kubernetes\"\nport = 10256"),
        Check::NodePort(port) => {
            writeln!(out, "type = \"tcp\"\nvia  = \"real\"\nport = {port}")
        }
    };
    for real in service.reals.iter() {
        out.push_str("\n[[service.real]]\n");
        if let Some(name) = &real.name {
            let _ = writeln!(out, "name    = \"{name}\"");
        }
        for address in &real.addresses {
            let ready = match real.ready {
                true => "",
                false => " # not Ready when this was made",
            };
            let _ = writeln!(out, "address = \"{address}\"{ready}");
        }
        if let Some(port) = service.node_port {
            let _ = writeln!(out, "port    = {port}");
        }
    }
}

fn list(items: &[String]) -> String {
    match items {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
