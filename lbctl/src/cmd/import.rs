//! `lbctl import`: needs no daemon. TOML on stdout; what had no equivalent, and what must hold, on
//! stderr.

use super::config::{BAD_CONFIG, read};
use crate::args::{ImportCommand, KubernetesArgs};
use crate::failure::Failure;
use crate::output;
use lbcore::config;
use lbcore::import::Imported;
use lbcore::import::kubernetes::{self, ImportError, MAX_BYTES, Options};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

pub fn run(command: ImportCommand) -> Result<ExitCode, Failure> {
    match command {
        ImportCommand::Kubernetes(args) => from_kubernetes(args),
    }
}

fn from_kubernetes(args: KubernetesArgs) -> Result<ExitCode, Failure> {
    let json = read(&args.file, MAX_BYTES)?;
    let options = Options {
        interface: args.interface,
        mode: args.mode,
        nodes: args.node_selector.unwrap_or_default(),
        services: args.services,
        vips: args.vip,
    };
    let imported = kubernetes::import(&json, &options).map_err(|source| Failure::NotImported {
        hint: match source {
            ImportError::TooMany { .. } => "choose with --services and --node-selector",
            ImportError::NoSuchService(_) => "are they all in the file? kubectl needs -A",
            _ => "make it by: kubectl get services,nodes,endpointslices -A -o json",
        },
        source,
    })?;
    print(&imported)
}

/// Prints a result, after the check that `lbctl config check` makes.
fn print(imported: &Imported) -> Result<ExitCode, Failure> {
    for finding in &imported.findings {
        output::say(&format!("{}: {}", finding.about, finding.what));
    }
    if imported.services == 0 {
        return Err(Failure::NoService);
    }
    for condition in &imported.conditions {
        output::say(&format!("must hold: {condition}"));
    }
    output::write(&imported.toml)?;
    let color = io::stderr().is_terminal() && output::colors_wanted();
    let report = config::offline_check("what was imported", imported.toml.as_bytes(), color);
    // If nobody can read it, the exit code still tells.
    let _ = io::stderr().write_all(report.text.as_bytes());
    Ok(match report.outcome {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(BAD_CONFIG),
    })
}
