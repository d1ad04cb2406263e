//! lbd's tables in the host's nftables: text through the `nft` binary, each table replaced whole
//! in one transaction, and watched, because other tools flush what they did not make
//! (nftables.service on reload, a firewall's restart).

mod command;
mod news;
mod watched;

pub use command::{listing, load};
pub use watched::{AUDIT, RESTORES_PER_AUDIT, Watched};

use std::fmt;

/// Families of tables, with their numbers in netlink messages (NFPROTO_*, linux/netfilter.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4 and IPv6.
    Inet = 1,
    /// Frames at an interface's ingress.
    Netdev = 5,
}

/// One of lbd's tables, shown as `nft` names it: `netdev lbd`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    /// Where it hooks in.
    pub family: Family,
    /// Its name in that family.
    pub name: &'static str,
}

impl Table {
    /// The table as `nft` lists it, without counters' values; `None` if there is none.
    ///
    /// # Errors
    /// `nft` could not be asked.
    pub async fn list(self) -> Result<Option<String>, NftError> {
        command::list(self).await
    }

    /// The words of [`Table::list`], sorted: `nft` lists sets in any order.
    ///
    /// # Errors
    /// As [`Table::list`].
    pub async fn words(self) -> Result<Option<Vec<String>>, NftError> {
        Ok(self.list().await?.as_deref().map(words))
    }

    /// What a file for `nft -f` begins with to replace the table, and all of the file that removes
    /// it: adding first makes the delete succeed when there is none yet.
    pub fn removal(self) -> String {
        format!("add table {self}\ndelete table {self}\n")
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = match self.family {
            Family::Inet => "inet",
            Family::Netdev => "netdev",
        };
        write!(f, "{family} {}", self.name)
    }
}

/// Why a table could not be changed. What was in force stays in force: every change is one
/// transaction.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// No `nft` binary.
    #[error("lbd needs the program `nft`, which is not installed: install the package `nftables`")]
    Missing,
    /// The kernel refused `nft`.
    #[error(
        "`nft` is not permitted to change tables ({0}): lbd needs CAP_NET_ADMIN as an ambient capability, \
         which `nft` inherits (systemd: AmbientCapabilities=CAP_NET_ADMIN)"
    )]
    NotPermitted(String),
    /// `nft` refused the table.
    #[error("`nft` refused lbd's table: {0}")]
    Refused(String),
    /// Whatever lbd does, another program undoes at once.
    #[error("another program changes the nft table `{0}` as soon as lbd has: stop it")]
    Contested(Table),
    /// `nft` hangs.
    #[error("`nft` gave no answer for {0:?} and was ended")]
    TimedOut(std::time::Duration),
    /// `nft` could not be run or spoken to.
    #[error("running `nft` failed: {0}")]
    Io(#[from] std::io::Error),
}

fn words(listing: &str) -> Vec<String> {
    let mut words: Vec<String> = listing
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect();
    words.sort_unstable();
    words
}
