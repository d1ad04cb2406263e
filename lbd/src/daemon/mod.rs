//! Start and stop order, and the single writer.

mod answers;
mod aside;
mod changes;
mod check_now;
mod config_files;
mod configure;
mod doctor;
mod explain;
mod filed;
mod flows;
mod handshakes;
mod history;
mod journal;
mod last_run;
mod log_filter;
mod maintenance;
mod notify;
mod persist;
mod plans;
mod reconciler;
mod recover;
mod reload;
mod rooms;
mod rules;
mod signals;
mod start;
mod store;
mod trace;
mod views;
mod watch_file;
mod watchdog;
mod world;

pub use aside::{check_file, cleanup, config_to_clean, examine_host};
pub use rules::print_rules;
pub use start::{StartError, run};

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
