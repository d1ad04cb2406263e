//! The check of a file alone, in the words both binaries print.

use super::faults::MAX_LISTED;
use super::{Checked, Config, ConfigError, Sources};
use std::path::PathBuf;

/// What `lbd --check` and `lbctl config check` say of a file, and of those it includes.
#[derive(Clone, Debug, PartialEq)]
pub struct OfflineReport {
    /// The configuration with its warnings, or every fault.
    pub outcome: Result<Checked, Vec<ConfigError>>,
    /// The files' texts; of one that is no text its beginning.
    pub sources: Sources,
    /// The findings with the lines they stand on, and one closing line; for stderr.
    pub text: String,
}

/// Checks the bytes of a file that includes no other. `file_name` is what the report calls it;
/// `color` adds ANSI colours.
pub fn offline_check(file_name: &str, bytes: &[u8], color: bool) -> OfflineReport {
    offline_check_all((file_name.into(), bytes), &[], color)
}

/// The same of the bytes of a main file and of those it includes.
pub fn offline_check_all(
    main: (PathBuf, &[u8]),
    included: &[(PathBuf, Vec<u8>)],
    color: bool,
) -> OfflineReport {
    let (sources, outcome) = Sources::from_bytes(main, included);
    let outcome = outcome.and_then(|()| sources.check());
    let findings = match &outcome {
        Ok(checked) => &checked.warnings,
        Err(errors) => errors,
    };
    let mut text = sources.render(findings, color);
    if !text.is_empty() {
        text.push('\n');
    }
    let file_name = sources.main.name();
    text.push_str(&match &outcome {
        Ok(checked) => {
            let files = match sources.included.len() {
                0 => String::new(),
                more => format!(", {} included", count(more, "file")),
            };
            format!("{file_name}: good: {}{files}\n", size(&checked.config))
        }
        Err(errors) if errors.len() > MAX_LISTED => {
            format!("{file_name}: refused: more than {MAX_LISTED} faults\n")
        }
        Err(errors) => format!("{file_name}: refused: {}\n", count(errors.len(), "fault")),
    });
    OfflineReport {
        outcome,
        sources,
        text,
    }
}

fn size(config: &Config) -> String {
    let reals = config
        .services
        .iter()
        .map(|service| service.reals.len())
        .sum();
    format!(
        "{}, {}",
        count(config.services.len(), "service"),
        count(reals, "real")
    )
}

fn count(number: usize, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}
