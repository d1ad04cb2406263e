//! `lbctl man`: the manual pages, for packages.

use crate::args::Cli;
use crate::failure::Failure;
use crate::manual;
use clap::CommandFactory;
use std::path::Path;
use std::process::ExitCode;

pub fn run(directory: &Path, date: &str) -> Result<ExitCode, Failure> {
    let mut pages = manual::commands(Cli::command(), date).map_err(Failure::Output)?;
    pages.push(manual::file(date).map_err(Failure::Output)?);
    for page in pages {
        let file = directory.join(page.file);
        std::fs::write(&file, page.text).map_err(|source| Failure::Unwritable { file, source })?;
    }
    Ok(ExitCode::SUCCESS)
}
