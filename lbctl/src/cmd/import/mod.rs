//! `lbctl import`: needs no daemon. TOML on stdout; what had no equivalent, and what must hold, on
//! stderr.

mod names;

use super::config::BAD_CONFIG;
use crate::args::{Format, Global, HaproxyArgs, ImportCommand, KubernetesArgs, TextArgs};
use crate::failure::Failure;
use crate::files::read;
use crate::output;
use lbcore::config::{self, ConfigError};
use lbcore::import::haproxy::{self, Given};
use lbcore::import::kubernetes;
use lbcore::import::{Finding, ImportError, Imported, MAX_BYTES, Options, ipvsadm, keepalived};
use names::Local;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

pub fn run(command: ImportCommand, global: &Global) -> Result<ExitCode, Failure> {
    let imported = match command {
        ImportCommand::Ipvsadm(args) => {
            from_text(&args, "make it by: ipvsadm -S -n", ipvsadm::import)
        }
        ImportCommand::Keepalived(args) => from_text(
            &args,
            "what does keepalived say? keepalived -t -f FILE",
            keepalived::import,
        ),
        ImportCommand::Haproxy(HaproxyArgs { text, vip, trusted }) => {
            let given = Given { vips: vip, trusted };
            let import =
                |text: &[u8], options: &Options<'_>| haproxy::import(text, options, &given);
            from_text(&text, "what does HAProxy say? haproxy -c -f FILE", import)
        }
        ImportCommand::Kubernetes(args) => from_kubernetes(args),
    }?;
    print(&imported, global.output == Format::Json)
}

fn from_text(
    args: &TextArgs,
    hint: &'static str,
    import: impl Fn(&[u8], &Options<'_>) -> Result<Imported, ImportError>,
) -> Result<Imported, Failure> {
    let text = read(&args.file, MAX_BYTES)?;
    let options = Options {
        interface: args.interface.clone(),
        names: &Local::new(),
    };
    import(&text, &options).map_err(|error| Failure::NotImported {
        reason: error.to_string(),
        hint,
    })
}

fn from_kubernetes(args: KubernetesArgs) -> Result<Imported, Failure> {
    let json = read(&args.file, kubernetes::MAX_BYTES)?;
    let options = kubernetes::Options {
        interface: args.interface,
        mode: args.mode,
        nodes: args.node_selector.unwrap_or_default(),
        services: args.services,
        vips: args.vip,
    };
    kubernetes::import(&json, &options).map_err(|error| Failure::NotImported {
        hint: match error {
            kubernetes::ImportError::TooMany { .. } => "choose with --services and --node-selector",
            kubernetes::ImportError::NoSuchService(_) => {
                "are they all in the file? kubectl needs -A"
            }
            _ => "make it by: kubectl get services,nodes,endpointslices -A -o json",
        },
        reason: error.to_string(),
    })
}

/// A result for programs.
#[derive(Serialize)]
struct Report<'a> {
    /// It passes the check of `lbctl config check`.
    good: bool,
    services: usize,
    toml: &'a str,
    findings: Vec<FindingView<'a>>,
    conditions: &'a [&'static str],
    faults: Vec<ConfigError>,
    warnings: Vec<ConfigError>,
}

#[derive(Serialize)]
struct FindingView<'a> {
    line: Option<usize>,
    last_line: Option<usize>,
    about: &'a str,
    what: &'a str,
}

impl<'a> From<&'a Finding> for FindingView<'a> {
    fn from(finding: &'a Finding) -> FindingView<'a> {
        FindingView {
            line: finding.lines.map(|lines| lines.first),
            last_line: finding.lines.map(|lines| lines.last),
            about: &finding.about,
            what: &finding.what,
        }
    }
}

/// Prints a result, after the check that `lbctl config check` makes.
fn print(imported: &Imported, json: bool) -> Result<ExitCode, Failure> {
    let color = !json && io::stderr().is_terminal() && output::colors_wanted();
    let report = config::offline_check("what was imported", imported.toml.as_bytes(), color);
    let good = report.outcome.is_ok();
    let empty = imported.services == 0;
    if json {
        let (faults, warnings) = match report.outcome {
            Ok(checked) => (Vec::new(), checked.warnings),
            Err(faults) => (faults, Vec::new()),
        };
        output::write_json(&Report {
            good: good && !empty,
            services: imported.services,
            toml: &imported.toml,
            findings: imported.findings.iter().map(FindingView::from).collect(),
            conditions: &imported.conditions,
            faults,
            warnings,
        })?;
    } else {
        for Finding { lines, about, what } in &imported.findings {
            match lines {
                Some(lines) => output::say(&format!("{lines}: {about}: {what}")),
                None => output::say(&format!("{about}: {what}")),
            }
        }
    }
    if empty {
        return Err(Failure::NoService);
    }
    if !json {
        for condition in &imported.conditions {
            output::say(&format!("must hold: {condition}"));
        }
        output::write(&imported.toml)?;
        // If nobody can read it, the exit code still tells.
        let _ = io::stderr().write_all(report.text.as_bytes());
    }
    Ok(match good {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(BAD_CONFIG),
    })
}
