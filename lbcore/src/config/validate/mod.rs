//! From the shape of a file to a configuration that can only be right; all faults at once.

mod check;
mod claims;
mod daemon;
mod http;
mod kinds;
mod kubernetes;
mod proxy;
mod real;
mod service;
mod syntax;
mod via;

use super::faults::{Fault, Faults};
use super::keys::{INCLUDED, LBD, NETWORK, SERVICE, TOP};
use super::model::{Config, Mode};
use super::raw::Section;
use super::value;
use super::{Checked, ConfigError};
use crate::id::{MAX_REALS, MAX_SERVICES};
pub(super) use check::OWNERS;
use claims::Claims;
use std::time::Duration;
use toml::de::DeTable;

/// The most that is read, all files of a configuration together: 65,536 reals of 64 bytes each, far
/// more than fits a screen.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

const HOUR: Duration = Duration::from_secs(3600);

/// Checks the text of a file that includes no other: its configuration and what may surprise in it.
///
/// # Errors
/// Every fault of the file, in file order (the first hundred, and how many more). A file with
/// one fault is refused whole.
pub fn check(text: &str) -> Result<Checked, Vec<ConfigError>> {
    check_all(&[("", text)])
}

/// Checks a whole file as its bytes.
///
/// # Errors
/// As [`check`]; also where the bytes are not UTF-8.
pub fn check_bytes(bytes: &[u8]) -> Result<Checked, Vec<ConfigError>> {
    all_text(&[bytes])?;
    check(std::str::from_utf8(bytes).unwrap_or_default())
}

/// The configuration of a file.
///
/// # Errors
/// As [`check`].
pub fn parse(toml: &str) -> Result<Config, Vec<ConfigError>> {
    check(toml).map(|checked| checked.config)
}

/// Whether these files are text.
///
/// # Errors
/// Bytes that are not UTF-8, of each file the first.
pub(in crate::config) fn all_text(files: &[&[u8]]) -> Result<(), Vec<ConfigError>> {
    // The text up to the first bad byte gives its line and column.
    let valid = |bytes: &&[u8]| {
        bytes
            .utf8_chunks()
            .next()
            .map_or(0, |chunk| chunk.valid().len())
    };
    let texts: Vec<(&str, &str)> = files
        .iter()
        .map(|bytes| {
            (
                "",
                std::str::from_utf8(&bytes[..valid(bytes)]).unwrap_or_default(),
            )
        })
        .collect();
    let faults = Faults::new(&texts);
    for (at, (bytes, (_, text))) in files.iter().zip(&texts).enumerate() {
        if text.len() < bytes.len() {
            let end = faults.base(at) + text.len();
            let fault = Fault::new("a byte that is not UTF-8").help("is it the right file?");
            faults.error(end..end, "", fault);
        }
    }
    faults.finish().map(|_| ())
}

/// Checks the files of a configuration, by name and text, the main one first.
///
/// # Errors
/// As [`check`].
pub(in crate::config) fn check_all(files: &[(&str, &str)]) -> Result<Checked, Vec<ConfigError>> {
    let faults = Faults::new(files);
    if !fit_to_read(&faults, files) {
        return refused(faults);
    }
    let documents: Vec<_> = files
        .iter()
        .map(|(_, text)| DeTable::parse_recoverable(text))
        .collect();
    let mut readable = true;
    for (at, ((_, errors), (_, text))) in documents.iter().zip(files).enumerate() {
        readable &= syntax::tell(&faults, faults.base(at), text, errors);
    }
    if !readable {
        return refused(faults);
    }
    let sections: Vec<Section<'_>> = documents
        .iter()
        .enumerate()
        .map(|(at, (document, _))| {
            let shape = if at == 0 { &TOP } else { &INCLUDED };
            Section::whole(&faults, at, document.get_ref(), shape)
        })
        .collect();
    let Some((top, included)) = sections.split_first() else {
        return refused(faults);
    };
    let config = file(top, included);
    faults.finish().map(|warnings| Checked { config, warnings })
}

/// Whether these are text files that are small enough.
fn fit_to_read(faults: &Faults<'_>, files: &[(&str, &str)]) -> bool {
    let mut fit = true;
    let mut total = 0;
    for (at, (_, text)) in files.iter().enumerate() {
        let base = faults.base(at);
        total += text.len();
        if total > MAX_BYTES {
            let message = match at {
                0 => format!("the file is too large: {} bytes", text.len()),
                _ => format!("the files up to this one are too large: {total} bytes"),
            };
            let fault = Fault::new(message).help(format!("at most {MAX_BYTES} bytes are read"));
            faults.error(base..base, "", fault);
            return false;
        }
        if let Some(nul) = text.find('\0') {
            let fault =
                Fault::new("a NUL byte: this is no text file").help("is it the right file?");
            faults.error(base + nul..base + nul + 1, "", fault);
            fit = false;
        }
    }
    fit
}

fn refused(faults: Faults<'_>) -> Result<Checked, Vec<ConfigError>> {
    Err(faults.finish().unwrap_or_else(|errors| errors))
}

fn file(top: &Section<'_>, included: &[Section<'_>]) -> Config {
    top.one_or_more("include", value::include);
    let lbd = daemon::lbd(top.table("lbd", &LBD).as_ref());
    let network_section = top.table("network", &NETWORK);
    let network = daemon::network(network_section.as_ref());
    let files = std::iter::once(top).chain(included);
    let sections: Vec<_> = files
        .flat_map(|file| file.tables("service", &SERVICE))
        .collect();
    let mut claims = Claims::default();
    let services: Vec<_> = sections
        .iter()
        .filter_map(|section| service::service(section, &mut claims))
        .collect();
    claims.settle(top.faults);
    if !lbd.allow_exec {
        claims.refuse_programs(top.faults);
    }

    match sections.first() {
        None => top.faults.warn(
            0..0,
            "",
            Fault::new("there is no [[service]]: lbd will forward nothing")
                .help("this is a good start for `lbctl service add`"),
        ),
        Some(first)
            if network.interfaces.is_empty()
                && (services.is_empty() || services.iter().any(|s| s.mode == Mode::Dr)) =>
        {
            let known = network_section.as_ref();
            // A wrong `interface` has been told already.
            if !known.is_some_and(|n| n.has("interface") || n.has("interfaces")) {
                let (span, path) = match known {
                    Some(network) => (network.span.clone(), network.path_of("interface")),
                    None => (first.span.clone(), "network.interface".to_owned()),
                };
                let fault = Fault::new("mode dr needs `interface` in [network]")
                    .help("the interface VIP traffic arrives on: interface = \"eth0\"");
                top.faults.missing(span, &path, fault);
            }
        }
        Some(_) => {}
    }
    limits(top, &sections, &services);
    Config {
        lbd,
        network,
        services,
    }
}

/// Ids are handed out from fixed, preallocated ranges.
fn limits(top: &Section<'_>, sections: &[Section<'_>], services: &[super::Service]) {
    if let Some(section) = sections.get(MAX_SERVICES) {
        let message = format!("{} services are too many", sections.len());
        let fault = Fault::new(message).help(format!("at most {MAX_SERVICES} in one lbd"));
        top.faults.error(section.span.clone(), "service", fault);
    }
    let reals =
        |service: &super::Service| service.reals.len() + usize::from(service.sorry.is_some());
    let total: usize = services.iter().map(reals).sum();
    if total > MAX_REALS {
        let span = sections.last().map_or(0..0, |section| section.span.clone());
        let fault = Fault::new(format!("{total} reals in all services are too many"))
            .help(format!("at most {MAX_REALS}, sorry servers included"));
        top.faults.error(span, "service", fault);
    }
}
