//! `lbctl`: the command line of lbd.

mod args;
mod bundle;
mod client;
mod cmd;
mod complete;
mod failure;
mod files;
mod manual;
mod offline;
mod output;
mod render;
#[cfg(feature = "top")]
mod top;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    if let Some(code) = complete::answer_shell() {
        return code;
    }
    let cli = args::Cli::parse_from(args::join_watch(std::env::args_os()));
    match cmd::run(cli) {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}
