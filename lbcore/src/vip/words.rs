//! The words of this room that the configuration, the events and the views share.

use serde::{Deserialize, Serialize};
use std::fmt;

/// `announce` of a service: whether lbd answers for its VIPs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Announce {
    /// lbd answers for the VIP, unless the host owns the address.
    Always,
    /// Only while this host has the address.
    WhenOwned,
    /// Never: somebody else brings the traffic here.
    Never,
}

impl Announce {
    /// As the configuration spells it.
    pub fn word(self) -> &'static str {
        match self {
            Announce::Always => "always",
            Announce::WhenOwned => "when-owned",
            Announce::Never => "never",
        }
    }
}

/// What the operator said about one VIP with `lbctl vip take|release`; it goes before [`Announce`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Hold {
    /// Nothing: the configuration decides.
    #[default]
    Default,
    /// Announce it, whatever the configuration says; also try at once instead of after a wait.
    /// An address in use is not taken even so.
    Take,
    /// Leave it alone.
    Release,
}

/// Whether this host has a VIP among its own addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// It does not: lbd answers.
    None,
    /// It does, and its kernel answers ARP or neighbour solicitation for it on this interface.
    Kernel,
    /// It does, but its kernel does not answer on this interface (an IPv6 address of another
    /// interface, or `arp_ignore`): lbd answers.
    Mute,
}

/// `vip list`'s word for who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VipState {
    /// Asking whether somebody has it (RFC 5227, RFC 4862 DAD).
    Probing,
    /// lbd answers for it.
    Announced,
    /// The host owns the address, its kernel answers.
    Owned,
    /// Somebody else has it; tried again.
    Conflict,
    /// Not announced: released by the operator, `announce = "never"`, `when-owned` and not owned,
    /// or the interface is not there.
    Silent,
}

impl VipState {
    /// The word in JSON, in tables and in metrics.
    pub fn word(self) -> &'static str {
        match self {
            VipState::Probing => "probing",
            VipState::Announced => "announced",
            VipState::Owned => "owned",
            VipState::Conflict => "conflict",
            VipState::Silent => "silent",
        }
    }
}

impl fmt::Display for VipState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}
