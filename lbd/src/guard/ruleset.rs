//! What should be guarded, and the text that makes `nft` do so.

use super::TABLE;
use crate::sys::link_socket::PROBE_PORTS;
use lbcore::net::ServiceKey;
use std::fmt::Write;

/// What the guard should keep the host silent about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardPlan {
    /// Names of the interfaces VIP traffic arrives on; those that do not exist are guarded as
    /// soon as they do.
    pub interfaces: Vec<String>,
    /// Served endpoints.
    pub endpoints: Vec<ServiceKey>,
}

impl GuardPlan {
    /// Sorted and without doubles, so that equal plans compare equal.
    pub fn new(mut interfaces: Vec<String>, mut endpoints: Vec<ServiceKey>) -> Self {
        interfaces.sort_unstable();
        interfaces.dedup();
        endpoints.sort_unstable();
        endpoints.dedup();
        Self {
            interfaces,
            endpoints,
        }
    }
}

/// Before the priorities other tools use at ingress (flowtables at 0, filters from -150), so that
/// no other tool's fast path takes a guarded frame into the host.
const PRIORITY: i32 = -300;

/// One file for `nft -f`: the table as `plan` wants it on the `existing` ones of its interfaces,
/// in place of whatever stood there, in one transaction. Without endpoints: no table.
pub fn ruleset(plan: &GuardPlan, existing: &[String]) -> String {
    let mut text = TABLE.removal();
    if plan.endpoints.is_empty() {
        return text;
    }
    text.push_str(
        "table netdev lbd {\n\
         \tcomment \"lbd, a load balancer: keeps this host silent about VIPs it serves; remove with: lbd cleanup\"\n",
    );
    set(
        &mut text,
        "served4",
        "ipv4_addr",
        plan.endpoints.iter().filter(|key| key.vip.is_v4()),
    );
    set(
        &mut text,
        "served6",
        "ipv6_addr",
        plan.endpoints.iter().filter(|key| !key.vip.is_v4()),
    );
    let probes = format!("{}-{}", PROBE_PORTS.start(), PROBE_PORTS.end());
    let devices = plan
        .interfaces
        .iter()
        .filter(|name| existing.contains(name) && quotable(name));
    for (number, device) in devices.enumerate() {
        // Interface names may hold characters that chain names may not, so chains are numbered.
        write!(
            text,
            "\tchain ingress{number} {{\n\
             \t\ttype filter hook ingress device \"{device}\" priority {PRIORITY}; policy accept;\n\
             \t\tip daddr . meta l4proto . th dport @served4 counter drop\n\
             \t\tip6 daddr . meta l4proto . th dport @served6 counter drop\n\
             \t\tip saddr . meta l4proto . th sport @served4 th dport {probes} counter drop\n\
             \t\tip6 saddr . meta l4proto . th sport @served6 th dport {probes} counter drop\n\
             \t}}\n"
        )
        .expect("writing to a string");
    }
    text.push_str("}\n");
    text
}

fn set<'a>(
    text: &mut String,
    name: &str,
    address: &str,
    keys: impl Iterator<Item = &'a ServiceKey>,
) {
    let elements: Vec<String> = keys
        .map(|key| format!("{} . {} . {}", key.vip, key.protocol, key.port))
        .collect();
    write!(
        text,
        "\tset {name} {{\n\t\ttype {address} . inet_proto . inet_service\n"
    )
    .expect("writing to a string");
    if !elements.is_empty() {
        // nft 1.0.6 wants a newline before a closing brace.
        let elements = elements.join(",\n\t\t\t");
        write!(text, "\t\telements = {{\n\t\t\t{elements}\n\t\t}}\n").expect("writing to a string");
    }
    text.push_str("\t}\n");
}

/// Whether `nft` can be told this name: the kernel permits quotes and control characters in
/// names, `nft`'s quoted strings have no way to write them.
fn quotable(name: &str) -> bool {
    !name.is_empty()
        && name
            .chars()
            .all(|c| !c.is_control() && c != '"' && c != '\\')
}
