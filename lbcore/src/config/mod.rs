//! The configuration: what the file says, checked whole, as types that can only be right.

mod model;

pub use model::*;
