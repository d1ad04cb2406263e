//! `lbd --print-rules`: what a configuration puts into nftables, rules and routes, for whoever has
//! to agree to it first.

use crate::guard::{self, GuardPlan};
use crate::intercept::{self, InterceptPlan};
use lbcore::config::{Config, Mode};

/// One file for `nft -f -`, with the `ip` commands as comments. Every configured interface is taken
/// to exist; nothing is touched or asked.
pub fn print_rules(config: &Config) -> String {
    let of = |mode| config.services.iter().filter(move |s| s.mode == mode);
    let interfaces = config.network.interfaces.clone();
    let endpoints = of(Mode::Dr).flat_map(|service| service.keys()).collect();
    let guard = GuardPlan::new(interfaces.clone(), endpoints);
    let intercept = InterceptPlan::for_services(of(Mode::Tproxy), |_| Vec::new());
    let mut text = String::new();
    if !guard.endpoints.is_empty() {
        text.push_str("# Direct routing: this host is silent about its VIPs.\n");
        text.push_str(&guard::ruleset(&guard, &interfaces));
    }
    if !intercept.is_empty() {
        text.push_str("# Transparent proxy: packets that are marked here ...\n");
        text.push_str(&intercept::ruleset(&intercept));
        text.push_str("# ... are for lbd's own sockets:\n");
        for command in intercept::commands(&intercept) {
            text.push_str(&format!("# {command}\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{self, NftError};
    use crate::sys::netns::{Netns, ip};

    #[test]
    fn what_is_printed_for_the_samples_loads() {
        let Some(netns) = Netns::new() else {
            return;
        };
        netns.ip("link add eth0 type veth peer name eth1");
        netns.block_on(|| async {
            for (sample, table, commands) in [
                (include_str!("../../../config/lbd.toml"), "netdev lbd", 0),
                (
                    include_str!("../../../config/tproxy.toml"),
                    "inet lbd_proxy",
                    3,
                ),
            ] {
                let config = lbcore::config::check(sample).expect("a good sample").config;
                let text = print_rules(&config);
                assert!(text.contains(&format!("table {table} {{")), "{text}");
                let lines: Vec<_> = text
                    .lines()
                    .filter_map(|l| l.strip_prefix("# ip "))
                    .collect();
                assert_eq!(lines.len(), commands, "{text}");
                lines.into_iter().for_each(ip);
                match nft::load(&text).await {
                    Err(NftError::Missing) => println!("skipped: no `nft`; install nftables"),
                    loaded => loaded.expect("a file for nft"),
                }
            }
        });
    }
}
