//! The keys of an `http` check.

use super::super::faults::Fault;
use super::super::model::HttpCheck;
use super::super::raw::Section;
use super::super::value::{quote, string};
use std::collections::BTreeMap;
use toml::de::DeValue;

/// A request has to fit one segment of any network: an answer of ours must not depend on more.
const MAX_TARGET: usize = 1024;
/// Likewise.
const MAX_HEADERS: usize = 32;
const MAX_HEADER_VALUE: usize = 512;
/// The answer is searched for it, within what a probe keeps of an answer.
const MAX_BODY: usize = 1024;

/// Reads them, or their defaults.
pub(super) fn http(s: &Section<'_>) -> HttpCheck {
    let check = HttpCheck {
        method: s.get_or("method", method, "GET".to_owned()),
        path: s.get_or("path", target, "/".to_owned()),
        host: s.get("host", host).map(|host| host.into_inner()),
        expect: s.get_or("expect", expect, vec![(200, 399)]),
        body: s.get("body", body).map(|body| body.into_inner()),
        headers: s.get_or("headers", headers, BTreeMap::new()),
    };
    if check.method == "HEAD" && check.body.is_some() {
        let fault = Fault::new("an answer to HEAD has no body to look into").help("use GET");
        s.faults
            .error(s.key_span("body"), &s.path_of("body"), fault);
    }
    check
}

fn method(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    let token = (1..=16).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_uppercase());
    if !token || text == "CONNECT" {
        let fault = Fault::new(format!("{} is no method for a check", quote(&text)));
        return Err(fault.help("GET, HEAD, OPTIONS, in capitals"));
    }
    Ok(text)
}

pub(super) fn target(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if !text.starts_with('/') {
        let fault = Fault::new(format!("{} does not start with `/`", quote(&text)));
        return Err(fault.help("a path such as \"/healthz\""));
    }
    if text.len() > MAX_TARGET || !text.bytes().all(|b| b.is_ascii_graphic()) {
        let fault = Fault::new("this path is too long, or has characters it may not have");
        return Err(fault.help(format!(
            "at most {MAX_TARGET} visible ASCII characters; write others as %20 and the like"
        )));
    }
    Ok(text)
}

fn host(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b".-_:[]".contains(&b);
    if !(1..=255).contains(&text.len()) || !text.bytes().all(allowed) {
        let fault = Fault::new(format!("{} is no host name", quote(&text)));
        return Err(fault.help("such as \"shop.example\" or \"shop.example:8080\""));
    }
    Ok(text)
}

fn body(value: &DeValue<'_>) -> Result<String, Fault> {
    let text = string(value)?;
    if !(1..=MAX_BODY).contains(&text.len()) {
        return Err(Fault::new(format!("{} bytes to look for", text.len()))
            .help(format!("1 to {MAX_BODY} bytes")));
    }
    Ok(text)
}

/// A code, a range, or a list of them.
fn expect(value: &DeValue<'_>) -> Result<Vec<(u16, u16)>, Fault> {
    match value {
        DeValue::Array(items) if items.is_empty() => Err("no status code would ever pass".into()),
        DeValue::Array(items) => items.iter().map(|item| codes(item.get_ref())).collect(),
        one => Ok(vec![codes(one)?]),
    }
}

fn codes(value: &DeValue<'_>) -> Result<(u16, u16), Fault> {
    let text = match value {
        DeValue::Integer(code) => code.to_string(),
        DeValue::String(text) => text.to_string(),
        _ => return Err("status codes are wanted here".into()),
    };
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    match (first.trim().parse(), last.trim().parse()) {
        (Ok(first), Ok(last)) if 100 <= first && first <= last && last <= 599 => Ok((first, last)),
        _ => {
            let fault = Fault::new(format!("{} is no range of status codes", quote(&text)));
            Err(fault.help("codes are 100-599: 200, \"200-399\", or [200, \"300-308\"]"))
        }
    }
}

fn headers(value: &DeValue<'_>) -> Result<BTreeMap<String, String>, Fault> {
    let DeValue::Table(table) = value else {
        return Err("a table such as { Accept = \"text/plain\" } is wanted here".into());
    };
    if table.len() > MAX_HEADERS {
        return Err(Fault::new(format!("{} headers are too many", table.len()))
            .help(format!("at most {MAX_HEADERS}")));
    }
    let mut headers = BTreeMap::new();
    for (name, value) in table.iter() {
        let (name, value) = (name.get_ref().as_ref(), string(value.get_ref())?);
        header(name, &value)?;
        headers.insert(name.to_owned(), value);
    }
    Ok(headers)
}

/// A header that is one line of the request (RFC 9110, 5.1 and 5.5) and leaves its framing alone.
fn header(name: &str, value: &str) -> Result<(), Fault> {
    /// Those that lbd writes itself.
    const OURS: [&str; 5] = [
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "upgrade",
    ];
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !(1..=63).contains(&name.len()) || !name.bytes().all(token) {
        return Err(Fault::new(format!("{} is no header name", quote(name))));
    }
    if OURS.contains(&name.to_ascii_lowercase().as_str()) {
        let fault = Fault::new(format!("lbd writes `{name}` itself"));
        return Err(fault.help("for `Host` there is the key `host`"));
    }
    let visible = |b: u8| b.is_ascii_graphic() || b == b' ' || b == b'\t';
    if value.len() > MAX_HEADER_VALUE || !value.bytes().all(visible) {
        let fault = Fault::new(format!(
            "the value of `{name}` is too long, or is not plain ASCII"
        ));
        return Err(fault.help(format!("at most {MAX_HEADER_VALUE} visible characters")));
    }
    Ok(())
}
