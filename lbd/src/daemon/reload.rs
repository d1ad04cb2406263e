//! Reads a configuration file and decides whether it may replace the one in force.

use crate::sys::peer;
use lbcore::config::{self, Config, ConfigError, Diff, HostFacts, MAX_BYTES};
use lbcore::service::Exhausted;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A good file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// What it says.
    pub config: Config,
    /// Its text, kept as the last good one once it is in force.
    pub text: String,
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

/// Reads and checks a file.
///
/// # Errors
/// It cannot be read, or has faults: all of them.
pub fn load(path: &Path) -> Result<Loaded, Refused> {
    judge(path, read(path))
}

/// As [`load`], of the file that lbd obeys: whoever can write that gives the orders, and is root or
/// lbd's own user, or of a group they chose.
///
/// # Errors
/// As [`load`]; also where somebody else owns the file, or anybody may write it.
pub fn load_orders(path: &Path) -> Result<Loaded, Refused> {
    let read = || {
        let file = open(path)?;
        if let Some(why) = distrust(&file.metadata()?, peer::own_uid()) {
            return Err(io::Error::other(why));
        }
        whole(file)
    };
    judge(path, read())
}

/// Why a file with such an owner and mode gives lbd no orders.
fn distrust(about: &Metadata, own_uid: u32) -> Option<String> {
    const OTHERS_WRITE: u32 = 0o002;
    let owner = about.uid();
    if owner != 0 && owner != own_uid {
        return Some(format!(
            "user id {owner} owns it, who is neither root nor lbd's own user and could have lbd do \
             anything; to trust what it says: chown root"
        ));
    }
    (about.is_file() && about.mode() & OTHERS_WRITE != 0).then(|| {
        "anybody may write it, and have lbd do anything; to trust what it says: chmod o-w"
            .to_owned()
    })
}

fn judge(path: &Path, bytes: io::Result<Vec<u8>>) -> Result<Loaded, Refused> {
    let name = path.display().to_string();
    let bytes = bytes.map_err(|e| Refused {
        summary: format!("{name}: {e}"),
        detail: String::new(),
        faults: Vec::new(),
        file_at_fault: true,
    })?;
    let report = config::offline_check(&name, &bytes, false);
    match report.outcome {
        Ok(checked) => Ok(Loaded {
            config: checked.config,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            warnings: checked
                .warnings
                .iter()
                .map(|w| format!("{name}:{w}"))
                .collect(),
        }),
        Err(errors) => Err(Refused {
            summary: summary(&name, &errors),
            detail: report.text,
            faults: errors.iter().map(|e| format!("{name}:{e}")).collect(),
            file_at_fault: true,
        }),
    }
}

fn summary(name: &str, errors: &[ConfigError]) -> String {
    match errors {
        [] => format!("{name} is not a good configuration"),
        [only] => format!("{name}:{only}"),
        [first, rest @ ..] => format!("{name}:{first}; and {} more", rest.len()),
    }
}

/// At most one byte more than is accepted: the check says the rest.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    whole(open(path)?)
}

fn open(path: &Path) -> io::Result<File> {
    // A pipe in its place must not hold us up.
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK).open(path)
}

fn whole(file: File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
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
        network.interfaces network.engine network.workers network.flow_entries
        network.hash_key_file network.ring_mib
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
        Refused {
            summary: format!(
                "{exhausted}; those that were removed count until their last flow has ended"
            ),
            detail: String::new(),
            faults: Vec::new(),
            file_at_fault: false,
        }
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
    Err(Refused {
        summary: "refused: it would remove all services or more than half of all reals, and \
                  nobody typed it; to do it all the same: lbctl reload --force"
            .to_owned(),
        detail: String::new(),
        faults: Vec::new(),
        file_at_fault: false,
    })
}
