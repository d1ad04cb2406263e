//! The director: a frame comes in, a verdict comes out; a client calls, a real is named.
//!
//! In two steps, so that none of its users can lie about another: [`decide`] looks and changes
//! nothing; [`commit`] writes the decision to the flow table, the counts and the frame. Engines do
//! both; `explain`, `replay` and the simulator call the same `decide`. An engine that has several frames
//! may [`recognise`] them all before it decides about the first.

mod commit;
mod connect;
mod counters;
mod decide;
mod flood;
mod recognise;
mod verdict;

pub use commit::commit;
pub use connect::{Caller, Connect, Unconnected, closed, connect};
pub use counters::{Count, Counters, Handshakes, InterfaceTally, MAX_INTERFACES, Tally};
pub use decide::{
    Chosen, Cursors, Decision, Memory, Met, View, decide, decide_recognised, decide_subject,
};
pub use flood::Flood;
pub use recognise::{Recognised, recognise};
pub use verdict::{DropReason, Verdict};

#[cfg(test)]
mod tests;
