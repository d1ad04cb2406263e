//! `keepalived.conf`: its virtual servers with their checks. What is about VRRP stays keepalived's;
//! the VIPs it moves become `announce = "when-owned"`. See keepalived.conf(5).

mod check;
mod groups;
mod server;
mod syntax;

use super::plan::Plan;
use super::{ImportError, Imported, Options, lvs, text};
use groups::Groups;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;
use syntax::Node;

/// What stands outside of virtual servers and holds for them.
#[derive(Default)]
struct Around {
    /// The VIPs that VRRP moves.
    vrrp: BTreeSet<IpAddr>,
    interfaces: BTreeSet<String>,
    tcp_idle: Option<Duration>,
    udp_idle: Option<Duration>,
}

/// Imports a file.
///
/// # Errors
/// When it is too large, or its blocks do not close. What cannot be expressed is no error: it is
/// told.
pub fn import(bytes: &[u8], options: &Options<'_>) -> Result<Imported, ImportError> {
    let text = text(bytes)?;
    let (nodes, skipped) = syntax::parse(&text)?;
    let mut plan = Plan::new(options.names);
    for line in skipped {
        plan.tell(&line.origin, line.why);
    }
    let mut around = Around::default();
    for node in &nodes {
        surroundings(&mut plan, &mut around, node);
    }
    let groups = Groups::of(&nodes);
    for node in nodes.iter().filter(|node| node.name() == "virtual_server") {
        server::virtual_server(&mut plan, node, &groups, &around);
    }
    let mut conditions = lvs::conditions(&plan);
    conditions.push(
        "Checks at the port traffic goes to take its way in mode dr: to the VIP, in frames to the \
         real (via = \"vip\"). via = \"real\" asks the real's own address, as keepalived does.",
    );
    if !around.vrrp.is_empty() {
        conditions.push(
            "keepalived goes on with its vrrp parts, without the virtual_server parts; a vrrp_script \
             that runs `lbctl health` moves the VIP when lbd cannot serve.",
        );
    }
    let known = options.interface.clone();
    let told = around
        .interfaces
        .first()
        .filter(|_| around.interfaces.len() == 1);
    let (interface, note) = match (known, told) {
        (Some(interface), _) => (interface, "where the VIPs' packets arrive"),
        (None, Some(interface)) => (interface.clone(), "that of vrrp_instance"),
        (None, None) => ("eth0".to_owned(), "where the VIPs' packets arrive"),
    };
    plan.finish("lbctl import keepalived", conditions, &interface, note)
}

/// Everything but virtual servers.
fn surroundings(plan: &mut Plan<'_>, around: &mut Around, node: &Node) {
    let what = match node.name() {
        "virtual_server" | "virtual_server_group" => return,
        "global_defs" => {
            for statement in node.children() {
                global(plan, around, statement);
            }
            return;
        }
        "vrrp_instance" => {
            vrrp_instance(around, node);
            "no equivalent: lbd has no VRRP. It stays keepalived's; services on its VIPs have \
             announce = \"when-owned\""
        }
        "SSL" => "no equivalent: lbd's checks show no certificate of their own",
        _ => "no equivalent: it stays keepalived's",
    };
    plan.tell(&node.origin(), what);
}

fn vrrp_instance(around: &mut Around, node: &Node) {
    for statement in node.children() {
        match statement.name() {
            "interface" if is_interface(statement.word(1)) => {
                around.interfaces.insert(statement.word(1).to_owned());
            }
            "virtual_ipaddress" | "virtual_ipaddress_excluded" => {
                let texts = statement.children().iter().map(Node::name);
                let vips = texts.filter_map(|text| text.split('/').next()?.parse::<IpAddr>().ok());
                around.vrrp.extend(vips);
            }
            _ => {}
        }
    }
}

/// As the configuration wants names of interfaces.
fn is_interface(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    (1..16).contains(&name.len()) && name.bytes().all(fit) && name != "." && name != ".."
}

fn global(plan: &mut Plan<'_>, around: &mut Around, node: &Node) {
    if node.name() != "lvs_timeouts" {
        plan.tell(
            &node.origin(),
            "no equivalent: it is about keepalived itself",
        );
        return;
    }
    for pair in node.words[1..].chunks(2) {
        let seconds = pair.get(1).and_then(|text| text.parse::<u64>().ok());
        // What lbd takes: up to a week.
        let idle = seconds.filter(|seconds| (1..=7 * 24 * 3600).contains(seconds));
        let idle = idle.map(Duration::from_secs);
        match (pair[0].as_str(), idle) {
            ("tcp", Some(idle)) => around.tcp_idle = Some(idle),
            ("udp", Some(idle)) => around.udp_idle = Some(idle),
            ("tcpfin", Some(idle)) if idle.as_secs() == 120 => {}
            (other, _) => {
                let what =
                    format!("{other}: no equivalent; lbd forgets a tcp flow 2m after its FIN");
                plan.tell(&node.origin(), what);
            }
        }
    }
}

#[cfg(test)]
mod tests;
