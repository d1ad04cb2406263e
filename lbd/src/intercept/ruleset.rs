//! The text that makes `nft` mark what lbd's sockets wait for.

use super::{InterceptPlan, MARK, MARK_MASK, Stack, TABLE};
use std::fmt::Write;

/// One file for `nft -f`: the table as `plan` wants it, in place of whatever stood there, in one
/// transaction. An empty plan: no table.
///
/// `socket transparent` finds listeners, connections (those that only wait in the kernel, too) and
/// UDP sockets, and for an ICMP error the socket whose packet it quotes. Others' transparent
/// sockets are left alone, except that an ICMP error about one is marked on its way to it.
pub fn ruleset(plan: &InterceptPlan) -> String {
    let mut text = TABLE.removal();
    if plan.is_empty() {
        return text;
    }
    let mark = format!(
        "socket transparent 1 meta mark set meta mark and {:#010x} or {MARK:#010x} accept",
        !MARK_MASK
    );
    let mut rules = String::new();
    writeln!(
        text,
        "table {TABLE} {{\n\
         \tcomment \"lbd, a load balancer: hands packets for proxied VIPs to lbd; remove with: lbd cleanup\""
    )
    .expect("writing to a string");
    for stack in plan.stacks() {
        let (ip, n, icmp, nobody) = match stack {
            Stack::V4 => (
                "ip",
                4,
                "icmp type { destination-unreachable, time-exceeded, parameter-problem }",
                "0.0.0.0",
            ),
            Stack::V6 => (
                "ip6",
                6,
                "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem }",
                "::",
            ),
        };
        set(&mut text, &format!("vips{n}"), n, &plan.vips_of(stack));
        set(&mut text, &format!("reals{n}"), n, &plan.reals_of(stack));
        write!(
            rules,
            "\t\t{ip} saddr . meta l4proto . th sport @reals{n} {mark}\n\
             \t\t{ip} daddr . meta l4proto . th dport @vips{n} {mark}\n\
             \t\t{ip} daddr . meta l4proto . th dport @vips{n} counter drop\n\
             \t\t{icmp} {mark}\n"
        )
        .expect("writing to a string");
        if plan.has_udp() {
            // Later fragments carry no ports. A rule with `tproxy` has the kernel put fragments
            // together before this hook (net/netfilter/nft_tproxy.c), as conntrack would.
            writeln!(
                rules,
                "\t\t{ip} daddr {nobody} meta l4proto udp tproxy {ip} to :1 comment \"matches nothing; reassembles datagrams\""
            )
            .expect("writing to a string");
        }
    }
    write!(
        text,
        "\tchain prerouting {{\n\
         \t\ttype filter hook prerouting priority mangle; policy accept;\n\
         {rules}\
         \t}}\n\
         }}\n"
    )
    .expect("writing to a string");
    text
}

fn set(text: &mut String, name: &str, version: u8, elements: &[String]) {
    write!(
        text,
        "\tset {name} {{\n\t\ttype ipv{version}_addr . inet_proto . inet_service\n"
    )
    .expect("writing to a string");
    if !elements.is_empty() {
        // nft 1.0.6 wants a newline before a closing brace.
        let elements = elements.join(",\n\t\t\t");
        write!(text, "\t\telements = {{\n\t\t\t{elements}\n\t\t}}\n").expect("writing to a string");
    }
    text.push_str("\t}\n");
}

/// Whether a table as `nft` lists it (its words) has the endpoints of `plan`, and the rules.
pub(super) fn stands(plan: &InterceptPlan, listed: Option<Vec<String>>) -> bool {
    let Some(listed) = listed else {
        return false;
    };
    let count = |word: &str| listed.iter().filter(|listed| *listed == word).count();
    let stacks = plan.stacks();
    let addresses = plan
        .vips
        .iter()
        .map(|key| key.vip.to_string())
        .chain(plan.reals.iter().map(|(_, real)| real.ip().to_string()));
    addresses.into_iter().all(|address| count(&address) > 0)
        && count("transparent") == 3 * stacks.len()
        && count("drop") == stacks.len()
}
