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
use super::keys::{LBD, NETWORK, SERVICE, TOP};
use super::model::{Config, Mode};
use super::raw::Section;
use super::{Checked, ConfigError};
use crate::id::{MAX_REALS, MAX_SERVICES};
pub(super) use check::OWNERS;
use claims::Claims;
use std::time::Duration;
use toml::de::DeTable;

/// The largest file that is read: 65,536 reals of 64 bytes each, far more than fits a screen.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

const HOUR: Duration = Duration::from_secs(3600);

/// Checks a whole file: its configuration and what may surprise in it.
///
/// # Errors
/// Every fault of the file, in file order (the first hundred, and how many more). A file with
/// one fault is refused whole.
pub fn check(text: &str) -> Result<Checked, Vec<ConfigError>> {
    let faults = Faults::new(text);
    if text.len() > MAX_BYTES {
        let message = format!("the file is too large: {} bytes", text.len());
        let fault = Fault::new(message).help(format!("at most {MAX_BYTES} bytes are read"));
        faults.error(0..0, "", fault);
        return refused(faults);
    }
    if let Some(at) = text.find('\0') {
        let fault = Fault::new("a NUL byte: this is no text file").help("is it the right file?");
        faults.error(at..at + 1, "", fault);
        return refused(faults);
    }
    let (document, errors) = DeTable::parse_recoverable(text);
    if !syntax::tell(&faults, text, &errors) {
        return refused(faults);
    }
    let top = Section::new(&faults, document.get_ref(), 0..0, String::new(), &TOP);
    let config = file(&top);
    faults.finish().map(|warnings| Checked { config, warnings })
}

/// Checks a whole file as its bytes.
///
/// # Errors
/// As [`check`]; also where the bytes are not UTF-8.
pub fn check_bytes(bytes: &[u8]) -> Result<Checked, Vec<ConfigError>> {
    match std::str::from_utf8(bytes) {
        Ok(text) => check(text),
        Err(error) => {
            // The text up to the first bad byte gives its line and column.
            let good = std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default();
            let faults = Faults::new(good);
            let fault = Fault::new("a byte that is not UTF-8").help("is it the right file?");
            faults.error(good.len()..good.len(), "", fault);
            refused(faults)
        }
    }
}

/// The configuration of a file.
///
/// # Errors
/// As [`check`].
pub fn parse(toml: &str) -> Result<Config, Vec<ConfigError>> {
    check(toml).map(|checked| checked.config)
}

fn refused(faults: Faults<'_>) -> Result<Checked, Vec<ConfigError>> {
    Err(faults.finish().unwrap_or_else(|errors| errors))
}

fn file(top: &Section<'_>) -> Config {
    let lbd = daemon::lbd(top.table("lbd", &LBD).as_ref());
    let network_section = top.table("network", &NETWORK);
    let network = daemon::network(network_section.as_ref());
    let sections = top.tables("service", &SERVICE);
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
