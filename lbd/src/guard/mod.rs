//! The guard: while lbd owns a VIP, this host's own stack must stay silent about it, or its
//! resets and port unreachables kill the clients' flows. An nft table drops frames to served
//! endpoints at ingress, behind the packet taps that lbd reads from. It stays when lbd dies, so
//! that the host goes on being silent until the next lbd comes.
//!
//! Answers of served endpoints to the ports of lbd's own probes are dropped likewise: the kernel
//! knows nothing of those connections and would reset them.
//!
//! What it leaves alone: everything else that is not TCP or UDP to a served VIP and port (ICMP errors
//! too); fragments after the first, which carry no ports: without the first, which is dropped,
//! the stack can neither reassemble nor complain (RFC 792, RFC 4443 3.3). It matches whatever
//! VLAN tag the hardware or the kernel has taken off, priority tags included; frames that carry a
//! further tag in-line are no IP to this host either.

mod ruleset;
mod watch;

use crate::nft::{self, Family, NftError, Table};
pub use ruleset::{GuardPlan, ruleset};
pub use watch::{GuardState, run};

const TABLE: Table = Table {
    family: Family::Netdev,
    name: "lbd",
};

/// Puts `plan` in force for those of its interfaces that exist, in one transaction: whatever was
/// guarded before and is guarded after is guarded throughout. A plan without endpoints removes
/// the table.
pub async fn apply(plan: &GuardPlan) -> Result<(), NftError> {
    let names: Vec<String> = watch::devices(plan)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    nft::load(&ruleset(plan, &names)).await
}

/// Removes the guard, if it is there.
pub async fn remove() -> Result<(), NftError> {
    nft::load(&TABLE.removal()).await
}

/// What the kernel lacks of `plan`, in words, on those of its interfaces that exist.
///
/// # Errors
/// `nft` could not be asked.
pub async fn missing(plan: &GuardPlan) -> Result<Vec<String>, NftError> {
    if plan.endpoints.is_empty() {
        return Ok(Vec::new());
    }
    let Some(words) = TABLE.words().await? else {
        return Ok(vec![format!("lbd's nft table `{TABLE}`")]);
    };
    let has = |word: &str| {
        words
            .binary_search_by(|known| known.as_str().cmp(word))
            .is_ok()
    };
    let mut missing = Vec::new();
    for (device, _) in watch::devices(plan) {
        if !has(&format!("\"{device}\"")) {
            missing.push(format!("its chain for {device}"));
        }
    }
    let mut vips: Vec<String> = plan
        .endpoints
        .iter()
        .map(|key| key.vip.to_string())
        .collect();
    vips.dedup();
    vips.retain(|vip| !has(vip));
    missing.extend(vips.into_iter().map(|vip| format!("its entry for {vip}")));
    Ok(missing)
}

/// Removes what any lbd has left in nftables and says what that was; with `dry_run` it only says
/// what it would remove.
pub async fn cleanup(dry_run: bool) -> Result<Vec<String>, NftError> {
    if TABLE.list().await?.is_none() {
        return Ok(Vec::new());
    }
    if !dry_run {
        remove().await?;
    }
    Ok(vec![
        "nft table `netdev lbd`, which kept this host's own stack silent about served VIPs".into(),
    ])
}

#[cfg(test)]
mod tests;
