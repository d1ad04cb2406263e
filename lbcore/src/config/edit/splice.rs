//! What is put into a text and taken out of it, all at once.

use super::trivia::{is_blank, line_end, newline};
use std::ops::Range;

/// Changes of a text, by their places in it as it was.
#[derive(Default)]
pub(super) struct Splices(Vec<(Range<usize>, What)>);

enum What {
    /// Stands there instead.
    Text(String),
    /// Whole lines, put in there.
    Lines(String),
    /// Sections, put in there between blank lines.
    Sections(String),
    /// Sections, taken out with one of the blank lines around them.
    Gone,
}

impl Splices {
    pub(super) fn replace(&mut self, range: Range<usize>, text: String) {
        self.0.push((range, What::Text(text)));
    }

    pub(super) fn lines(&mut self, at: usize, lines: String) {
        self.0.push((at..at, What::Lines(lines)));
    }

    pub(super) fn sections(&mut self, at: usize, sections: String) {
        self.0.push((at..at, What::Sections(sections)));
    }

    pub(super) fn gone(&mut self, range: Range<usize>) {
        self.0.push((range, What::Gone));
    }

    /// The text with all of it.
    pub(super) fn apply(mut self, text: &str) -> String {
        let newline = newline(text);
        self.0.sort_by_key(|(range, _)| (range.start, range.end));
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        let mut gone_at_end = false;
        for (range, what) in self.0 {
            if range.start > at {
                out.push_str(&text[at..range.start]);
            }
            at = at.max(range.end);
            if !matches!(what, What::Text(_)) && !out.is_empty() && !out.ends_with('\n') {
                out.push_str(newline);
            }
            match what {
                What::Text(new) => out.push_str(&new),
                What::Lines(new) => out.push_str(&new),
                What::Sections(new) => {
                    if !ends_blank(&out) {
                        out.push_str(newline);
                    }
                    out.push_str(&new);
                    if at < text.len() && !is_blank(&text[at..line_end(text, at)]) {
                        out.push_str(newline);
                    }
                    gone_at_end = false;
                }
                What::Gone => {
                    while ends_blank(&out) && at < text.len() {
                        let end = line_end(text, at);
                        if !is_blank(&text[at..end]) {
                            break;
                        }
                        at = end;
                    }
                    gone_at_end = true;
                }
            }
        }
        out.push_str(&text[at..]);
        if gone_at_end && at == text.len() {
            out.truncate(out.trim_end().len());
            if !out.is_empty() {
                out.push_str(newline);
            }
        }
        out
    }
}

/// Whether nothing or a blank line comes before.
fn ends_blank(out: &str) -> bool {
    match out.strip_suffix('\n') {
        Some(lines) => is_blank(lines.rsplit('\n').next().unwrap_or_default()),
        None => out.is_empty(),
    }
}
