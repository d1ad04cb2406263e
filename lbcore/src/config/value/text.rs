//! Names, paths and free text.

use super::super::faults::Fault;
use super::{quote, string, wrong_type};
use std::collections::BTreeMap;
use std::path::PathBuf;
use toml::de::DeValue;

/// A Unix socket's address holds 108 bytes with its final NUL (unix(7)); `/lbd.sock` is part of it.
const MAX_RUN_DIR: usize = 107 - "/lbd.sock".len();

/// Free text goes into every status answer.
const MAX_TEXT: usize = 256;

/// Labels likewise.
const MAX_LABELS: usize = 32;

/// Why `text` cannot be a word of 1 to `max` characters that all pass `allowed`.
fn word(text: &str, max: usize, allowed: &str, passes: fn(u8) -> bool) -> Result<(), Fault> {
    if (1..=max).contains(&text.len()) && text.bytes().all(passes) {
        return Ok(());
    }
    let message = match text.bytes().all(passes) {
        true if text.is_empty() => "this is empty".to_owned(),
        true => format!("{} is too long, {} characters", quote(text), text.len()),
        false => format!("{} has characters it may not have", quote(text)),
    };
    Err(Fault::new(message).help(format!("1 to {max} characters of {allowed}")))
}

/// The name of a service.
pub(in super::super) fn service_name(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 63, "a-z 0-9 . _ -", |b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)
    })?;
    not_a_dot(text)
}

/// The name of a real; its address is one too.
pub(in super::super) fn real_name(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 63, "A-Z a-z 0-9 . _ : -", |b| {
        b.is_ascii_alphanumeric() || b"._:-".contains(&b)
    })?;
    not_a_dot(text)
}

/// Names are parts of paths in the control API.
fn not_a_dot(text: String) -> Result<String, Fault> {
    match text.as_str() {
        "." | ".." => Err(Fault::new(format!("`{text}` cannot be a name"))),
        _ => Ok(text),
    }
}

/// The name of a network interface, by the kernel's rule (`dev_valid_name`).
pub(in super::super) fn interface(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 15, "anything visible but / and :", |b| {
        b.is_ascii_graphic() && b != b'/' && b != b':'
    })?;
    not_a_dot(text)
}

/// The name of a Unix group.
pub(in super::super) fn group(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 32, "A-Z a-z 0-9 . _ -", |b| {
        b.is_ascii_alphanumeric() || b"._-".contains(&b)
    })?;
    Ok(text)
}

/// An absolute path that stays where it says.
pub(in super::super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Fault> {
    let text = string(value)?;
    if !text.starts_with('/') {
        let fault = Fault::new(format!("{} is not an absolute path", quote(&text)));
        return Err(fault.help("it starts with `/`"));
    }
    if text.split('/').any(|part| part == "..") || text.chars().any(char::is_control) {
        let fault = Fault::new(format!("{} is not a plain path", quote(&text)));
        return Err(fault.help("without `..` and control characters"));
    }
    Ok(PathBuf::from(text))
}

/// A directory short enough for a socket in it.
pub(in super::super) fn run_dir(value: &DeValue<'_>) -> Result<PathBuf, Fault> {
    let path = path(value)?;
    if path.as_os_str().len() > MAX_RUN_DIR {
        let fault = Fault::new("this path is too long for a Unix socket in it");
        return Err(fault.help(format!("at most {MAX_RUN_DIR} bytes")));
    }
    Ok(path)
}

/// Free text on one line.
pub(in super::super) fn text(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        let fault = Fault::new("this text is too long, or has control characters");
        return Err(fault.help(format!("at most {MAX_TEXT} characters, on one line")));
    }
    Ok(text)
}

/// `{ team = "a" }`
pub(in super::super) fn labels(value: &DeValue<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let DeValue::Table(table) = value else {
        return Err(wrong_type("a table such as { team = \"a\" }", value));
    };
    if table.len() > MAX_LABELS {
        return Err(Fault::new(format!("{} labels are too many", table.len()))
            .help(format!("at most {MAX_LABELS}")));
    }
    let mut labels = BTreeMap::new();
    for (key, value) in table.iter() {
        word(key.get_ref(), 63, "A-Z a-z 0-9 . _ / -", |b| {
            b.is_ascii_alphanumeric() || b"._/-".contains(&b)
        })?;
        labels.insert(key.get_ref().to_string(), text(value.get_ref())?);
    }
    Ok(labels)
}

/// What EnvFilter takes, less of it: levels, alone or for a module.
pub(in super::super) fn log_filter(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    check_log_filter(&text).map_err(|(message, help)| Fault::new(message).help(help))?;
    Ok(text)
}

/// Whether `text` is a filter for the log.
///
/// # Errors
/// What is wrong, and what it should be.
pub fn check_log_filter(text: &str) -> Result<(), (String, String)> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let good = text.split(',').map(str::trim).all(|directive| {
        let (target, level) = directive.split_once('=').unwrap_or(("lbd", directive));
        let named = !target.is_empty()
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
        named && LEVELS.contains(&level.to_ascii_lowercase().as_str())
    });
    if good {
        return Ok(());
    }
    let levels = LEVELS.join(", ");
    Err((
        format!("{} is not a log filter", quote(text)),
        format!("one of {levels}; or a list such as \"info,lbd::probe=debug\""),
    ))
}
