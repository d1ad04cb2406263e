//! The configuration: what the file says, checked whole, as types that can only be right.
//!
//! [`parse`] takes text and gives a [`Config`], or every fault of the text at once; [`render`]
//! shows the faults with the lines they stand on. [`check_host`] adds what one host says, and
//! [`diff`] puts into words what a reload changes.

mod diff;
mod edit;
mod error;
mod faults;
mod guarded;
mod host;
mod include;
mod keys;
mod kind;
mod model;
mod offline;
mod overlay;
mod raw;
pub mod reference;
mod render;
mod salvage;
mod secrets;
mod sources;
mod supersede;
mod validate;
mod value;
mod words;
mod written;

#[cfg(test)]
mod tests;

pub use diff::{Change, Diff, diff};
pub use edit::{Edit, EditError, Edited, Keys, edit};
pub use error::{ConfigError, Severity};
pub use guarded::guarded;
pub use host::{HostFacts, HostFault, HostInterface, HostReason, Listener, check_host};
pub use include::{Gather, GatherError, MAX_INCLUDED, Pattern, gather, patterns};
pub use keys::{Key, Typed, TypedSection};
pub use model::*;
pub use offline::{OfflineReport, offline_check, offline_check_all};
pub use overlay::{Composed, Overlay, RuntimeChange, compose, drift};
pub use render::render;
pub use salvage::lbd_path_of_bad;
pub use secrets::{Shown, TAKEN_OUT, without_secrets};
pub use sources::{SourceFile, Sources};
pub use validate::{MAX_BYTES, check, check_bytes, parse};
pub use value::check_log_filter;

/// A good file.
#[derive(Clone, Debug, PartialEq)]
pub struct Checked {
    /// What it says.
    pub config: Config,
    /// What is legal in it and may still surprise, in file order.
    pub warnings: Vec<ConfigError>,
}
