//! `lbctl import`

use super::value::{given_vip, interface, mode, service_name};
use clap::{Args, Subcommand};
use lbcore::health::kubernetes::ServiceName;
use lbcore::import::kubernetes::{Selector, WantedMode};
use lbcore::net::Prefix;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub enum ImportCommand {
    /// From rules of IPVS, as this saves them: ipvsadm -S -n
    Ipvsadm(TextArgs),
    /// From keepalived.conf: virtual servers and their checks; VRRP stays keepalived's
    Keepalived(TextArgs),
    /// From haproxy.cfg: proxies in mode tcp
    Haproxy(HaproxyArgs),
    /// From what this prints: kubectl get services,nodes,endpointslices -A -o json
    Kubernetes(KubernetesArgs),
}

#[derive(Debug, Args)]
pub struct TextArgs {
    /// The file; - is stdin
    pub file: PathBuf,
    /// The interface of lbd's host where the VIPs' packets arrive; default: as the file tells, or eth0
    #[arg(long, value_name = "NAME", value_parser = interface)]
    pub interface: Option<String>,
}

#[derive(Debug, Args)]
pub struct HaproxyArgs {
    #[command(flatten)]
    pub text: TextArgs,
    /// The VIP that clients dial where the file binds every address (bind *:80); may be repeated
    #[arg(long, value_name = "ADDRESS")]
    pub vip: Vec<IpAddr>,
    /// Balancers whose PROXY headers are believed where the file has accept-proxy; may be repeated
    #[arg(long, value_name = "PREFIX")]
    pub trusted: Vec<Prefix>,
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
