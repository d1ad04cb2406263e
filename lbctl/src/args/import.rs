//! `lbctl import`

use super::value::{given_vip, interface, mode, service_name};
use clap::{Args, Subcommand};
use lbcore::health::kubernetes::ServiceName;
use lbcore::import::kubernetes::{Selector, WantedMode};
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From what this prints: kubectl get services,nodes,endpointslices -A -o json
    Kubernetes(KubernetesArgs),
}

#[derive(Debug, Args)]
pub struct KubernetesArgs {
    /// The file; - is stdin
    pub file: PathBuf,
    /// The interface of lbd's host where the VIPs' packets arrive
    #[arg(long, value_name = "NAME", default_value = "eth0", value_parser = interface)]
    pub interface: String,
    /// dr = to VIP:port, by direct routing; tproxy = to the nodePorts, by the transparent proxy
    #[arg(long, value_parser = mode, default_value = "dr")]
    pub mode: WantedMode,
    /// Only nodes with such labels: key=value, key!=value, key, !key, joined by commas
    #[arg(long, value_name = "SELECTOR")]
    pub node_selector: Option<Selector>,
    /// Only these Services: namespace/name, joined by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = service_name)]
    pub services: Vec<ServiceName>,
    /// A VIP for a Service the cluster gives none: namespace/name=ADDRESS; may be repeated
    #[arg(long, value_name = "NAME=ADDRESS", value_parser = given_vip)]
    pub vip: Vec<(ServiceName, IpAddr)>,
}
