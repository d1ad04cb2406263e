//! Single values: what TOML gives, as what a key means, or why not.

use super::faults::Fault;
use crate::net::MacAddr;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;
use toml::de::DeValue;

/// A Unix socket's address holds 108 bytes with its final NUL (unix(7)); `/lbd.sock` is part of it.
const MAX_RUN_DIR: usize = 107 - "/lbd.sock".len();

/// Free text goes into every status answer.
const MAX_TEXT: usize = 256;

/// Labels likewise.
const MAX_LABELS: usize = 32;

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

/// An IPv4 or IPv6 address, nothing around it.
pub(super) fn ip(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let text = string(value)?;
    let Ok(ip) = text.parse::<IpAddr>() else {
        let fault = Fault::new(format!("{} is not an IP address", quote(&text)));
        return Err(if text.parse::<SocketAddr>().is_ok() {
            fault.help("the port goes into its own key, `port`")
        } else if text.contains('/') {
            fault.help("one address, without a prefix length")
        } else if text.contains('%') {
            fault.help("without a zone: the interface goes into its own key")
        } else {
            fault.help("an IPv4 or IPv6 address; names are not looked up")
        });
    };
    if let IpAddr::V6(v6) = ip
        && let Some(v4) = v6.to_ipv4_mapped()
    {
        let fault = Fault::new(format!("{text} is an IPv4 address in IPv6 clothes"));
        return Err(fault.help(format!("write \"{v4}\"")));
    }
    Ok(ip)
}

/// An address a machine on a network can have.
pub(super) fn host(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let ip = ip(value)?;
    let sort = match ip {
        IpAddr::V4(v4) if v4.is_broadcast() => "the broadcast address",
        IpAddr::V4(v4) if v4.octets()[0] == 0 => "an address of no machine (RFC 1122, 3.2.1.3)",
        _ if ip.is_unspecified() => "the unspecified address",
        _ if ip.is_loopback() => "a loopback address",
        _ if ip.is_multicast() => "a multicast address",
        _ => return Ok(ip),
    };
    Err(Fault::new(format!("{ip} is {sort}")).help("an address of one machine is wanted"))
}

/// An address clients can dial from afar.
pub(super) fn vip(value: &DeValue<'_>) -> Result<IpAddr, Fault> {
    let ip = host(value)?;
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    if link_local {
        let fault = Fault::new(format!("{ip} is a link-local address"));
        return Err(fault.help("clients behind a router could never dial it"));
    }
    Ok(ip)
}

/// Where the metrics page listens; `None` is `"off"`.
pub(super) fn listen(value: &DeValue<'_>) -> Result<Option<SocketAddr>, Fault> {
    let text = string(value)?;
    if text == "off" {
        return Ok(None);
    }
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() != 0 => Ok(Some(address)),
        _ => {
            let fault = Fault::new(format!("{} is not an address with a port", quote(&text)));
            Err(fault.help("such as \"127.0.0.1:9380\" or \"[::1]:9380\", or \"off\""))
        }
    }
}

/// The MAC address of one network card.
pub(super) fn mac(value: &DeValue<'_>) -> Result<MacAddr, Fault> {
    let text = string(value)?;
    let pairs: Vec<&str> = text.split(':').collect();
    let well_formed = pairs.len() == 6
        && pairs
            .iter()
            .all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
    let Some(mac) = text.parse::<MacAddr>().ok().filter(|_| well_formed) else {
        let fault = Fault::new(format!("{} is not a MAC address", quote(&text)));
        return Err(fault.help("six pairs of hex digits, such as \"02:00:00:00:00:21\""));
    };
    let sort = match mac {
        _ if mac.is_zero() => "no address at all",
        _ if mac.is_broadcast() => "the broadcast address",
        _ if mac.is_multicast() => "a multicast address (lowest bit of the first byte)",
        _ => return Ok(mac),
    };
    Err(Fault::new(format!("{mac} is {sort}")).help("the MAC address of one card is wanted"))
}

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
pub(super) fn service_name(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 63, "a-z 0-9 . _ -", |b| {
        b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b)
    })?;
    Ok(text)
}

/// The name of a real; its address is one too.
pub(super) fn real_name(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 63, "A-Z a-z 0-9 . _ : -", |b| {
        b.is_ascii_alphanumeric() || b"._:-".contains(&b)
    })?;
    Ok(text)
}

/// The name of a network interface, by the kernel's rule (`dev_valid_name`).
pub(super) fn interface(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 15, "anything visible but / and :", |b| {
        b.is_ascii_graphic() && b != b'/' && b != b':'
    })?;
    if text == "." || text == ".." {
        return Err(Fault::new(format!("`{text}` cannot name an interface")));
    }
    Ok(text)
}

/// The name of a Unix group.
pub(super) fn group(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    word(&text, 32, "A-Z a-z 0-9 . _ -", |b| {
        b.is_ascii_alphanumeric() || b"._-".contains(&b)
    })?;
    Ok(text)
}

/// An absolute path that stays where it says.
pub(super) fn path(value: &DeValue<'_>) -> Result<PathBuf, Fault> {
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
pub(super) fn run_dir(value: &DeValue<'_>) -> Result<PathBuf, Fault> {
    let path = path(value)?;
    if path.as_os_str().len() > MAX_RUN_DIR {
        let fault = Fault::new("this path is too long for a Unix socket in it");
        return Err(fault.help(format!("at most {MAX_RUN_DIR} bytes")));
    }
    Ok(path)
}

/// Free text on one line.
pub(super) fn text(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if text.chars().count() > MAX_TEXT || text.chars().any(char::is_control) {
        let fault = Fault::new("this text is too long, or has control characters");
        return Err(fault.help(format!("at most {MAX_TEXT} characters, on one line")));
    }
    Ok(text)
}

/// `{ team = "a" }`
pub(super) fn labels(value: &DeValue<'_>) -> Result<BTreeMap<String, String>, Fault> {
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

/// A log filter: a level, or tracing's `target=level` list.
pub(super) fn log_filter(value: &DeValue<'_>) -> Result<String, Fault> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = string(value)?;
    let good = text.split(',').map(str::trim).all(|directive| {
        let (target, level) = directive.split_once('=').unwrap_or(("lbd", directive));
        let named = !target.is_empty()
            && target
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_:".contains(&b));
        named && LEVELS.contains(&level.to_ascii_lowercase().as_str())
    });
    if !good {
        let fault = Fault::new(format!("{} is not a log filter", quote(&text)));
        let levels = LEVELS.join(", ");
        return Err(fault.help(format!(
            "one of {levels}; or a list such as \"info,lbd::probe=debug\""
        )));
    }
    Ok(text)
}
