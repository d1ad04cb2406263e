//! `lbctl config`, `lbctl reload`

use super::ChangeArgs;
use clap::{Args, Subcommand};
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct ReloadArgs {
    /// Put it in force even if this host listens on a VIP:port of it, or has no address but VIPs
    #[arg(long)]
    pub force: bool,
    #[command(flatten)]
    pub change: ChangeArgs,
}

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show every mistake of a file at once; works without lbd (exit code 78 if it is bad)
    Check {
        /// The file; - is stdin
        #[arg(default_value = "/etc/lbd/lbd.toml")]
        file: PathBuf,
    },
    /// Print the JSON schema of the file, for editors; works without lbd
    Schema,
}
