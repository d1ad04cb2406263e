//! What judges this host and whether it serves: `lbctl doctor`, `lbctl health`

use super::value::service;
use clap::Args;
use lbcore::api::ServiceRef;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// See whether reals' answers to this client come back through this host; without it, to the
    /// client seen last
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
    /// Do not ask lbd: look at this host by the file alone, as when lbd does not answer
    #[arg(long, conflicts_with = "client")]
    pub offline: bool,
    /// The configuration file, where lbd does not answer or is not asked
    #[arg(long, value_name = "FILE", default_value = "/etc/lbd/lbd.toml")]
    pub config: PathBuf,
}

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Only about this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
}
