//! The director: frame in, verdict out.

mod verdict;

pub use verdict::DropReason;
