//! Faults of the TOML itself, in words that help.

use super::super::faults::{Fault, Faults};
use super::super::value::quote;
use toml::de::Error;

/// Tells the faults of the TOML. Returns whether the rest of the file was read well enough to be
/// judged: after an unclosed bracket or quote, what follows is not what its writer meant.
pub(super) fn tell(faults: &Faults<'_>, text: &str, errors: &[Error]) -> bool {
    let mut errors: Vec<(std::ops::Range<usize>, &str)> = errors
        .iter()
        .map(|error| {
            let span = error.span().unwrap_or(text.len()..text.len());
            (
                span.start.min(text.len())..span.end.min(text.len()),
                error.message(),
            )
        })
        .collect();
    errors.sort_by_key(|(span, _)| span.start);

    // An array that is not closed swallows the lines below it as if they were its items.
    let swallowed = errors
        .iter()
        .find(|(_, message)| message.starts_with("unexpected `=` in array"));
    let swallowed_line = swallowed.map(|(span, _)| faults.line(span.start));
    let mut readable = true;
    for (span, message) in &errors {
        if swallowed_line.is_some_and(|line| faults.line(span.start) >= line) {
            break;
        }
        readable &= contained(message);
        faults.syntax(span.clone(), fault(message, &text[span.clone()]));
    }
    if let Some((span, _)) = swallowed {
        let fault = Fault::new("a key in the middle of a list")
            .help("is the `]` of the list above missing?");
        faults.syntax(span.clone(), fault);
        readable = false;
    }
    readable
}

/// Whether a fault harms its own line only.
fn contained(message: &str) -> bool {
    let own_line = [
        "duplicate key",
        "string values must be quoted",
        "key with no value",
        "invalid basic string",
        "invalid literal string",
        "invalid boolean",
        "invalid float",
        "invalid integer",
        "invalid datetime",
    ];
    own_line.iter().any(|start| message.starts_with(start))
}

fn fault(message: &str, found: &str) -> Fault {
    let bare = found.starts_with(|c: char| c.is_ascii_alphabetic());
    if message.starts_with("string values must be quoted") && found.is_empty() {
        return Fault::new("the value is missing");
    }
    if bare
        && ["string values", "invalid boolean", "invalid float"]
            .iter()
            .any(|s| message.starts_with(s))
    {
        let fault = Fault::new(format!("{} is text without quotes", quote(found)));
        return fault.help(format!("write \"{}\"", quote(found).trim_matches('`')));
    }
    if message.starts_with("duplicate key") {
        return Fault::new(format!("{} stands twice", quote(found)))
            .help("each key stands once in its section; several services or reals have two brackets: [[service]]");
    }
    if message.starts_with("invalid basic string") && found.is_empty() {
        return Fault::new("the closing quote is missing");
    }
    Fault::new(message)
}
