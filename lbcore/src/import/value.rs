//! Values and keys of the file to be.

use std::fmt;
use std::time::Duration;

/// A value of TOML.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u64),
    Flag(bool),
    List(Vec<Value>),
    /// `{ name = "text" }`
    Table(Vec<(String, String)>),
}

impl Value {
    pub(super) fn one_or_more_texts(texts: Vec<String>) -> Value {
        Value::one_or_more(texts.into_iter().map(Value::Text).collect())
    }

    pub(super) fn one_or_more_numbers(numbers: &[u16]) -> Value {
        let numbers = numbers.iter().map(|n| Value::Number(u64::from(*n)));
        Value::one_or_more(numbers.collect())
    }

    fn one_or_more(mut values: Vec<Value>) -> Value {
        match values.len() {
            1 => values.remove(0),
            _ => Value::List(values),
        }
    }
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Text(text) => quoted(f, text),
            Value::Number(number) => write!(f, "{number}"),
            Value::Flag(flag) => write!(f, "{flag}"),
            Value::List(values) => {
                f.write_str("[")?;
                for (n, value) in values.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{value}")?;
                }
                f.write_str("]")
            }
            Value::Table(pairs) => {
                f.write_str("{ ")?;
                for (n, (key, value)) in pairs.iter().enumerate() {
                    f.write_str(if n == 0 { "" } else { ", " })?;
                    quoted(f, key)?;
                    f.write_str(" = ")?;
                    quoted(f, value)?;
                }
                f.write_str(" }")
            }
        }
    }
}

/// A basic string (TOML 1.0).
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    f.write_str("\"")?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            c if c == ' ' || c.is_ascii_graphic() || c.is_alphanumeric() => write!(f, "{c}")?,
            c => write!(f, "\\U{:08x}", u32::from(c))?,
        }
    }
    f.write_str("\"")
}

impl From<&str> for Value {
    fn from(text: &str) -> Value {
        Value::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Value {
        Value::Text(text)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Value {
        Value::Number(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Value {
        Value::Flag(flag)
    }
}

impl From<Duration> for Value {
    fn from(duration: Duration) -> Value {
        Value::Text(humantime::format_duration(duration).to_string())
    }
}

/// A line of a table.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key {
    pub name: &'static str,
    pub value: Value,
    /// A comment behind it.
    pub note: Option<String>,
}

impl Key {
    pub(super) fn new(name: &'static str, value: impl Into<Value>) -> Key {
        Key {
            name,
            value: value.into(),
            note: None,
        }
    }

    pub(super) fn note(self, note: &str) -> Key {
        Key {
            note: Some(note.to_owned()),
            ..self
        }
    }
}

/// A duration within the configuration's bounds.
pub(super) fn bounded(duration: Duration, least: Duration, most: Duration) -> Duration {
    // Whole milliseconds read better, and nobody checks more often.
    let whole = Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
    whole.clamp(least, most)
}
