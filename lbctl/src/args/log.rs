//! `lbctl log`, `lbctl key`, `lbctl check`: of lbd itself, and what it asks.

use super::ChangeArgs;
use super::value::{duration, real, service};
use clap::{Args, Subcommand};
use lbcore::api::{RealRef, ServiceRef};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Log more or less, until lbd restarts, or for a while
    Set {
        /// off, error, warn, info, debug or trace; or a list such as info,lbd::probe=debug
        level: String,
        /// Go back to what the configuration says after this long
        #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
        length: Option<Duration>,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Log as the configuration says
    Reset {
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Sixteen digits that are equal where two lbds share a key, and tell nothing else about it
    Fingerprint {
        /// Of the key in this file, not of the running lbd's; needs no lbd
        #[arg(long, value_name = "PATH")]
        file: Option<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Run the checks of a service's reals at once, and print each result as it comes
    ///
    /// Rise and fall count as always. Exit code 0 if all pass, 1 if one does not, 7 if one had no
    /// turn in time.
    Now(CheckNowArgs),
}

#[derive(Debug, Args)]
pub struct CheckNowArgs {
    /// Name, or VIP:PORT/PROTO
    #[arg(value_parser = service)]
    pub service: ServiceRef,
    /// Only this real: name, address, or ADDRESS:PORT
    #[arg(value_parser = real)]
    pub real: Option<RealRef>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
