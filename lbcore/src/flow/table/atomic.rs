//! What the table's memory is made of. With the feature `interleaved` it is loom's, which tries every order
//! in which threads may come and see each other's writes (tests/interleaved.rs).

#[cfg(feature = "interleaved")]
pub use loom::sync::atomic::{AtomicU64, fence};
#[cfg(not(feature = "interleaved"))]
pub use std::sync::atomic::{AtomicU64, fence};
