//! Start and stop order, and the single writer.

mod answers;
mod doctor;
mod explain;
mod flows;
mod journal;
mod notify;
mod persist;
mod plans;
mod reconciler;
mod reload;
mod rules;
mod signals;
mod start;
mod views;
mod watch_file;
mod watchdog;
mod world;

pub use rules::print_rules;
pub use start::{StartError, check_file, cleanup, run};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// The configuration's file.
    pub config: std::path::PathBuf,
    /// A bad file ends lbd instead of starting the last good configuration.
    pub strict: bool,
    /// Serve VIPs on which this host itself listens, or its only address.
    pub force: bool,
}
