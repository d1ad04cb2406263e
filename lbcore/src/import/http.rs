//! What an http check of lbd can ask and expect, of what other tools ask and expect.

use super::value::Value;

/// A path lbd can ask for.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.len() <= 1024 && text.bytes().all(|b| b.is_ascii_graphic())
}

/// What can stand in the Host header.
pub(super) fn is_host_name(text: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    (1..=255).contains(&text.len()) && text.bytes().all(fit)
}

/// A method of a check.
pub(super) fn is_method(text: &str) -> bool {
    let fit = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
    fit && text != "CONNECT"
}

/// A header lbd sends as it is told; others it writes itself, or cannot.
pub(super) fn is_header(name: &str, value: &str) -> bool {
    const OURS: [&str; 5] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    (1..=63).contains(&name.len())
        && name.bytes().all(token)
        && !OURS.contains(&name.to_ascii_lowercase().as_str())
        && value.len() <= 512
        && value.bytes().all(visible)
}

/// A text to look for in an answer.
pub(super) fn is_body(text: &str) -> bool {
    (1..=1024).contains(&text.len())
}

/// A regular expression that means itself.
pub(super) fn is_plain_pattern(text: &str) -> bool {
    is_body(text) && !text.chars().any(|c| "\\^$.|?*+()[]{}".contains(c))
}

/// A status code or a range of them: `200`, `200-299`.
pub(super) fn codes(text: &str) -> Option<Value> {
    let code = |text: &str| {
        let code = text.parse::<u16>().ok();
        code.filter(|code| (100..=599).contains(code))
    };
    match text.split_once('-') {
        None => Some(Value::Number(u64::from(code(text)?))),
        Some((first, last)) => {
            let (first, last) = (code(first)?, code(last)?);
            (first <= last).then(|| Value::Text(format!("{first}-{last}")))
        }
    }
}
