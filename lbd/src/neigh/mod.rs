//! The way to each real: on a directly connected network or not, and its MAC, known before any
//! packet needs it.
//!
//! The kernel's neighbour table does the asking (ARP, RFC 826; neighbour discovery, RFC 4861).
//! Entries for reals are *managed* (NTF_EXT_MANAGED, Linux 5.16), so the kernel keeps them
//! resolved, and goes on while lbd restarts; older kernels are poked (NTF_USE) instead. They carry
//! lbd's number as their protocol, by which a later lbd and `lbd cleanup` know them.
//!
//! What stays: an orderly end turns the entries into ordinary cache, which ages as all of it does;
//! a killed lbd leaves them managed, which costs one unicast question now and then.

mod kernel;
mod route;
mod target;
mod watch;

pub use watch::run;

use crate::sys::netlink;
use lbcore::net::MacAddr;
use std::io;
use std::net::IpAddr;

/// An address whose way should be known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// A real's address (or a sorry server's).
    pub address: IpAddr,
    /// The interface the configuration names; `None`: by route.
    pub interface: Option<String>,
    /// The MAC the configuration pins: it wins, and nobody is asked.
    pub mac: Option<MacAddr>,
}

/// Everything whose way should be known, and where direct routing may go.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NeighborPlan {
    /// One entry an address; of doubles the first counts.
    pub wanted: Vec<Wanted>,
    /// Names of the interfaces VIP traffic arrives on and leaves by.
    pub interfaces: Vec<String>,
}

/// Turns the managed neighbour entries that any lbd has left into ordinary cache and says which;
/// with `dry_run` it only says.
pub async fn cleanup(dry_run: bool) -> io::Result<Vec<String>> {
    let handle = netlink::rtnetlink()?;
    let released = kernel::release(&handle, dry_run, |_| true).await?;
    Ok(released
        .iter()
        .map(|address| format!("managed neighbour entry for {address}"))
        .collect())
}

#[cfg(test)]
mod tests;
