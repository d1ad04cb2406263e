//! The guard: while lbd owns a VIP, this host's own stack must stay silent about it, or its
//! resets and port unreachables kill the clients' flows. An nft table drops frames to served
//! endpoints at ingress, behind the packet taps that lbd reads from. It stays when lbd dies, so
//! that the host goes on being silent until the next lbd comes.
//!
//! What it leaves alone: everything that is not TCP or UDP to a served VIP and port (ICMP errors
//! too); fragments after the first, which carry no ports: without the first, which is dropped,
//! the stack can neither reassemble nor complain (RFC 792, RFC 4443 3.3). It matches whatever
//! VLAN tag the hardware or the kernel has taken off, priority tags included; frames that carry a
//! further tag in-line are no IP to this host either.

mod news;
mod nft;
mod ruleset;
mod watch;

pub use ruleset::{GuardPlan, ruleset};
pub use watch::{GuardState, run};

/// Why the guard could not be changed. What was in force stays in force: every change is one
/// transaction.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// No `nft` binary.
    #[error(
        "the guard needs the program `nft`, which is not installed: install the package `nftables`"
    )]
    Missing,
    /// The kernel refused `nft`.
    #[error(
        "`nft` is not permitted to change tables ({0}): lbd needs CAP_NET_ADMIN as an ambient capability, \
         which `nft` inherits (systemd: AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NotPermitted(String),
    /// `nft` refused the table.
    #[error("`nft` refused the guard's table: {0}")]
    Refused(String),
    /// Whatever lbd does, another program undoes at once.
    #[error("another program changes the nft table `netdev lbd` as soon as lbd has: stop it")]
    Contested,
    /// `nft` hangs.
    #[error("`nft` gave no answer for {0:?} and was ended")]
    TimedOut(std::time::Duration),
    /// `nft` could not be run or spoken to.
    #[error("running `nft` failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Puts `plan` in force for those of its interfaces that exist, in one transaction: whatever was
/// guarded before and is guarded after is guarded throughout. A plan without endpoints removes
/// the table.
pub async fn apply(plan: &GuardPlan) -> Result<(), GuardError> {
    let names: Vec<String> = watch::devices(plan)
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    nft::load(&ruleset(plan, &names)).await
}

/// Removes the guard, if it is there.
pub async fn remove() -> Result<(), GuardError> {
    nft::load(&ruleset(&GuardPlan::default(), &[])).await
}

/// Removes what any lbd has left in nftables and says what that was; with `dry_run` it only says
/// what it would remove.
pub async fn cleanup(dry_run: bool) -> Result<Vec<String>, GuardError> {
    if nft::list().await?.is_none() {
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
