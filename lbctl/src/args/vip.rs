//! `lbctl vip`

use super::ChangeArgs;
use clap::Subcommand;
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub enum VipCommand {
    /// State, MAC and conflicts of each VIP
    List,
    /// Announce a VIP, whatever `announce` says; an address in use is not taken
    Take {
        /// Its address
        vip: IpAddr,
        #[command(flatten)]
        change: ChangeArgs,
    },
    /// Stop answering for a VIP, until it is taken again
    Release {
        /// Its address
        vip: IpAddr,
        #[command(flatten)]
        change: ChangeArgs,
    },
}
