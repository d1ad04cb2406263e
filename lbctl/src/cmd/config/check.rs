//! `lbctl config check`: needs no daemon.

use crate::args::{Format, Global};
use crate::failure::Failure;
use crate::{files, output};
use lbcore::config::ConfigError;
use serde::Serialize;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// What `lbctl` exits with when a configuration is bad.
pub const BAD_CONFIG: u8 = 78;

/// What the check found, for programs.
#[derive(Serialize)]
struct CheckReport {
    file: String,
    /// The main file and those it includes: what `file` of a fault counts.
    files: Vec<String>,
    good: bool,
    faults: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

pub fn run(file: &Path, global: &Global) -> Result<ExitCode, Failure> {
    let report = files::checked(file)?;
    let files = report.sources.files().map(|file| file.name()).collect();
    let good = report.outcome.is_ok();
    match global.output {
        Format::Json => {
            let (faults, warnings) = match report.outcome {
                Ok(checked) => (Vec::new(), checked.warnings),
                Err(faults) => (faults, Vec::new()),
            };
            let view = CheckReport {
                file: report.sources.main.name(),
                files,
                good,
                faults,
                warnings,
            };
            output::write_json(&view)?;
        }
        Format::Table | Format::Wide => {
            // If nobody can read it, the exit code still tells.
            let _ = io::stderr().write_all(report.text.as_bytes());
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(BAD_CONFIG)
    })
}
