//! What the director does with packets, for people: a verdict in words, a packet as a line, which
//! lines somebody wants and how many, and a capture replayed. Nothing is decided here: `explain`,
//! `trace` and `replay` tell what [`crate::director`] said.

mod line;
mod quota;
mod replay;
mod seen;
mod supposed;
mod wanted;
mod words;

pub use line::line;
pub use quota::{Quota, Spent};
pub use replay::{Replay, Replayed};
pub use seen::Seen;
pub use supposed::{Supposed, Unsupposed, suppose};
pub use wanted::{Wanted, reals_called, service_called};
pub use words::{IN_MAINTENANCE, chooser, met, why_not};

#[cfg(test)]
mod tests;
