//! Interception: what makes the kernel hand packets for proxied VIPs, and the reals' answers to
//! clients' addresses, to lbd's own transparent sockets, though neither address is this host's.
//!
//! An nft table marks the packets that such a socket waits for, an `ip rule` sends what is marked
//! to a routing table, and there one route makes every address local (the kernel's
//! Documentation/networking/tproxy.rst). It stays when lbd dies: without sockets the table drops
//! what is for a VIP, so the host is silent until the next lbd comes, and clients retransmit.
//!
//! It touches nothing of others: own table, own mark bits, own rules and routes, all known by
//! names and numbers that others do not use.

mod object;
mod plan;
mod routing;
mod ruleset;
mod watch;

use crate::nft::{self, Family, NftError, Table};
pub use object::{Object, Stack};
pub use plan::InterceptPlan;
pub use ruleset::ruleset;
use std::io;
pub use watch::{InterceptState, run};

const TABLE: Table = Table {
    family: Family::Inet,
    name: "lbd_proxy",
};

/// The bits of a packet's mark that are lbd's. Free of kube-proxy's (0x4000, 0x8000), Calico's
/// (0xffff0000), Cilium's (0x0f00, 0xf000), Tailscale's (0xff0000) and the CNI port map's (0x2000).
pub const MARK_MASK: u32 = 0xff;

/// What those bits are on an intercepted packet: bits that the AWS CNI (0x80) leaves alone, and not
/// the 1 of every TPROXY how-to.
pub const MARK: u32 = 0x2c;

/// Why the interception could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum InterceptError {
    /// The nft table.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// Rules and routes.
    #[error("`{command}`: {source}{}", hint(.source))]
    Routing {
        /// The `ip` command that would do the same.
        command: String,
        /// What the kernel says.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EPERM) => ": lbd needs CAP_NET_ADMIN",
        Some(libc::ENETDOWN) => ": `ip link set lo up`",
        Some(libc::EACCES | libc::EAFNOSUPPORT | libc::EOPNOTSUPP) => {
            ": IPv6 is off on `lo` (sysctl net.ipv6.conf.lo.disable_ipv6), and a proxied service uses it"
        }
        _ => "",
    }
}

/// Puts `plan` in force, in place of what an earlier lbd left.
///
/// # Errors
/// What failed first; the rest was tried all the same.
pub async fn apply(plan: &InterceptPlan) -> Result<(), InterceptError> {
    let routed = routing::put(&plan.stacks()).await;
    nft::load(&ruleset(plan)).await?;
    routing::clear(&plan.stacks(), false).await?;
    routed.map(|_| ())
}

/// Removes all of it, if it is there.
///
/// # Errors
/// What failed first.
pub async fn remove() -> Result<(), InterceptError> {
    apply(&InterceptPlan::default()).await
}

/// Removes what any lbd has left and says what that was; with `dry_run` it only says what it would
/// remove.
///
/// # Errors
/// What failed first.
pub async fn cleanup(dry_run: bool) -> Result<Vec<String>, InterceptError> {
    let mut found = Vec::new();
    if TABLE.list().await?.is_some() {
        if !dry_run {
            nft::load(&TABLE.removal()).await?;
        }
        found.push(format!(
            "nft table `{TABLE}`, which handed packets for proxied VIPs to lbd"
        ));
    }
    found.extend(routing::clear(&[], dry_run).await?);
    Ok(found)
}

/// What of `plan` the kernel lacks now, for `doctor`. In the table only the endpoints and the
/// number of rules are looked at.
///
/// # Errors
/// The kernel could not be asked.
pub async fn check(plan: &InterceptPlan) -> Result<Vec<Object>, InterceptError> {
    let mut missing = routing::missing(&plan.stacks()).await?;
    if !plan.is_empty() && !ruleset::stands(plan, TABLE.words().await?) {
        missing.push(Object::Table);
    }
    Ok(missing)
}

/// The `ip` commands that make the rules and routes of `plan`, as an operator would type them.
pub fn commands(plan: &InterceptPlan) -> Vec<String> {
    let wanted = object::wanted(&plan.stacks());
    wanted.into_iter().map(Object::words).collect()
}

#[cfg(test)]
mod tests;
