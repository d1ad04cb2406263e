//! Documents for programs.

use lbcore::api::{Envelope, printable_json};
use serde::Serialize;

/// `view` with `api_version`, indented, a newline at its end. Whatever could move a cursor is
/// written as `\uXXXX`, which reads back as the same character.
///
/// # Errors
/// What serde says; it does not for our views.
pub fn document(view: &impl Serialize) -> serde_json::Result<String> {
    Ok(safe(&serde_json::to_string_pretty(&Envelope::new(view))?))
}

/// `view` with `api_version` on a line of its own.
///
/// # Errors
/// What serde says; it does not for our views.
pub fn line(view: &impl Serialize) -> serde_json::Result<String> {
    Ok(safe(&serde_json::to_string(&Envelope::new(view))?))
}

/// A JSON text with a newline at its end, and nothing in it that could move a cursor.
pub fn safe(text: &str) -> String {
    printable_json(text) + "\n"
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use lbcore::api::{RealsView, is_printable};

    #[test]
    fn t60c_json_is_safe_to_print_and_reads_back_the_same() {
        let nasty = "a\x1b[2J\u{9b}\u{202e}\n\"b\u{feff}";
        let view = RealsView {
            service: nasty.into(),
            reals: vec![],
        };
        let text = document(&view).unwrap();
        assert!(
            text.chars().all(|c| c == '\n' || is_printable(c)),
            "{text:?}"
        );
        assert!(
            text.starts_with("{\n  \"api_version\": \"v1\",\n"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<RealsView>(&text).unwrap(), view);
    }
}
