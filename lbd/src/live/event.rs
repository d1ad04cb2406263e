//! News for the reconciler. Every room that watches something sends here; the reconciler alone
//! turns news into the next snapshot.

pub use lbcore::health::State as HealthState;
use lbcore::id::{Epoch, RealId};
use lbcore::net::MacAddr;
pub use lbcore::vip::VipState;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::SystemTime;

/// Something the reconciler must know.
#[derive(Debug)]
pub enum Event {
    /// What the checks of one real say has changed.
    Health(HealthNews),
    /// The host's interfaces or their addresses have changed.
    Links(Arc<Vec<Link>>),
    /// How a real can be reached has changed.
    Neighbor(NeighborNews),
    /// Who answers for a VIP has changed.
    Vip(VipNews),
    /// Something of ours that another tool removed was put back: `kind` is `nft`, `rule`, `route`
    /// or `neighbor`.
    Restored {
        /// What was put back.
        kind: &'static str,
    },
}

/// The verdict of all checks of one real together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthNews {
    /// Which real.
    pub real: RealId,
    /// Whose id it was when the probe began: late news of an earlier owner is ignored.
    pub epoch: Epoch,
    /// The verdict.
    pub state: HealthState,
    /// Of a real that is down: a check's answer says so itself (http 503). Nothing failed then.
    pub declined: bool,
    /// The weight the real last gave itself, 0-256; `None`: it never did.
    pub weight: Option<u16>,
    /// Why, in words: `"connection refused"`, `"http 503"`.
    pub reason: String,
}

/// One interface of this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Kernel index; another after delete and re-create.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Its MAC (zero where it has none).
    pub mac: MacAddr,
    /// In bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Carrier present (IFF_LOWER_UP).
    pub carrier: bool,
    /// Its addresses with prefix lengths, link-local ones included.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// How one address is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborNews {
    /// A real's address (or a sorry server's).
    pub address: IpAddr,
    /// What is known.
    pub reach: Reach,
}

/// What the host says of the way to a real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On a directly connected network, and its MAC is known.
    Neighbor {
        /// Where it is reached.
        ifindex: u32,
        /// Its MAC.
        mac: MacAddr,
    },
    /// On a directly connected network, but nobody answers for it (yet).
    Unresolved {
        /// Where it should be reached.
        ifindex: u32,
        /// Nobody could be asked: the kernel's neighbour table is full.
        no_room: bool,
    },
    /// Direct routing cannot get there; the reason in words, as `status` shows it:
    /// `"10.9.0.7 is not on-link via eth0: it is behind the gateway 192.0.2.1"`.
    Unreachable(String),
}

/// Who answers for a VIP on one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VipNews {
    /// The VIP.
    pub vip: IpAddr,
    /// Interface name.
    pub interface: String,
    /// The state, as `vip list` shows it.
    pub state: VipState,
    /// A sentence for the operator where there is something to say (conflict: who, and what to do).
    pub note: Option<String>,
    /// The MAC of another machine that claims the VIP.
    pub claimed_by: Option<MacAddr>,
    /// Claims by other MACs seen so far.
    pub conflicts: u64,
    /// When it was last announced to everybody.
    pub announced: Option<SystemTime>,
}
