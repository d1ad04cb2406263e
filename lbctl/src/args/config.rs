//! `lbctl config`, `lbctl reload`

use super::ChangeArgs;
use super::value::duration;
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

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
    /// What would be different if the file ran: in words, for traffic, and line by line
    ///
    /// Changes made with --runtime are differences, too. Exit code 0 if there are none, 1 if there
    /// are some, 78 if the file is bad.
    Diff {
        /// Another file to compare what runs with; - is stdin. Without one: the file lbd runs from
        file: Option<PathBuf>,
    },
    /// Put another configuration in force and into lbd's file; flows keep their reals
    ///
    /// FILE takes the place of the main file's text. The files it includes stay as they are, and
    /// its `include` must be the same. [lbd], hash_key_file and the commands of exec checks are not
    /// changed over the control socket: write them into the file, then lbctl reload.
    Apply {
        /// The file; - is stdin
        file: PathBuf,
        /// Roll it back by itself after this long, unless `lbctl config confirm` comes first
        ///
        /// Until then nothing is written: whatever ends lbd, the one that starts next has the old
        /// configuration. Other changes are refused meanwhile.
        #[arg(long, value_name = "DURATION", value_parser = duration)]
        confirm: Option<Duration>,
        /// Put it in force even if this host listens on a VIP:port of it, or has no address but VIPs
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Keep what was applied with --confirm: it is written into the file now
    Confirm {
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Back to the configuration before; to any that is kept, by its number
    ///
    /// It gets a number of its own, and is written into the file. A second undo goes further back,
    /// not forth again: for that, name the revision. While something waits to be confirmed, undo
    /// rolls that back at once.
    Undo {
        /// The revision to go back to (see lbctl config history)
        revision: Option<u64>,
        /// Put it in force even if this host listens on a VIP:port of it, or has no address but VIPs
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// The configuration that runs, changes made with --runtime included; or an earlier one
    Show {
        /// The revision (see lbctl config history)
        revision: Option<u64>,
    },
    /// The last 20 configurations: when, who, what changed, and what became of it
    History,
}
