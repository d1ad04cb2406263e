//! Text from elsewhere, made safe to print.

use std::borrow::Cow;

/// `text` with everything that could move a cursor, break a line or turn writing around replaced
/// by its escape (`\n`, `\u{1b}`, `\u{202e}`): names, reasons and bodies come from other people.
/// To be used once, where text leaves for a log or a terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_printable) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_printable(c) {
            safe.push(c);
        } else {
            safe.extend(c.escape_default());
        }
    }
    Cow::Owned(safe)
}

/// A JSON text with everything that could move a cursor written as `\uXXXX`, which reads back as
/// the same character. Line ends stay: inside strings JSON has none.
pub fn printable_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if c == '\n' || is_printable(c) {
            safe.push(c);
        } else {
            let mut units = [0; 2];
            for unit in c.encode_utf16(&mut units) {
                safe.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    safe
}

/// Not a control character (C0, DEL, C1), a line or paragraph separator, a mark that changes
/// writing direction (UAX #9), nor one without any width that can hide in a name.
pub fn is_printable(c: char) -> bool {
    !(c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn t60c_control_and_direction_marks_are_escaped() {
        for (text, shown) in [
            ("http 200 in 1.2 ms", "http 200 in 1.2 ms"),
            ("bücher ✓ 書", "bücher ✓ 書"),
            ("a\nb", "a\\nb"),
            ("a\r\tb\0", "a\\r\\tb\\u{0}"),
            ("\x1b[31mred", "\\u{1b}[31mred"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("user\u{202e}gpj", "user\\u{202e}gpj"),
            ("line\u{2028}two", "line\\u{2028}two"),
        ] {
            assert_eq!(printable(text), shown);
        }
    }
}
