//! Packet workers: plain threads that receive, let the director decide, and send.

mod handler;

pub use handler::Packets;
