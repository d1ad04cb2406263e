//! Single values: what TOML gives, as what a key means, or why not.

mod address;
mod include;
mod text;

use super::faults::Fault;
use std::time::Duration;
use toml::de::DeValue;

pub(super) use address::{host, listen, mac, prefix, vip};
pub(super) use include::include;
pub use text::check_log_filter;
pub(super) use text::{
    group, interface, labels, log_filter, path, real_name, run_dir, service_name, text,
};

/// Text from the file for a message: escaped, so that no terminal obeys it, and short.
pub(super) fn quote(text: &str) -> String {
    const MAX_CHARS: usize = 48;
    let mut quoted = String::from("`");
    for char in text.chars().take(MAX_CHARS) {
        match char {
            '"' | '\'' => quoted.push(char),
            _ => quoted.extend(char.escape_debug()),
        }
    }
    if text.chars().nth(MAX_CHARS).is_some() {
        quoted.push('…');
    }
    quoted.push('`');
    quoted
}

/// What kind of thing a value is, with its article.
pub(super) fn type_name(value: &toml::Spanned<DeValue<'_>>) -> &'static str {
    kind(value.get_ref())
}

fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

fn wrong_type(wanted: &str, value: &DeValue<'_>) -> Fault {
    Fault::new(format!("{wanted} is wanted here, not {}", kind(value)))
}

/// Any string.
pub(super) fn string(value: &DeValue<'_>) -> Result<String, Fault> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) => {
            Err(wrong_type("a string", value).help(format!("write \"{number}\"")))
        }
        other => Err(wrong_type("a string", other)),
    }
}

/// `true` or `false`.
pub(super) fn boolean(value: &DeValue<'_>) -> Result<bool, Fault> {
    match value {
        DeValue::Boolean(flag) => Ok(*flag),
        DeValue::String(text) if ["true", "false"].contains(&text.as_ref()) => {
            Err(wrong_type("true or false", value).help(format!("write {text} without quotes")))
        }
        other => Err(wrong_type("true or false", other)),
    }
}

/// An integer from `min` to `max`; `what` names such a number in the message.
pub(super) fn integer(
    what: &'static str,
    min: u32,
    max: u32,
) -> impl Fn(&DeValue<'_>) -> Result<u32, Fault> {
    move |value| {
        let range = || format!("{what} is {min}-{max}");
        let number = match value {
            DeValue::Integer(number) => number,
            DeValue::String(text) if text.parse::<u32>().is_ok() => {
                let fault = wrong_type("an integer", value);
                return Err(fault.help(format!("write {text} without quotes")));
            }
            other => return Err(wrong_type("an integer", other).help(range())),
        };
        match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(found) if (i64::from(min)..=i64::from(max)).contains(&found) => Ok(found as u32),
            _ => {
                let message = format!("{} is out of range", quote(&number.to_string()));
                Err(Fault::new(message).help(range()))
            }
        }
    }
}

/// A port clients can dial.
pub(super) fn port(value: &DeValue<'_>) -> Result<u16, Fault> {
    if let DeValue::String(text) = value
        && let Some((first, last)) = text.split_once('-')
        && [first, last]
            .iter()
            .all(|end| end.trim().parse::<u16>().is_ok())
    {
        let fault = Fault::new("port ranges are not supported by this version yet");
        return Err(fault.help("list the ports: [80, 443]"));
    }
    integer("a port", 1, u32::from(u16::MAX))(value).map(|port| port as u16)
}

/// A bound on connections; 0 = none.
pub(super) fn connections(value: &DeValue<'_>) -> Result<u32, Fault> {
    integer("a bound on connections", 0, 100_000_000)(value)
}

/// A duration with its unit, from `min` to `max`.
pub(super) fn duration(
    min: Duration,
    max: Duration,
) -> impl Fn(&DeValue<'_>) -> Result<Duration, Fault> {
    move |value| {
        let text = match value {
            DeValue::String(text) => text,
            DeValue::Integer(number) => {
                let fault = Fault::new("a duration is a string with a unit");
                return Err(fault.help(format!("write \"{number}s\" for seconds")));
            }
            other => return Err(wrong_type("a duration such as \"2s\"", other)),
        };
        let range = || {
            let (min, max) = (
                humantime::format_duration(min),
                humantime::format_duration(max),
            );
            format!("from {min} to {max}")
        };
        let parsed = humantime::parse_duration(text).map_err(|_| {
            Fault::new(format!("{} is not a duration", quote(text)))
                .help("a number with its unit, such as \"500ms\", \"2s\", \"15m\" or \"1h 30m\"")
        })?;
        if parsed < min || parsed > max {
            return Err(Fault::new(format!("{} is out of range", quote(text))).help(range()));
        }
        Ok(parsed)
    }
}
