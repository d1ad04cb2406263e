//! What there is to tell about a VIP, and the sentences an operator needs.

use super::announcer::CONFLICT_RETRY;
use super::facts::Facts;
use super::words::{Hold, VipState};
use crate::net::MacAddr;
use crate::time::Tick;
use std::net::IpAddr;

/// What has changed about a VIP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct News {
    /// Who answers.
    pub state: VipState,
    /// A sentence for the operator, where there is something to say.
    pub note: Option<String>,
    /// Another machine that claims the VIP.
    pub claimed_by: Option<MacAddr>,
    /// How often another machine was found to have the VIP, or claimed it while it was ours.
    pub conflicts: u64,
    /// When it was last announced to everybody (gratuitous ARP, unsolicited advertisement).
    pub announced: Option<Tick>,
}

/// The sentence for `state`, with `claimed_by` as the machine that claims the VIP too.
pub(super) fn note(
    vip: IpAddr,
    state: VipState,
    facts: &Facts,
    claimed_by: Option<MacAddr>,
) -> Option<String> {
    let Some(mac) = claimed_by else {
        let in_vain = state == VipState::Owned && facts.hold == Hold::Release;
        return in_vain.then(|| {
            "released, but this host has the address and its kernel goes on answering: remove the \
             address from this host"
                .to_string()
        });
    };
    let cause = match (facts.reals.get(&mac), vip) {
        (Some(real), IpAddr::V4(_)) => {
            format!(
                "{real} answers ARP for the VIP: set arp_ignore=1 and arp_announce=2 there (kube-proxy in ipvs mode: strictARP)"
            )
        }
        (Some(real), IpAddr::V6(_)) => format!(
            "{real} answers neighbour solicitation for the VIP: put the VIP on lo or a dummy \
             interface there"
        ),
        (None, _) if state == VipState::Conflict => format!("{vip} is in use by {mac}"),
        (None, _) => format!("{mac} claims {vip} too: two machines have this address"),
    };
    Some(match state {
        VipState::Conflict => {
            let every = CONFLICT_RETRY.as_secs();
            format!("{cause} (not announced, tried again every {every} s)")
        }
        _ => cause,
    })
}
