//! `lbctl vip`

use super::ChangeArgs;
use clap::{Args, Subcommand};
use std::net::IpAddr;

#[derive(Debug, Subcommand)]
pub enum VipCommand {
    /// State, MAC, last announcement and conflicts of each VIP
    List {
        /// Only this one
        vip: Option<IpAddr>,
    },
    /// Announce a VIP, or all, whatever `announce` says; an address in use is not taken
    Take(VipArgs),
    /// Stop answering for a VIP, or all, until it is taken again
    Release(VipArgs),
    /// Answer for a VIP, or all, as `announce` says: undoes take and release
    Auto(VipArgs),
}

#[derive(Debug, Args)]
pub struct VipArgs {
    /// Its address; without one: all VIPs
    pub vip: Option<IpAddr>,
    #[command(flatten)]
    pub change: ChangeArgs,
}
