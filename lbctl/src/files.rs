//! Configuration files of this host, each with those it includes: read and checked without lbd.

use crate::failure::Failure;
use crate::output;
use lbcore::api::printable;
use lbcore::config::{self, Config, Gather, MAX_BYTES, OfflineReport};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

/// The configuration in `file`, stdin's for `-`; `None` where it is bad, and that was said.
///
/// # Errors
/// When it, or a file it includes, cannot be read.
pub fn good(file: &Path) -> Result<Option<Config>, Failure> {
    let report = checked(file)?;
    match report.outcome {
        Ok(checked) => Ok(Some(checked.config)),
        Err(_) => {
            // If nobody can read it, the exit code still tells.
            let _ = io::stderr().write_all(report.text.as_bytes());
            Ok(None)
        }
    }
}

/// What there is to say of a file and those it includes.
///
/// # Errors
/// As [`good`].
pub fn checked(file: &Path) -> Result<OfflineReport, Failure> {
    let bytes = read(file, MAX_BYTES)?;
    let included = included(file, &bytes)?;
    let name = file.display().to_string();
    let name = printable(if name == "-" { "stdin" } else { &name });
    let color = io::stderr().is_terminal() && output::colors_wanted();
    let main = (Path::new(&*name).into(), bytes.as_slice());
    Ok(config::offline_check_all(main, &included, color))
}

/// The files that `file` with these bytes includes.
///
/// # Errors
/// As [`good`].
pub fn included(file: &Path, bytes: &[u8]) -> Result<Vec<(PathBuf, Vec<u8>)>, Failure> {
    config::gather(file, bytes, &Disk).map_err(|error| Failure::Unreadable {
        file: error.path,
        source: error.source,
    })
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
