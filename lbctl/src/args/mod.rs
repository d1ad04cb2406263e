//! The command line as it is typed: noun, verb, names.

mod change;
mod config;
mod generate;
mod import;
mod judge;
mod log;
mod look;
mod maintenance;
mod node;
mod real;
mod service;
mod trace;
mod typed;
mod value;
mod vip;

pub use change::{ChangeArgs, HowArgs};
pub use config::{ConfigCommand, ReloadArgs};
pub use generate::{GenCommand, RealserverArgs};
pub use import::{HaproxyArgs, ImportCommand, KubernetesArgs, TextArgs};
pub use judge::{DoctorArgs, HealthArgs};
pub use log::{CheckCommand, CheckNowArgs, KeyCommand, LogCommand};
pub use look::{BundleArgs, EventsArgs, ExplainArgs, FlowsArgs, FlowsCommand, WhichFlows};
pub use maintenance::MaintenanceCommand;
pub use node::NodeCommand;
pub use real::{RealArgs, RealCommand};
pub use service::ServiceCommand;
pub use trace::{ReplayArgs, TraceArgs};
pub use vip::{VipArgs, VipCommand};

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;
use value::{duration, interval};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// All on one screen: services, reals, VIPs, and warnings with what to do about them
    Status,
    /// Live: rates of services and reals, and keys to drain, enable, disable and weigh them
    #[cfg(feature = "top")]
    Top,
    /// Look at virtual services; add, change and remove them
    #[command(subcommand)]
    Service(ServiceCommand),
    /// Look at real servers; drain, enable and disable them; add, change and remove them
    #[command(subcommand)]
    Real(RealCommand),
    /// Look at machines by address; drain, enable, disable one in every service at once
    #[command(subcommand)]
    Node(NodeCommand),
    /// Who answers for the VIPs; take or release one
    #[command(subcommand)]
    Vip(VipCommand),
    /// List the flows lbd remembers and the connections and sessions it proxies; clear them
    Flows(FlowsArgs),
    /// What happened since lbd started: servers, services, VIPs, reloads, changes by command
    Events(EventsArgs),
    /// What lbd would do with a packet, step by step, and why; nothing is sent or changed
    Explain(ExplainArgs),
    /// What lbd does with live packets and proxied connections, a line each; it ends by itself
    Trace(TraceArgs),
    /// What lbd would do with the packets of a capture file; works without lbd
    Replay(Box<ReplayArgs>),
    /// Look for what is wrong with this host, the network and the reals; exit code 1 if something is
    Doctor(DoctorArgs),
    /// Run checks at once
    #[command(subcommand)]
    Check(CheckCommand),
    /// Whether this lbd is in maintenance: no new flows, no VIPs; begin or end it
    Maintenance {
        #[command(subcommand)]
        command: Option<MaintenanceCommand>,
    },
    /// What lbd logs now; log more or less for a while
    Log {
        #[command(subcommand)]
        command: Option<LogCommand>,
    },
    /// The hash key, which lbds that stand in for each other share
    #[command(subcommand)]
    Key(KeyCommand),
    /// Read the configuration file again; returns when it is in force, or says what is wrong
    Reload(ReloadArgs),
    /// Check, compare, apply and take back whole configurations
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Print what another tool knows as a configuration of lbd, and what had no equivalent
    #[command(subcommand)]
    Import(ImportCommand),
    /// Pack what a bug report needs into one archive, without secrets and clients' addresses
    Bundle(BundleArgs),
    /// Print a script that does what has to be done elsewhere
    #[command(subcommand)]
    Gen(GenCommand),
    /// Exit code 0 if clients are served, 1 if not; for track scripts (keepalived and the like)
    Health(HealthArgs),
    /// Print a completion script, which knows services and reals of the running lbd; in bash:
    /// source <(lbctl completion bash)
    Completion {
        /// For which shell
        shell: Shell,
    },
    /// Write the manual pages lbctl(1) and lbd.toml(5) into a directory
    #[command(hide = true)]
    Man {
        /// An existing directory
        directory: PathBuf,
        /// Date of this version, which stands at the foot of a page: YYYY-MM-DD
        #[arg(long)]
        date: String,
    },
}

#[derive(Clone, Copy, Debug, Args)]
pub struct WaitArgs {
    /// Return when the last flow has ended (TCP: at most two minutes after its FIN)
    #[arg(long)]
    pub wait: bool,
    /// With --wait: give up after this long (exit code 7); what was changed stays
    #[arg(long, value_name = "DURATION", requires = "wait", value_parser = duration)]
    pub timeout: Option<Duration>,
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
    fn every_key_of_the_configuration_has_its_flag() {
        use lbcore::config::{Typed, TypedSection};
        let command = Cli::command();
        let flags = |noun: &str, verb: &str| -> Vec<String> {
            let noun = command.find_subcommand(noun).expect("a noun");
            let verb = noun.find_subcommand(verb).expect("a verb");
            let long = |arg: &clap::Arg| arg.get_long().map(str::to_owned);
            verb.get_arguments().filter_map(long).collect()
        };
        for (section, prefix, noun) in [
            (TypedSection::Service, "", "service"),
            (TypedSection::Proxy, "proxy-", "service"),
            (TypedSection::Real, "", "real"),
        ] {
            for verb in ["add", "set"] {
                let flags = flags(noun, verb);
                for key in section
                    .keys()
                    .iter()
                    .filter(|k| k.typed() != Typed::Section)
                {
                    let flag = format!("{prefix}{}", key.name.replace('_', "-"));
                    assert!(flags.contains(&flag), "{noun} {verb} --{flag}");
                }
            }
        }
    }

    #[test]
    fn wrong_lines_are_refused() {
        for line in [
            "lbctl",
            "lbctl service show",
            "lbctl real set web",
            "lbctl real set web rs1 --wieght 2",
            "lbctl real set web rs1 --unset wieght",
            "lbctl real add web rs1",
            "lbctl service add web 192.0.2.10:80",
            "lbctl service add web 192.0.2.10:80/tcp --check type=http,pth=/",
            "lbctl service set web --unset proxy.retry",
            "lbctl service set web --now",
            "lbctl real drain web rs1 --timeout 5m",
            "lbctl flows --client 1.2.3.4/33",
            "lbctl flows --service web clear",
            "lbctl flows clear --limit 3",
            "lbctl maintenance on --timeout 5m",
            "lbctl maintenance maybe",
            "lbctl node drain rs1",
            "lbctl log set",
            "lbctl log set debug --for soon",
            "lbctl check now",
            "lbctl key",
            "lbctl import",
            "lbctl import haproxy - --vip nowhere",
            "lbctl import haproxy - --trusted 192.0.2.0/33",
            "lbctl import ipvsadm",
            "lbctl import kubernetes - --services web",
            "lbctl import kubernetes - --node-selector =x",
            "lbctl import kubernetes - --vip default/web",
            "lbctl import kubernetes - --interface a\"b",
            "lbctl gen realserver",
            "lbctl gen realserver --service web --persist --undo",
            "lbctl explain icmp 1.2.3.4:1 2.3.4.5:2",
            "lbctl explain tcp 1.2.3.4 2.3.4.5:2",
            "lbctl explain tcp 1.2.3.4:1 2.3.4.5:2 --syn --ack",
            "lbctl flows --state open",
            "lbctl trace --verdict vanish",
            "lbctl trace --sample 1/0",
            "lbctl trace --for soon",
            "lbctl replay",
            "lbctl replay a.pcap --mac 02",
            "lbctl replay a.pcap --count 3 --summary",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
