//! Values and sections as new text of a file.

use super::Keys;
use crate::config::keys::{CHECK, PROXY, REAL, SERVICE, Shape};
use serde_json::Value;

/// Whether a key of a service is a list of sections.
pub(super) fn is_list_of_sections(key: &str) -> bool {
    ["check", "real"].contains(&key)
}

/// Whether a key is written as sections of its own, `[[service.real]]`, below `path`.
pub(super) fn is_section(path: &str, key: &str, value: &Value) -> bool {
    match (path, value) {
        ("", Value::Array(_)) => key == "service",
        ("service", Value::Array(items)) => {
            is_list_of_sections(key) && !items.is_empty() && items.iter().all(Value::is_object)
        }
        ("service", Value::Object(_)) => key == "proxy",
        _ => false,
    }
}

/// A key as it is written.
pub(super) fn key(key: &str) -> String {
    toml_edit::Key::new(key).display_repr().into_owned()
}

/// A value on one line, as far as its strings allow.
pub(super) fn value(value: &Value) -> String {
    match value {
        // Never asked for: the patch has refused it.
        Value::Null => "''".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (None, Some(float)) => toml_edit::Value::from(float).to_string(),
            _ => number.to_string(),
        },
        // On one line, and so without line ends of this system in a file of another one: JSON's
        // escapes are TOML's.
        Value::String(text) if text.contains(['\n', '\r']) => {
            value.to_string().replace('\u{7f}', "\\u007f")
        }
        Value::String(text) => toml_edit::Value::from(text.as_str()).to_string(),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(self::value).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let pairs: Vec<String> = ordered("", table)
                .map(|(name, item)| format!("{} = {}", key(name), self::value(item)))
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
    }
}

/// The keys of a section in the order files have them; those that are no keys of it come last.
pub(super) fn ordered<'k>(
    path: &str,
    keys: &'k Keys,
) -> impl Iterator<Item = (&'k String, &'k Value)> {
    let shape = shape(path);
    let mut pairs: Vec<_> = keys.iter().collect();
    pairs.sort_by_key(|(key, _)| {
        shape
            .and_then(|shape| shape.keys.iter().position(|known| known.name == *key))
            .unwrap_or(usize::MAX)
    });
    pairs.into_iter()
}

fn shape(path: &str) -> Option<&'static Shape> {
    match path {
        "service" => Some(&SERVICE),
        "service.check" => Some(&CHECK),
        "service.real" => Some(&REAL),
        "service.proxy" => Some(&PROXY),
        _ => None,
    }
}

/// A section of its own with its header, and the sections below it.
pub(super) fn section(path: &str, keys: &Keys, brackets: Brackets, look: &Look<'_>) -> String {
    let Look {
        newline,
        header,
        line,
    } = look;
    let (open, close) = match brackets {
        Brackets::One => ("[", "]"),
        Brackets::Two => ("[[", "]]"),
    };
    let mut text = format!("{header}{open}{path}{close}{newline}");
    let mut below = String::new();
    for (key, value) in ordered(path, keys) {
        if !is_section(path, key, value) {
            text.push_str(&format!(
                "{line}{} = {}{newline}",
                self::key(key),
                self::value(value)
            ));
            continue;
        }
        let path = format!("{path}.{key}");
        match value {
            Value::Array(items) => {
                for keys in items.iter().filter_map(Value::as_object) {
                    below.push_str(newline);
                    below.push_str(&section(&path, keys, Brackets::Two, look));
                }
            }
            Value::Object(keys) => {
                below.push_str(newline);
                below.push_str(&section(&path, keys, Brackets::One, look));
            }
            _ => {}
        }
    }
    text + &below
}

/// Brackets of a header.
#[derive(Clone, Copy)]
pub(super) enum Brackets {
    /// A single section.
    One,
    /// One of a list.
    Two,
}

/// How the sections around are written.
#[derive(Clone, Copy)]
pub(super) struct Look<'t> {
    /// The end of a line.
    pub(super) newline: &'static str,
    /// What headers begin with.
    pub(super) header: &'t str,
    /// What lines begin with.
    pub(super) line: &'t str,
}
