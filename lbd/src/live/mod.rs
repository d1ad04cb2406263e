//! What tasks and packet workers share.

pub mod event;

pub use event::Event;
