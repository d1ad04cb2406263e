//! What we remember of flows: which real each one went to, how far it is, when it was last seen.

mod entry;
mod state;
mod table;
mod timeouts;

pub use entry::{Coarse, Entry};
pub use state::{State, tcp_next};
pub use table::{
    Evicted, Eviction, FlowTable, Hit, Inserted, LayoutError, MAX_CAPACITY, OpenError, Outcome,
    Recovered, Slot,
};
pub use timeouts::Timeouts;
