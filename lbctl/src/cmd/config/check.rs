//! `lbctl config check`: needs no daemon.

use crate::args::{Format, Global};
use crate::failure::Failure;
use crate::output;
use lbcore::api::printable;
use lbcore::config::{self, ConfigError, Gather, MAX_BYTES};
use serde::Serialize;
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
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
    let bytes = read(file, MAX_BYTES)?;
    let name = file.display().to_string();
    let name = printable(if name == "-" { "stdin" } else { &name });
    let color = io::stderr().is_terminal() && output::colors_wanted();
    let included = config::gather(file, &bytes, &Disk).map_err(|error| Failure::Unreadable {
        file: error.path,
        source: error.source,
    })?;
    let report = config::offline_check_all(
        (Path::new(&*name).into(), bytes.as_slice()),
        &included,
        color,
    );
    let files = report.sources.files().map(|file| file.name()).collect();
    let good = report.outcome.is_ok();
    match global.output {
        Format::Json => {
            let (faults, warnings) = match report.outcome {
                Ok(checked) => (Vec::new(), checked.warnings),
                Err(faults) => (faults, Vec::new()),
            };
            let view = CheckReport {
                file: name.into(),
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

/// The files of this host.
struct Disk;

impl Gather for Disk {
    fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn bytes(&self, file: &Path, at_most: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        File::open(file)?
            .take(at_most as u64)
            .read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// The file's bytes, or stdin's for `-`: at most one more than are accepted, so that too large a
/// file is refused and not read whole.
///
/// # Errors
/// When it cannot be read.
pub fn read(file: &Path, accepted: usize) -> Result<Vec<u8>, Failure> {
    let read = || {
        let source: Box<dyn Read> = match file.as_os_str() == "-" {
            true => Box::new(io::stdin()),
            false => Box::new(File::open(file)?),
        };
        let mut bytes = Vec::new();
        source.take(accepted as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(|source| Failure::Unreadable {
        file: file.into(),
        source,
    })
}
