//! Packet workers: plain threads that receive, let the director decide, and send.

mod handler;
mod pool;
mod queue_worker;
mod worker;

pub use handler::Packets;
pub use pool::{Pool, workers_for};
