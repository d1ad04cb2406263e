//! Who answers for a VIP on one interface: asks before taking it (RFC 5227, RFC 4862), announces
//! it, answers ARP, neighbour solicitation and echo for it, and defends it.
//!
//! Frames, facts and the time come in, frames and news go out; the socket lives in lbd.

mod announcer;
mod bucket;
mod claims;
mod compose;
mod facts;
mod news;
mod parse;
mod timetable;
mod words;

#[cfg(test)]
mod tests;

pub use announcer::{
    ANSWERS_PER_SECOND, Announcer, CONFLICT_RETRY, DEFENCE_INTERVAL, ECHOES_PER_SECOND,
    NEWS_INTERVAL, PROBE_INTERVAL, PROBE_WAIT, PROBES,
};
pub use claims::{MEMORY as CLAIM_MEMORY, STEADY as STEADY_CLAIM};
pub use compose::{multicast_mac, question, solicited_node};
pub use facts::Facts;
pub use news::News;
pub use parse::{EchoRequest, Heard, parse};
pub use timetable::{QUESTION, REFRESH};
pub use words::{Announce, Hold, Ownership, VipState};
