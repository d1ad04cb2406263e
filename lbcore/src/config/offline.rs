//! The check of a file alone, in the words both binaries print.

use super::faults::MAX_LISTED;
use super::{Checked, Config, ConfigError, check_bytes, render};

/// What `lbd --check` and `lbctl config check` say of a file.
#[derive(Clone, Debug, PartialEq)]
pub struct OfflineReport {
    /// The configuration with its warnings, or every fault.
    pub outcome: Result<Checked, Vec<ConfigError>>,
    /// The findings with the lines they stand on, and one closing line; for stderr.
    pub text: String,
}

/// Checks the bytes of a file. `file_name` is what the report calls it; `color` adds ANSI colours.
pub fn offline_check(file_name: &str, bytes: &[u8], color: bool) -> OfflineReport {
    let outcome = check_bytes(bytes);
    let findings = match &outcome {
        Ok(checked) => &checked.warnings,
        Err(errors) => errors,
    };
    // Where bytes are no UTF-8 the text is quoted up to the first bad one.
    let good = bytes.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    let mut text = render(file_name, good, findings, color);
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&match &outcome {
        Ok(checked) => format!("{file_name}: good: {}\n", size(&checked.config)),
        Err(errors) if errors.len() > MAX_LISTED => {
            format!("{file_name}: refused: more than {MAX_LISTED} faults\n")
        }
        Err(errors) => format!("{file_name}: refused: {}\n", count(errors.len(), "fault")),
    });
    OfflineReport { outcome, text }
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
