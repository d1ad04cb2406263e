//! Who answers for a VIP on one interface: asks before taking it (RFC 5227, RFC 4862), announces
//! it, answers ARP, neighbour solicitation and echo for it, and defends it.
//!
//! Frames, facts and the time come in, frames and news go out; the socket lives in lbd.

mod words;

pub use words::{Announce, Hold, Ownership, VipState};
