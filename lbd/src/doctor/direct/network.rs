//! Networks that forbid what direct routing does.

use super::VipPath;
use crate::doctor::Report;
use crate::doctor::judge::finding;
use lbcore::api::{Code, Severity};
use lbcore::service::{Health, Way};
use std::collections::HashSet;
use std::net::IpAddr;

/// Whether something between lbd and every real drops what direct routing sends: of several reals,
/// all reached at their own addresses, none at the VIP; or all there, and no client is answered.
pub(super) fn judge(
    paths: &[VipPath],
    alive: &HashSet<IpAddr>,
    silent: &[(String, String)],
    report: &mut Report,
) {
    let mut services: Vec<&str> = paths.iter().map(|path| path.service.as_str()).collect();
    services.dedup();
    for service in services {
        let check = format!("network for {service}");
        let of_it = paths.iter().filter(|path| path.service == service);
        let reached: Vec<&VipPath> = of_it
            .filter(|path| matches!(path.way, Way::Known { .. }))
            .collect();
        // One real alone may just lack the VIP.
        if reached.len() < 2 {
            report.skipped(&check, "it takes two reals that are reached to tell");
            continue;
        }
        let passes = |path: &&VipPath| {
            matches!(
                &path.health,
                Some((Health::Up | Health::Draining | Health::Declined, _))
            )
        };
        // A refusal has come back along the way: that is not the network.
        let unheard = |path: &&VipPath| match &path.health {
            Some((Health::Down, reason)) => {
                reason.contains("no answer") && alive.contains(&path.address)
            }
            _ => false,
        };
        let is_silent = |path: &&VipPath| silent.iter().any(|(name, _)| *name == path.name);
        let (all, fix) = (reached.len(), NETWORK_FIX);
        if reached.iter().all(unheard) {
            let seen = format!(
                "all {all} reals answer pings at their own addresses, and none answers for the VIP \
                 in frames to its MAC"
            );
            let why = "either no real has the VIP, or the network delivers by IP address whatever \
                       the MAC says, as clouds do: direct routing cannot work there";
            let fix = format!(
                "on a real: ip address show to VIP; if it is not there: lbctl gen realserver \
                 --service {service}; if it is: {fix}"
            );
            let found = finding(
                Code::NetworkForbids,
                Severity::Fault,
                service,
                seen,
                why,
                fix,
            );
            report.found(&check, found);
        } else if reached.iter().all(passes) && reached.iter().all(is_silent) {
            let seen = format!(
                "checks of all {all} reals are answered for the VIP, and clients of none complete \
                 their handshakes"
            );
            let why = "checks come from this host's own address, clients' packets do not: something \
                       between drops source addresses that are not ours, or the reals' answers. Or \
                       it is a flood of SYNs from forged addresses";
            let found = finding(
                Code::NetworkForbids,
                Severity::Warning,
                service,
                seen,
                why,
                fix.to_owned(),
            );
            report.found(&check, found);
        } else {
            report.good(&check, "what direct routing sends arrives");
        }
    }
}

/// What opens a network, or does without.
const NETWORK_FIX: &str = "let this host's port send frames with others' source addresses \
                           (docs/networks.md says what to open by network), or let the service have \
                           mode = \"tproxy\" with source = \"self\", which needs nothing";
