//! `lbctl completion`

use crate::args::Cli;
use crate::failure::Failure;
use clap::CommandFactory;
use clap_complete::Shell;
use std::io::Write;
use std::process::ExitCode;

pub fn run(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "lbctl", &mut script);
    std::io::stdout()
        .write_all(&script)
        .map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}
