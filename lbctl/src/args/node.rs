//! `lbctl node`

use super::{ChangeArgs, WaitArgs};
use clap::Subcommand;
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Every machine by its address: what it is in each service, with its flows
    List {
        /// Only this one
        address: Option<IpAddr>,
    },
    /// No new flows in any service; those it has may end by themselves
    Drain {
        /// Its own address
        address: IpAddr,
        #[command(flatten)]
        wait: WaitArgs,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// New flows again in every service: undoes drain and disable
    Enable {
        /// Its own address
        address: IpAddr,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// No flows at all in any service: those it has are treated at once as if it had died
    Disable {
        /// Its own address
        address: IpAddr,
        #[command(flatten)]
        change: ChangeArgs,
    },
}
