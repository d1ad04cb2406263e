//! The command line as it is typed: noun, verb, names.

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use lbcore::api::{Prefix, RealRef, ServiceRef};
use lbcore::health::kubernetes::ServiceName;
use lbcore::import::kubernetes::{Selector, WantedMode};
use lbcore::net::Protocol;
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Look at lbd, the layer-4 load balancer, and change what it does
///
/// SERVICE is a name or VIP:PORT/PROTO; REAL is a name, an address, or ADDRESS:PORT.
///
/// Exit codes: 0 done, 1 failed, 2 usage, 3 no such service or real, 4 conflict, 5 lbd not
/// reachable, 6 not permitted, 7 timed out, 78 bad configuration.
#[derive(Debug, Parser)]
#[command(
    name = "lbctl",
    version,
    propagate_version = true,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// A table for people, a wider one with more columns, or JSON for programs
    #[arg(short, long, value_enum, default_value = "table", global = true)]
    pub output: Format,
    /// Show it again every 2s, or in the interval given (-w 500ms), until interrupted
    #[arg(
        short, long, value_name = "INTERVAL", global = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "2s",
        value_parser = interval
    )]
    pub watch: Option<Duration>,
    /// Leave out the headers of tables
    #[arg(long, global = true)]
    pub no_headers: bool,
    /// The control socket of lbd
    #[arg(
        long,
        value_name = "PATH",
        global = true,
        env = "LBCTL_SOCKET",
        default_value = "/run/lbd/lbd.sock"
    )]
    pub socket: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    // No doc comments here: with them clap spreads every --help over twice as many lines.
    Table,
    Wide,
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// All on one screen: services, reals, VIPs, and warnings with what to do about them
    Status,
    /// Look at virtual services
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look at real servers; drain, enable, disable them, change a weight
    #[command(subcommand)]
    Real(RealCommand),
    /// Who answers for the VIPs; take or release one
    #[command(subcommand)]
    Vip(VipCommand),
    /// List the flows lbd remembers now, and the connections and sessions it proxies
    Flows(FlowsArgs),
    /// What happened since lbd started: servers, services, VIPs, reloads, changes by command
    Events(EventsArgs),
    /// What lbd would do with a packet, step by step, and why; nothing is sent or changed
    Explain(ExplainArgs),
    /// Look for what is wrong with this host, the network and the reals; exit code 1 if something is
    Doctor(DoctorArgs),
    /// Read the configuration file again; returns when it is in force, or says what is wrong
    Reload(ReloadArgs),
    /// Check a configuration file
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what another tool knows as a configuration of lbd, and what had no equivalent
    #[command(subcommand)]
    Import(ImportCommand),
    /// Exit code 0 if clients are served, 1 if not; for track scripts (keepalived and the like)
    Health(HealthArgs),
    /// Print a completion script; in bash: source <(lbctl completion bash)
    Completion {
        /// For which shell
        shell: Shell,
    },
}

#[derive(Debug, Subcommand)]
pub enum ServiceCommand {
    /// All services
    List,
    /// One service with its reals
    Show {
        /// Name, or VIP:PORT/PROTO
        #[arg(value_parser = service)]
        service: ServiceRef,
    },
}

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
        /// Return when its last flow has ended (TCP: at most two minutes after its FIN)
        #[arg(long)]
        wait: bool,
        /// With --wait: give up after this long (exit code 7); the real stays draining
        #[arg(long, value_name = "DURATION", requires = "wait", value_parser = duration)]
        timeout: Option<Duration>,
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

#[derive(Clone, Copy, Debug, Args)]
pub struct ChangeArgs {
    /// Say what would change, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

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

#[derive(Debug, Args)]
pub struct FlowsArgs {
    /// Only of this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
    /// Only of this real (name, address, or ADDRESS:PORT)
    #[arg(long, value_parser = real)]
    pub real: Option<RealRef>,
    /// Only from this client, or from this network
    #[arg(long, value_name = "IP[/N]")]
    pub client: Option<Prefix>,
    /// At most this many; lbd itself stops at 10000
    #[arg(long, value_name = "N", default_value_t = 1000)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct EventsArgs {
    /// Go on with what happens from now on, until interrupted (so does -w)
    #[arg(short, long)]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// tcp or udp
    #[arg(value_parser = protocol)]
    pub protocol: Protocol,
    /// Where the packet comes from: IP:PORT or [IPv6]:PORT
    #[arg(value_name = "CLIENT:PORT")]
    pub client: SocketAddr,
    /// What it is addressed to: IP:PORT or [IPv6]:PORT
    #[arg(value_name = "VIP:PORT")]
    pub vip: SocketAddr,
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// See whether reals' answers to this client come back through this host; without it, to the
    /// client seen last
    #[arg(long, value_name = "ADDRESS")]
    pub client: Option<IpAddr>,
}

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
}

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

#[derive(Debug, Args)]
pub struct HealthArgs {
    /// Only about this service (name, or VIP:PORT/PROTO)
    #[arg(long, value_parser = service)]
    pub service: Option<ServiceRef>,
}

/// `-w 1s` is meant as `-w=1s`, while in `-w status` the watching has no interval: clap cannot
/// tell, so a duration after the flag is joined to it.
pub fn join_watch(args: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut joined: Vec<OsString> = Vec::new();
    for arg in args {
        let is_interval = arg.to_str().is_some_and(|text| interval(text).is_ok());
        match joined.last_mut() {
            Some(flag) if is_interval && (flag == "-w" || flag == "--watch") => {
                flag.push("=");
                flag.push(arg);
            }
            _ => joined.push(arg),
        }
    }
    joined
}

fn service(text: &str) -> Result<ServiceRef, String> {
    if text.is_empty() {
        Err("a service has a name".into())
    } else {
        Ok(text.into())
    }
}

fn real(text: &str) -> Result<RealRef, String> {
    if text.is_empty() {
        Err("a real has a name".into())
    } else {
        Ok(text.into())
    }
}

fn protocol(text: &str) -> Result<Protocol, String> {
    match text {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        _ => Err("lbd knows tcp and udp".into()),
    }
}

fn interface(text: &str) -> Result<String, String> {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._-@".contains(&b);
    // IFNAMSIZ, with its final zero, is 16.
    match text.bytes().all(fit) && (1..16).contains(&text.len()) {
        true => Ok(text.to_owned()),
        false => Err("no interface is called so".into()),
    }
}

fn mode(text: &str) -> Result<WantedMode, String> {
    match text {
        "dr" => Ok(WantedMode::Dr),
        "tproxy" => Ok(WantedMode::Tproxy),
        _ => Err("lbd knows dr and tproxy".into()),
    }
}

fn service_name(text: &str) -> Result<ServiceName, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(ServiceName {
            namespace: namespace.into(),
            name: name.into(),
        }),
        _ => Err("such as default/web".into()),
    }
}

fn given_vip(text: &str) -> Result<(ServiceName, IpAddr), String> {
    let wrong = || "such as default/web=192.0.2.10".to_owned();
    let (name, vip) = text.split_once('=').ok_or_else(wrong)?;
    Ok((service_name(name)?, vip.parse().map_err(|_| wrong())?))
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|e| format!("{e}; such as 30s or 5m"))
}

/// Faster would only burn CPU on both sides.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration(text)?;
    if interval < SHORTEST_INTERVAL {
        return Err("at least 100ms".into());
    }
    Ok(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        let args = line.split_whitespace().map(OsString::from);
        Cli::try_parse_from(join_watch(args))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn watch_takes_an_interval_or_none_wherever_it_stands() {
        for (line, seconds) in [
            ("lbctl status", None),
            ("lbctl status -w", Some(2.0)),
            ("lbctl -w status", Some(2.0)),
            ("lbctl -w 1s status", Some(1.0)),
            ("lbctl status --watch 500ms", Some(0.5)),
            ("lbctl status --watch=3s -o json", Some(3.0)),
        ] {
            let cli = parse(line).expect(line);
            assert_eq!(cli.global.watch.map(|w| w.as_secs_f64()), seconds, "{line}");
        }
        assert!(parse("lbctl status -w=1ms").is_err());
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "lbctl",
            "lbctl service show",
            "lbctl real set web rs1",
            "lbctl real set web rs1 --weight 257",
            "lbctl real drain web rs1 --timeout 5m",
            "lbctl flows --client 1.2.3.4/33",
            "lbctl import",
            "lbctl import kubernetes - --services web",
            "lbctl import kubernetes - --node-selector =x",
            "lbctl import kubernetes - --vip default/web",
            "lbctl import kubernetes - --interface a\"b",
            "lbctl explain icmp 1.2.3.4:1 2.3.4.5:2",
            "lbctl explain tcp 1.2.3.4 2.3.4.5:2",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
