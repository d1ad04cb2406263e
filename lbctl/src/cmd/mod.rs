//! One file for each noun: what is asked of lbd, and which screen shows the answer.

mod bundle;
mod change;
mod check;
mod completion;
mod config;
mod doctor;
mod events;
mod explain;
mod flows;
mod generate;
mod health;
mod import;
mod key;
mod log;
mod maintenance;
mod man;
mod node;
mod real;
mod reload;
mod replay;
mod schema;
mod service;
mod status;
#[cfg(feature = "top")]
mod top;
mod trace;
mod vip;
mod wait;

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::output::Context;
use std::process::ExitCode;

/// Runs one command line.
///
/// # Errors
/// Whatever the command fails with.
pub fn run(cli: Cli) -> Result<ExitCode, Failure> {
    let Cli { global, command } = cli;
    match command {
        Command::Completion { shell } => completion::run(shell),
        Command::Man { directory, date } => man::run(&directory, &date),
        Command::Config(command) => config::run(command, global),
        Command::Import(command) => import::run(command, &global),
        Command::Gen(command) => block_on(generate::run(command, &global)),
        Command::Status => block_on(status::run(&Context::new(global))),
        #[cfg(feature = "top")]
        Command::Top => block_on(top::run(&Context::new(global))),
        Command::Service(command) => block_on(service::run(command, &Context::new(global))),
        Command::Real(command) => block_on(real::run(command, &Context::new(global))),
        Command::Vip(command) => block_on(vip::run(command, &Context::new(global))),
        Command::Node(command) => block_on(node::run(command, &Context::new(global))),
        Command::Check(command) => block_on(check::run(command, &Context::new(global))),
        Command::Maintenance { command } => {
            block_on(maintenance::run(command, &Context::new(global)))
        }
        Command::Log { command } => block_on(log::run(command, &Context::new(global))),
        Command::Key(command) => block_on(key::run(command, &Context::new(global))),
        Command::Flows(args) => block_on(flows::run(args, &Context::new(global))),
        Command::Events(args) => block_on(events::run(args, &Context::new(global))),
        Command::Explain(args) => block_on(explain::run(args, &Context::new(global))),
        Command::Bundle(args) => block_on(bundle::run(args, &Context::new(global))),
        Command::Trace(args) => block_on(trace::run(args, &Context::new(global))),
        Command::Replay(args) => replay::run(*args, global),
        Command::Doctor(args) => block_on(doctor::run(args, global)),
        Command::Reload(args) => block_on(reload::run(args, &Context::new(global))),
        Command::Health(args) => block_on(health::run(args, &Context::new(global))),
    }
}

/// One thread is enough to ask one question.
fn block_on(command: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.map_err(Failure::Start)?.block_on(command)
}
