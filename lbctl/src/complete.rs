//! Completion: the shell asks lbctl itself what may come next, and lbctl asks lbd for names.
//!
//! A shell in which nothing happens for a while, or that is written over by an error, is worse than
//! one that offers nothing: lbd gets one second, and every trouble means no names.

use crate::args::Cli;
use crate::client::Client;
use clap::{Arg, Command, CommandFactory};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::CompleteEnv;
use lbcore::api::{Request, ServiceView, StatusView, printable};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// The variable by which a shell says that it asks, and which shell it is.
pub const VARIABLE: &str = "LBCTL_COMPLETE";

/// Longer than a healthy lbd takes, short enough for fingers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers a shell that asks what may come next; `None` when none does.
pub fn answer_shell() -> Option<ExitCode> {
    let words: Vec<String> = std::env::args_os()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let asked = CompleteEnv::with_factory(|| with_names(Cli::command(), "", &words))
        .var(VARIABLE)
        .completer("lbctl")
        .try_complete(std::env::args_os(), std::env::current_dir().ok().as_deref());
    match asked {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(_) => Some(ExitCode::FAILURE),
    }
}

/// What names an argument takes.
#[derive(Clone, Copy)]
enum Names {
    Services,
    Reals,
    Nodes,
    Vips,
    Endpoints,
}

/// By the noun of a command and the name of its argument.
fn names_of(noun: &str, arg: &Arg) -> Option<Names> {
    match (noun, arg.get_id().as_str()) {
        // Names of another system.
        ("import", _) => None,
        ("explain", "vip") => Some(Names::Endpoints),
        ("node", "address") => Some(Names::Nodes),
        (_, "service") => Some(Names::Services),
        (_, "real") => Some(Names::Reals),
        ("vip", "vip") => Some(Names::Vips),
        _ => None,
    }
}

/// The command with completers at all its arguments that are names.
fn with_names(command: Command, noun: &str, words: &[String]) -> Command {
    let command = command.mut_args(|arg| {
        let Some(names) = names_of(noun, &arg) else {
            return arg;
        };
        let words = words.to_vec();
        arg.add(ArgValueCompleter::new(move |typed: &OsStr| {
            candidates(names, &words, &typed.to_string_lossy())
        }))
    });
    command.mut_subcommands(|below| {
        let noun = match noun {
            "" => below.get_name().to_owned(),
            noun => noun.to_owned(),
        };
        with_names(below, &noun, words)
    })
}

fn candidates(names: Names, words: &[String], typed: &str) -> Vec<CompletionCandidate> {
    let Some(status) = ask(socket(words)) else {
        return Vec::new();
    };
    named(names, &status, words)
        .into_iter()
        .filter(|(name, _)| name.starts_with(typed))
        .map(|(name, help)| {
            let help = printable(&help).into_owned();
            CompletionCandidate::new(printable(&name).into_owned()).help(Some(help.into()))
        })
        .collect()
}

/// Names of the running lbd, each with what it is.
fn named(names: Names, status: &StatusView, words: &[String]) -> BTreeMap<String, String> {
    let services = || status.services.iter();
    match names {
        Names::Services => services()
            .map(|service| (service.name.clone(), of_service(service)))
            .collect(),
        Names::Reals => {
            // Those of the service that is on the line already, if one is.
            let on_line = |service: &&ServiceView| words.contains(&service.name);
            let any = services().any(|service| on_line(&service));
            services()
                .filter(|service| !any || on_line(service))
                .flat_map(|service| &service.reals)
                .map(|real| {
                    (
                        real.name.clone(),
                        format!("{}, {}", real.address, real.state),
                    )
                })
                .collect()
        }
        Names::Nodes => services()
            .flat_map(|service| &service.reals)
            .map(|real| (real.address.to_string(), real.name.clone()))
            .collect(),
        Names::Vips => {
            let vips = status.vips.iter();
            vips.map(|vip| (vip.vip.to_string(), vip.services.join(", ")))
                .collect()
        }
        Names::Endpoints => services()
            .filter(|service| words.contains(&service.protocol.to_string()))
            .flat_map(|service| {
                let of = move |at: &std::net::SocketAddr| (at.to_string(), service.name.clone());
                service.endpoints.iter().map(of)
            })
            .collect(),
    }
}

fn of_service(service: &ServiceView) -> String {
    let at = service
        .endpoints
        .first()
        .map(ToString::to_string)
        .unwrap_or_default();
    format!("{at}/{}, {}", service.protocol, service.state)
}

/// The socket this command line means.
fn socket(words: &[String]) -> PathBuf {
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if let Some(path) = word.strip_prefix("--socket=") {
            return path.into();
        }
        if word == "--socket"
            && let Some(path) = words.next()
        {
            return path.into();
        }
    }
    let given = std::env::var_os("LBCTL_SOCKET").map(PathBuf::from);
    given.unwrap_or_else(|| "/run/lbd/lbd.sock".into())
}

fn ask(socket: PathBuf) -> Option<StatusView> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    let client = Client::new(socket);
    let asked = async { tokio::time::timeout(PATIENCE, client.ask(&Request::Status)).await };
    runtime.block_on(asked).ok()?.ok()
}
