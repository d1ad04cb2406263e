//! What `lbctl bundle` has made.

use super::human;
use super::page::{Page, Tone, numbers, words};
use crate::bundle::Bundle;

/// The list of contents, what is missing, what was taken out.
pub fn made(bundle: &Bundle, page: &mut Page) {
    let columns = [words("PART"), numbers("SIZE"), words("")];
    let rows = bundle.parts.iter().map(|part| {
        let cut = if part.cut { "cut off" } else { "" };
        vec![
            part.name.as_str().into(),
            human::bytes(part.bytes as u64).into(),
            cut.into(),
        ]
    });
    page.table(&columns, rows);
    if !bundle.missing.is_empty() {
        page.gap();
        for missing in &bundle.missing {
            page.toned_line(
                Tone::Uneasy,
                &format!("missing: {}: {}", missing.name, missing.why),
            );
        }
    }
    page.gap();
    let taken = &bundle.redacted;
    page.line(&match taken.keys_only {
        true => "redacted: the configuration is no TOML, so only its keys are in".to_owned(),
        false => format!("redacted: {} values of the configuration", taken.secrets),
    });
    page.line(&match taken.with_clients {
        true => "clients' addresses ARE IN IT (--with-clients)".to_owned(),
        false => format!(
            "redacted: {} addresses that are neither this host's nor in the configuration",
            taken.addresses
        ),
    });
    page.line(&format!("written: {}", bundle.file.display()));
}
