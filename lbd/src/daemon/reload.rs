//! Reads a configuration's files and decides whether they may replace what is in force.

use super::config_files;
use lbcore::api::ApiError;
use lbcore::config::{self, Checked, Config, ConfigError, Diff, HostFacts, Sources};
use lbcore::service::Exhausted;
use std::path::Path;

/// A good file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Its texts.
    pub sources: Sources,
    /// What is legal in it and may still surprise.
    pub warnings: Vec<String>,
}

/// A file that changes nothing, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct Refused {
    /// One line.
    pub summary: String,
    /// Every fault with its place, as people read it; empty if the line says all.
    pub detail: String,
    /// Every fault in one line each, for logs.
    pub faults: Vec<String>,
    /// Whether the file itself is at fault, and not the moment or the host.
    pub file_at_fault: bool,
}

impl Refused {
    /// For a reason that one line says, and that is not the file's.
    pub fn because(summary: String) -> Self {
        Refused {
            summary,
            detail: String::new(),
            faults: Vec::new(),
            file_at_fault: false,
        }
    }
}

impl From<ApiError> for Refused {
    fn from(error: ApiError) -> Self {
        let hint = error.hint.map_or(String::new(), |hint| format!("; {hint}"));
        Refused::because(format!("{}{hint}", error.message))
    }
}

/// Reads and checks a file and those it includes.
///
/// # Errors
/// One cannot be read, or has faults: all of them.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    weigh(path, config_files::read(path))
}

/// As [`load`], of the files that lbd obeys: whoever can write them gives the orders, and is root or
/// lbd's own user, or of a group they chose.
///
/// # Errors
/// As [`load`]; also where somebody else owns one, or anybody may write it.
pub fn load_orders(path: &Path) -> Result<Loaded, Refused> {
    weigh(path, config_files::read_orders(path))
}

fn weigh(path: &Path, files: std::io::Result<config_files::Files>) -> Result<Loaded, Refused> {
    let files = files.map_err(|e| Refused {
        file_at_fault: true,
        ..Refused::because(e.to_string())
    })?;
    let main = (path.to_owned(), files.main.as_slice());
    let report = config::offline_check_all(main, &files.included, false);
    match report.outcome {
        Ok(checked) => Ok(Loaded::of(report.sources, checked)),
        Err(faults) => Err(Refused {
            detail: report.text,
            ..bad(&report.sources, &faults)
        }),
    }
}

/// The texts of a configuration, good or bad.
///
/// # Errors
/// One cannot be read, or is no text.
pub fn read_sources(path: &Path) -> std::io::Result<Sources> {
    let files = config_files::read(path)?;
    let main = (path.to_owned(), files.main.as_slice());
    let (sources, texts) = Sources::from_bytes(main, &files.included);
    texts.map_err(|_| std::io::ErrorKind::InvalidData)?;
    Ok(sources)
}

/// Checks texts that are there already.
///
/// # Errors
/// All their faults.
pub fn judge(sources: Sources) -> Result<Loaded, Refused> {
    match sources.check() {
        Ok(checked) => Ok(Loaded::of(sources, checked)),
        Err(faults) => Err(bad(&sources, &faults)),
    }
}

impl Loaded {
    /// Texts that were checked.
    pub fn of(sources: Sources, checked: Checked) -> Self {
        let warnings = checked.warnings.iter();
        Loaded {
            warnings: warnings.map(|w| sources.line(w)).collect(),
            config: checked.config,
            sources,
        }
    }
}

/// Texts that are no good configuration, with every fault of theirs.
pub fn bad(sources: &Sources, faults: &[ConfigError]) -> Refused {
    let lines: Vec<String> = faults.iter().map(|fault| sources.line(fault)).collect();
    Refused {
        summary: match lines.as_slice() {
            [] => format!("{} is not a good configuration", sources.main.name()),
            [only] => only.clone(),
            [first, rest @ ..] => format!("{first}; and {} more", rest.len()),
        },
        detail: sources.render(faults, false),
        faults: lines,
        file_at_fault: true,
    }
}

/// Gives `new` the running values of keys that are read at start only, and says which those are:
/// workers, tables and files stay what they are until lbd starts anew.
pub fn keep_until_restart(running: &Config, new: &mut Config) -> Vec<String> {
    let mut kept = Vec::new();
    let mut keep = |key: &str, differs: bool| {
        if differs {
            kept.push(format!(
                "{key} is read at start only: restart lbd to use the new value"
            ));
        }
    };
    macro_rules! keep {
        ($($section:ident.$key:ident)*) => {$(
            keep(
                concat!(stringify!($section), ".", stringify!($key)),
                running.$section.$key != new.$section.$key,
            );
            new.$section.$key.clone_from(&running.$section.$key);
        )*};
    }
    keep! {
        lbd.run_dir lbd.state_dir lbd.watch lbd.log lbd.log_format
        network.interfaces network.engine network.xdp_mode network.workers network.flow_entries
        network.hash_key_file network.ring_mib network.busy_poll
    }
    kept
}

/// Whether this host's own addresses and listeners stand against the configuration.
///
/// # Errors
/// Every reason, in words.
pub fn check_host(config: &Config, facts: &HostFacts, force: bool) -> Result<(), Refused> {
    let faults = config::check_host(config, facts, force);
    if faults.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    Err(Refused {
        summary: format!("this host cannot serve it: {}", lines[0]),
        detail: lines.join("\n"),
        faults: lines,
        file_at_fault: false,
    })
}

impl From<Exhausted> for Refused {
    fn from(exhausted: Exhausted) -> Self {
        Refused::because(format!(
            "{exhausted}; those that were removed count until their last flow has ended"
        ))
    }
}

/// Whether a reload that nobody typed would take too much away: an emptied file, a half-written
/// template.
///
/// # Errors
/// What would be removed, and how to do it all the same.
pub fn check_emptying(diff: &Diff) -> Result<(), Refused> {
    if !diff.is_drastic() {
        return Ok(());
    }
    Err(Refused::because(
        "refused: it would remove all services or more than half of all reals, and nobody typed \
         it; to do it all the same: lbctl reload --force"
            .to_owned(),
    ))
}
