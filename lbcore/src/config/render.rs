//! Findings as people read them: the line of the file, a caret, and what to do.

use super::{ConfigError, Severity};
use annotate_snippets::{AnnotationKind, Element, Level, Origin, Renderer, Snippet};

/// A longer line is named by its number only: quoting it would help nobody.
const MAX_QUOTED_LINE: usize = 2048;

/// Every finding with `file:line:column`, the line itself, a caret and the help, blank lines
/// between them. `text` is the text the findings came from; `color` adds ANSI colours.
pub fn render(file_name: &str, text: &str, errors: &[ConfigError], color: bool) -> String {
    let renderer = if color {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let mut out = String::new();
    for error in errors {
        if !out.is_empty() {
            out.push('\n');
        }
        let level = match error.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(error.message.as_str())
            .element(place(file_name, text, error));
        if let Some(help) = &error.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        out.push_str(&renderer.render(&[group]));
        out.push('\n');
    }
    out
}

/// The one line a finding stands on, so that the cost does not grow with the file.
fn place<'a>(file_name: &'a str, text: &'a str, error: &'a ConfigError) -> Element<'a> {
    let start = text.floor_char_boundary(error.span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line = text[line_start..].split('\n').next().unwrap_or_default();
    let bom = if line.starts_with('\u{feff}') {
        '\u{feff}'.len_utf8()
    } else {
        0
    };
    let (line, line_start) = (line[bom..].trim_end_matches('\r'), line_start + bom);
    // C0 controls and bidirectional marks are made visible by annotate-snippets; C1 controls, which
    // terminals obey as well, are not. The stand-in has their two bytes, so that carets stay right.
    let line = line.replace(|char| ('\u{80}'..='\u{9f}').contains(&char), "\u{bf}");
    if line.len() > MAX_QUOTED_LINE {
        return Origin::path(file_name)
            .line(error.line)
            .char_column(error.column)
            .into();
    }
    let within =
        |at: usize| line.floor_char_boundary(at.saturating_sub(line_start).min(line.len()));
    let (from, to) = (within(start), within(error.span.end));
    let mut caret = AnnotationKind::Primary.span(from..to.max(from));
    if !error.path.is_empty() {
        caret = caret.label(error.path.as_str());
    }
    Snippet::source(line)
        .line_start(error.line)
        .path(file_name)
        .annotation(caret)
        .into()
}
