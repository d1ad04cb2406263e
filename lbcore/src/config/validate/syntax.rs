//! Faults of the TOML itself, in words that help.

use super::super::faults::{Fault, Faults};
use super::super::value::quote;
use std::ops::Range;
use toml::de::Error;

/// Tells the faults of the TOML of one file, which begins at `base`. Returns whether the rest of the file was read well enough to be
/// judged: after an unclosed bracket or quote, what follows is not what its writer meant.
pub(super) fn tell(faults: &Faults<'_>, base: usize, text: &str, errors: &[Error]) -> bool {
    let place = |span: &Range<usize>| base + span.start..base + span.end;
    let mut errors: Vec<(Range<usize>, &str)> = errors
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

    // A list or table that is not closed swallows the lines below it as if they were its items.
    let swallowed = errors.iter().find_map(|(span, message)| {
        let open = SWALLOWED
            .iter()
            .find(|(start, _)| message.starts_with(start));
        open.map(|(_, fault)| (span.clone(), *fault))
    });
    let line = |span: &Range<usize>| faults.line_of_all(base + span.start);
    let swallowed_line = swallowed.as_ref().map(|(span, _)| line(span));
    let mut readable = swallowed.is_none();
    for (span, message) in &errors {
        if swallowed_line.is_some_and(|swallowed| line(span) >= swallowed) {
            break;
        }
        readable &= contained(message);
        faults.syntax(place(span), fault(message, &text[span.clone()]));
    }
    if let Some((span, closing)) = swallowed {
        let fault = Fault::new("this cannot stand inside a list or an inline table");
        faults.syntax(
            place(&span),
            fault.help(format!("is a `{closing}` missing above?")),
        );
    }
    readable
}

/// What the TOML reader says where it takes the next key or header for an item, and the bracket
/// that is missing then.
const SWALLOWED: [(&str, char); 2] = [
    ("unexpected `=` in array", ']'),
    ("missing key for inline table element", '}'),
];

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
        let word = found.to_ascii_lowercase();
        if ["true", "false"].contains(&word.as_str()) {
            return Fault::new(format!("{} is no value", quote(found)))
                .help(format!("write {word}, in small letters"));
        }
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
    if message.starts_with("invalid unquoted key") || message.starts_with("key with no value") {
        return Fault::new(message)
            .help("a line is `key = value`, a section's header `[[service]]`");
    }
    Fault::new(message)
}
