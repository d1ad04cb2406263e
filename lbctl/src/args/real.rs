//! `lbctl real`

use super::value::{real, service};
use super::{ChangeArgs, WaitArgs};
use clap::{Args, Subcommand};
use lbcore::api::{RealRef, ServiceRef};

#[derive(Debug, Subcommand)]
pub enum RealCommand {
    /// The reals of one service, or of all
    List {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: Option<ServiceRef>,
    },
    /// One real: state, checks, MAC, counters, its last ten transitions
    Show(RealArgs),
    /// No new flows; those it has may end by themselves
    Drain {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// New flows again: undoes drain and disable
    Enable {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// No flows at all: those it has are treated at once as if it had died (see on_dead)
    Disable {
        #[command(flatten)]
        real: RealArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Change its weight
    Set {
        #[command(flatten)]
        real: RealArgs,
        /// From 0 to 256; 0 = no new flows
        #[arg(long, value_parser = clap::value_parser!(u16).range(0..=256))]
        weight: u16,
        #[command(flatten)]
        change: ChangeArgs,
    },
}

#[derive(Debug, Args)]
pub struct RealArgs {
    /// Name, or VIP:PORT/PROTO
    #[arg(value_parser = service)]
    pub service: ServiceRef,
    /// Name, address, or ADDRESS:PORT
    #[arg(value_parser = real)]
    pub real: RealRef,
}
