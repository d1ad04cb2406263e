//! `lbctl bundle`: what a bug report needs, in one archive, without secrets and without clients.

mod archive;
mod collect;
mod scrub;

use crate::client::Client;
use crate::failure::Failure;
use crate::files;
use archive::Archive;
use lbcore::api::{DoctorView, FlowFilter, FlowsView, Request, StatusView};
use lbcore::config;
use scrub::Scrub;
use serde::Serialize;
use std::path::{Component, Path, PathBuf};
use std::time::SystemTime;

/// Each part ends here; what is cut off is said.
const MOST_BYTES: usize = 2 << 20;

/// Programs that are asked, and the part their answer becomes. Those of this host alone first: the
/// addresses in them are its own, and no client's.
const HOST: &[(&str, &[&str])] = &[
    ("host/addresses.txt", &["ip", "-details", "address"]),
    ("host/links.txt", &["ip", "-details", "-statistics", "link"]),
    ("host/rules.txt", &["ip", "rule"]),
    ("host/rules6.txt", &["ip", "-6", "rule"]),
    ("host/routes.txt", &["ip", "route", "show", "table", "all"]),
    (
        "host/routes6.txt",
        &["ip", "-6", "route", "show", "table", "all"],
    ),
    ("host/nft-version.txt", &["nft", "--version"]),
];
const SEEN: &[(&str, &[&str])] = &[
    ("host/neighbours.txt", &["ip", "neighbour"]),
    ("host/nft.txt", &["nft", "list", "ruleset"]),
    (
        "lbd.log",
        &[
            "journalctl",
            "--unit=lbd",
            "--lines=3000",
            "--output=short-iso",
            "--no-pager",
            "--quiet",
        ],
    ),
];
const KERNEL: &[(&str, &str)] = &[
    ("host/kernel.txt", "/proc/version"),
    ("host/os.txt", "/etc/os-release"),
    ("host/limits.txt", "/proc/self/limits"),
];

/// What was made.
#[derive(Debug, Serialize)]
pub struct Bundle {
    /// Where it is.
    pub file: PathBuf,
    /// What is in it, in this order.
    pub parts: Vec<Part>,
    /// What is not in it, and why.
    pub missing: Vec<Missing>,
    /// What was taken out of the parts.
    pub redacted: Redacted,
}

/// One file of the archive.
#[derive(Debug, Serialize)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// How long it is.
    pub bytes: usize,
    /// It was longer.
    pub cut: bool,
}

/// A part that could not be had.
#[derive(Debug, Serialize)]
pub struct Missing {
    /// Which.
    pub name: String,
    /// Why.
    pub why: String,
}

/// What was taken out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Redacted {
    /// Values of the configuration that only its owner should know.
    pub secrets: usize,
    /// The file is no TOML: only its keys are in the bundle.
    pub keys_only: bool,
    /// Addresses that are neither this host's nor the configuration's, each replaced by the same
    /// word wherever it stands; 0 with `--with-clients`.
    pub addresses: usize,
    /// Clients' addresses were asked for.
    pub with_clients: bool,
}

/// What is wanted.
#[derive(Debug)]
pub struct Wanted {
    /// Where to write it; by default a new name in this directory.
    pub file: Option<PathBuf>,
    /// The configuration, where lbd does not answer.
    pub config: PathBuf,
    /// Leave clients' addresses in.
    pub with_clients: bool,
}

/// Collects everything and writes it. What cannot be had is said in the bundle, and stops nothing.
///
/// # Errors
/// The file is there already, or cannot be written.
pub async fn make(client: &Client, wanted: &Wanted, now: SystemTime) -> Result<Bundle, Failure> {
    let file = wanted.file.clone().unwrap_or_else(|| default_name(now));
    // First of all: nothing else makes sense if it cannot be written.
    let mut archive = Archive::create(&file, now)?;
    let filled = fill(client, wanted, &mut archive).await;
    match filled.and_then(|made| archive.finish().map(|()| made)) {
        Ok(mut made) => {
            made.file = file;
            Ok(made)
        }
        Err(failure) => {
            // Half a bundle helps nobody.
            let _ = std::fs::remove_file(&file);
            Err(failure)
        }
    }
}

/// `lbd-bundle-20251121T073105Z.tar.gz`
fn default_name(now: SystemTime) -> PathBuf {
    let time = humantime::format_rfc3339_seconds(now).to_string();
    PathBuf::from(format!(
        "lbd-bundle-{}.tar.gz",
        time.replace(['-', ':'], "")
    ))
}

async fn fill(client: &Client, wanted: &Wanted, archive: &mut Archive) -> Result<Bundle, Failure> {
    let mut bundle = Filling {
        archive,
        scrub: Scrub::new(wanted.with_clients),
        parts: Vec::new(),
        missing: Vec::new(),
    };
    let status: Result<StatusView, Failure> = client.ask(&Request::Status).await;
    let config = match &status {
        Ok(status) => PathBuf::from(&status.config_file),
        Err(_) => wanted.config.clone(),
    };
    if let Ok(status) = &status {
        bundle.scrub.know_all_of(status);
    }
    let metrics = bundle.config(&config)?;
    for (name, command) in HOST {
        let text = collect::program(command).await;
        if let Ok(text) = &text {
            bundle.scrub.know_addresses_in(text);
        }
        bundle.add(name, text)?;
    }
    bundle.add_json("status.json", status)?;
    let doctor: Result<DoctorView, Failure> = client.ask(&Request::Doctor { client: None }).await;
    bundle.add_json("doctor.json", doctor)?;
    let flows: Result<FlowsView, Failure> = client
        .ask(&Request::Flows {
            filter: FlowFilter::default(),
        })
        .await;
    bundle.add_json("flows.json", flows)?;
    bundle.add("events.jsonl", collect::events(client).await)?;
    let metrics = match metrics {
        Some(address) => collect::metrics(address).await,
        None => Err("the configuration does not say where, or metrics are off".to_owned()),
    };
    bundle.add("metrics.txt", metrics)?;
    for (name, command) in SEEN {
        bundle.add(name, collect::program(command).await)?;
    }
    for (name, path) in KERNEL {
        bundle.add(name, collect::file(Path::new(path)))?;
    }
    bundle.add("versions.txt", Ok(collect::versions()))?;
    bundle.end()
}

struct Filling<'a> {
    archive: &'a mut Archive,
    scrub: Scrub,
    parts: Vec<Part>,
    missing: Vec<Missing>,
}

impl Filling<'_> {
    /// The configuration as written, with the files it includes and without their secrets, which are
    /// then taken out of everything else, too. Returns where lbd says its metrics are.
    fn config(&mut self, file: &Path) -> Result<Option<std::net::SocketAddr>, Failure> {
        let main = match collect::file(file) {
            Ok(text) => text,
            Err(why) => {
                self.miss(&part_of(file, file), why);
                return Ok(None);
            }
        };
        let included = files::included(file, main.as_bytes()).unwrap_or_else(|failure| {
            self.miss("config/*", failure.to_string());
            Vec::new()
        });
        let checked = config::offline_check_all((file.into(), main.as_bytes()), &included, false);
        let config = checked.outcome.ok().map(|checked| checked.config);
        if let Some(config) = &config {
            self.scrub.know_config(config);
        }
        let included = included.iter().map(|(path, bytes)| {
            let text = String::from_utf8_lossy(bytes);
            (path.as_path(), text)
        });
        let texts: Vec<_> = std::iter::once((file, main.as_str().into()))
            .chain(included)
            .collect();
        // The secrets of all before the first part: one may stand in a comment of another file.
        let shown = texts.iter().map(|(path, text)| {
            let name = part_of(file, path);
            (name, self.scrub.config(text))
        });
        for (name, text) in shown.collect::<Vec<_>>() {
            self.add(&name, Ok(text))?;
        }
        Ok(config.and_then(|config| config.lbd.metrics))
    }

    fn add_json<T: Serialize>(
        &mut self,
        name: &str,
        view: Result<T, Failure>,
    ) -> Result<(), Failure> {
        let text = view
            .map_err(|failure| failure.to_string())
            .and_then(|view| crate::render::json::document(&view).map_err(|e| e.to_string()));
        self.add(name, text)
    }

    /// One part, scrubbed and cut where it is too long.
    fn add(&mut self, name: &str, text: Result<String, String>) -> Result<(), Failure> {
        let text = match text {
            Ok(text) => text,
            Err(why) => {
                self.miss(name, why);
                return Ok(());
            }
        };
        let mut text = self.scrub.text(&text);
        let cut = text.len() > MOST_BYTES;
        if cut {
            let end = text.floor_char_boundary(MOST_BYTES);
            text.truncate(end);
            text.push_str("\n... cut off here\n");
        }
        self.archive.add(name, &text)?;
        self.parts.push(Part {
            name: name.to_owned(),
            bytes: text.len(),
            cut,
        });
        Ok(())
    }

    fn miss(&mut self, name: &str, why: String) {
        let why = self.scrub.text(&why);
        let name = name.to_owned();
        self.missing.push(Missing { name, why });
    }

    /// The list of contents, as the last part.
    fn end(self) -> Result<Bundle, Failure> {
        let bundle = Bundle {
            file: PathBuf::new(),
            parts: self.parts,
            missing: self.missing,
            redacted: self.scrub.tally(),
        };
        let text = crate::render::json::document(&bundle).unwrap_or_default();
        self.archive.add("contents.json", &text)?;
        Ok(bundle)
    }
}

/// What a configuration file is called in the archive: by its place below the main file's directory,
/// or below the root.
fn part_of(main: &Path, file: &Path) -> String {
    let below = main.parent().and_then(|dir| file.strip_prefix(dir).ok());
    let normal = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_string_lossy().into_owned()),
        _ => None,
    };
    let names: Vec<_> = below
        .unwrap_or(file)
        .components()
        .filter_map(normal)
        .collect();
    format!("config/{}", names.join("/"))
}

#[cfg(test)]
mod tests;
