//! The command line of lbd.

use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// A layer-4 load balancer that never hides the client.
///
/// Runs in the foreground and logs to stderr (or to journald under systemd). SIGHUP reloads the
/// configuration. SIGTERM lets proxied connections finish (shutdown_timeout; a second one hurries
/// them) and takes everything down. SIGUSR2 stops at once and leaves guard, rules and flow table for
/// the next lbd.
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "Exit codes: 0 stopped in order, 69 something needed is missing, 71 system \
                  error, 77 missing capability, 78 bad configuration."
)]
pub struct Args {
    /// The configuration file
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/lbd/lbd.toml",
        global = true
    )]
    pub config: PathBuf,

    /// Only check the file: exit 0 if it is good, 78 if not
    #[arg(long)]
    pub check: bool,

    /// With --check: compare the file with this host's addresses and listeners, too
    #[arg(long, requires = "check")]
    pub host: bool,

    /// Only print what the file puts into nftables, and the `ip` commands for its rules and routes:
    /// a file for `nft -f -`; nothing is touched
    #[arg(long, conflicts_with = "check")]
    pub print_rules: bool,

    /// Exit with 78 if the file is bad, instead of starting with the last good configuration
    #[arg(long)]
    pub strict: bool,

    /// Start even if this host itself listens on a served VIP:port, or has no address but VIPs
    #[arg(long)]
    pub force: bool,

    /// What to do instead of running
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What lbd can do beside running.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look for what is wrong with this host, by the file alone, and print it as JSON; exit 1 if
    /// something is. People ask lbctl doctor
    Doctor,
    /// Remove what an lbd that runs no more has left: nft tables, rules and routes of the proxy,
    /// neighbour entries, files in run_dir
    Cleanup {
        /// Only say what would be removed
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the manual page lbd(8)
    #[command(hide = true)]
    Man {
        /// Date of this version, which stands at the foot of the page: YYYY-MM-DD
        #[arg(long)]
        date: String,
    },
}
