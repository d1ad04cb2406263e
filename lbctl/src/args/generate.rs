//! `lbctl gen`

use super::value::service;
use clap::{Args, Subcommand};
use lbcore::api::ServiceRef;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum GenCommand {
    /// Print the script that sets up a Linux machine as a real server of a service, or undoes it
    ///
    /// The script can do all three whatever is chosen here: sh FILE apply, persist or undo. Again and
    /// again does no harm, and several services can share a machine. Straight to one:
    /// lbctl gen realserver --service web | ssh rs1 sudo sh
    Realserver(RealserverArgs),
}

#[derive(Debug, Args)]
pub struct RealserverArgs {
    /// Of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: ServiceRef,
    /// Read the service from this file instead of asking lbd; - is stdin
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// This lbd's own address in the real servers' network, where they answer clients through it
    /// (mode tproxy with source = "client"); once for each family
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Vec<IpAddr>,
    /// Without a word the script also sets it up for every boot (a systemd unit)
    #[arg(long, conflicts_with = "undo")]
    pub persist: bool,
    /// Without a word the script leaves the machine as it was
    #[arg(long)]
    pub undo: bool,
}
