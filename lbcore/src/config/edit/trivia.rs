//! Lines, indentation and comments of a text.

use std::ops::Range;

/// Where the line of `at` begins.
pub(super) fn line_start(text: &str, at: usize) -> usize {
    text[..at].rfind('\n').map_or(0, |newline| newline + 1)
}

/// Where the line after that of `at` begins; the end of the text for the last one.
pub(super) fn line_end(text: &str, at: usize) -> usize {
    text[at..]
        .find('\n')
        .map_or(text.len(), |newline| at + newline + 1)
}

/// The white space a line begins with.
pub(super) fn indent(text: &str, at: usize) -> &str {
    let line = &text[line_start(text, at)..at];
    &line[..line.len() - line.trim_start_matches([' ', '\t']).len()]
}

/// How the text ends its lines.
pub(super) fn newline(text: &str) -> &'static str {
    match text.find('\n') {
        Some(at) if text[..at].ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

/// Whether a line (or what of it is given) is white space only.
pub(super) fn is_blank(line: &str) -> bool {
    line.trim().is_empty()
}

/// Whether a line is a comment only.
pub(super) fn is_comment(line: &str) -> bool {
    line.trim_start().starts_with('#')
}

/// The first byte at or after `at` that is neither white space nor part of a comment.
pub(super) fn skip(text: &str, mut at: usize) -> usize {
    loop {
        let rest = &text[at..];
        at += rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
        if !text[at..].starts_with('#') {
            return at;
        }
        at += text[at..].find('\n').unwrap_or(text.len() - at);
    }
}

/// Every comment of a piece of TOML that does not begin inside a string, from its `#` to the end of
/// its line.
pub(super) fn comments(toml: &str) -> Vec<Range<usize>> {
    let bytes = toml.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'#' => {
                let line = &toml[at..];
                let line = &line[..line.find('\n').unwrap_or(line.len())];
                let end = at + line.trim_end_matches('\r').len();
                found.push(at..end);
                at = end;
            }
            quote @ (b'"' | b'\'') => at = after_string(bytes, at, quote),
            _ => at += 1,
        }
    }
    found
}

/// The byte after the string that begins at `at`.
fn after_string(bytes: &[u8], at: usize, quote: u8) -> usize {
    let triple = [quote; 3];
    let multi_line = bytes[at..].starts_with(&triple);
    let mut at = at + if multi_line { 3 } else { 1 };
    while at < bytes.len() {
        if bytes[at] == b'\\' && quote == b'"' {
            at += 2;
        } else if !multi_line && bytes[at] == quote {
            return at + 1;
        } else if multi_line && bytes[at..].starts_with(&triple) {
            // Up to two quotes may stand before the closing three.
            let run = bytes[at..]
                .iter()
                .take_while(|byte| **byte == quote)
                .count();
            return at + run;
        } else {
            at += 1;
        }
    }
    bytes.len()
}
