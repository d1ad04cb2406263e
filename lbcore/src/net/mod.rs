//! Frames: parse once, know the flow, rewrite in place. The header views come from `pnet_packet`;
//! here is what they lack.

mod addr;
mod icmp;
mod ip;
mod ipv4;
mod ipv6;
mod key;
mod meta;
pub mod packet;
mod prefix;
pub mod rewrite;
mod transport;
pub mod unreachable;

pub use addr::Addr;
pub use key::{FlowHash, FlowKey, HashKey, Protocol, ServiceKey};
pub use meta::{FrameMeta, VlanTag};
pub use pnet_base::MacAddr;
pub use prefix::Prefix;
