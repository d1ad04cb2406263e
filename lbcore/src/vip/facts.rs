//! What the announcer must know, and who shall answer by that.

use super::words::{Announce, Hold, Ownership};
use crate::net::MacAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the announcer must know of the host and of everybody's wishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The interface's MAC.
    pub mac: MacAddr,
    /// The interface is there and up, has carrier and a MAC, and frames can be sent on it.
    pub carrier: bool,
    /// Whether the host has the address itself.
    pub ownership: Ownership,
    /// What the configuration says.
    pub announce: Announce,
    /// What the operator says.
    pub hold: Hold,
    /// Whether a real behind the VIP is healthy.
    pub healthy: bool,
    /// MACs of configured reals, and their names.
    pub reals: Arc<BTreeMap<MacAddr, String>>,
}

/// Who shall answer.
pub(super) enum Answerer {
    /// Nobody: not wanted, or no link.
    Nobody,
    /// This host's kernel does anyway; lbd may announce.
    Kernel {
        /// Whether it is wanted that lbd does.
        announce: bool,
    },
    /// lbd.
    Lbd,
}

impl Facts {
    /// The operator goes before the configuration, and the kernel before lbd.
    pub(super) fn answerer(&self) -> Answerer {
        let owned = self.ownership != Ownership::None;
        let wanted = match (self.hold, self.announce) {
            (Hold::Take, _) | (Hold::Default, Announce::Always) => true,
            (Hold::Default, Announce::WhenOwned) => owned,
            (Hold::Release, _) | (Hold::Default, Announce::Never) => false,
        };
        match self.ownership {
            _ if !self.carrier => Answerer::Nobody,
            Ownership::Kernel => Answerer::Kernel { announce: wanted },
            _ if wanted => Answerer::Lbd,
            _ => Answerer::Nobody,
        }
    }
}
