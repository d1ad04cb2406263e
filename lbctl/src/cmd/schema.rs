//! `lbctl config schema`: needs no daemon.

use crate::failure::Failure;
use lbcore::config::reference;
use std::io::{self, Write};
use std::process::ExitCode;

pub fn run() -> Result<ExitCode, Failure> {
    // The schema itself, with nothing of ours around it: editors read it as it is.
    let text = format!("{:#}\n", reference::schema());
    let written = io::stdout().write_all(text.as_bytes());
    written.map_err(Failure::Output)?;
    Ok(ExitCode::SUCCESS)
}
