//! Frames: parse once, know the flow, rewrite in place. The header views come from `pnet_packet`;
//! here is what they lack.

mod addr;
mod key;
mod meta;
pub mod packet;
pub mod rewrite;

pub use addr::Addr;
pub use key::{FlowHash, FlowKey, HashKey, Protocol, ServiceKey};
pub use meta::{FrameMeta, VlanTag};
pub use pnet_base::MacAddr;
