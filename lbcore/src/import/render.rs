//! A plan as a file.

use super::plan::{Real, Service};
use super::value::{Key, Value};
use std::collections::BTreeMap;
use std::fmt::Write;

/// What stands at the top of the file.
pub(super) struct Top<'a> {
    /// The command that made it.
    pub made_by: &'a str,
    pub conditions: &'a [&'static str],
    pub interface: &'a str,
    /// Why `interface` is that.
    pub interface_note: &'a str,
    /// Some check runs a program.
    pub allow_exec: bool,
}

/// The file. Text of the source is escaped where it is a value, and in comments was looked at.
pub(super) fn file(top: &Top<'_>, services: &[Service]) -> String {
    let mut out = format!("# Made by `{}`. What must hold:\n#\n", top.made_by);
    for condition in top.conditions {
        item(&mut out, condition);
    }
    if top.allow_exec {
        let note = "checks below run programs, without any capability";
        let allow = vec![Key::new("allow_exec", true).note(note)];
        table(&mut out, "[lbd]", &allow);
    }
    let interface = Key::new("interface", top.interface).note(top.interface_note);
    table(&mut out, "[network]", &[interface]);
    for planned in services {
        service(&mut out, planned);
    }
    out
}

/// A list's item as a comment, within 100 columns.
pub(super) fn item(out: &mut String, text: &str) {
    let mut line = String::from("# -");
    for word in text.split(' ') {
        if line.len() + 1 + word.len() > 100 {
            let _ = writeln!(out, "{line}");
            line = String::from("#  ");
        }
        line.push(' ');
        line.push_str(word);
    }
    let _ = writeln!(out, "{line}");
}

fn service(out: &mut String, service: &Service) {
    let texts = |vips: &[std::net::IpAddr]| vips.iter().map(ToString::to_string).collect();
    let mut keys = vec![
        Key::new("name", service.name.as_str()),
        Key::new("vip", Value::one_or_more_texts(texts(&service.vips))),
        Key::new("port", Value::one_or_more_numbers(&service.ports)),
        Key::new("protocol", if service.udp { "udp" } else { "tcp" }),
        Key::new("mode", if service.tproxy { "tproxy" } else { "dr" }),
    ];
    keys.extend(service.keys.iter().cloned());
    if let Some(sorry) = service.sorry {
        keys.push(Key::new("sorry", sorry.to_string()));
    }
    let _ = write!(out, "\n# {}", service.comment);
    table(out, "[[service]]", &keys);
    if !service.proxy.is_empty() {
        table(out, "[service.proxy]", &service.proxy);
    }
    for check in &service.checks {
        let mut keys = check.keys.clone();
        if let Some(source) = check.source {
            keys.push(Key::new("source", source.to_string()));
            // Of a proxied service such a check would be dialled as by a client.
            keys.push(Key::new("via", "real").note("as before: to the real's own address"));
        }
        table(out, "[[service.check]]", &keys);
    }
    for planned in &service.reals {
        real(out, planned);
    }
}

fn real(out: &mut String, real: &Real) {
    let name = real.name.as_deref().map(|name| Key::new("name", name));
    let port = real.port.map(|port| Key::new("port", u64::from(port)));
    let mut keys: Vec<Key> = name.into_iter().collect();
    keys.push(Key::new("address", real.address.to_string()));
    keys.extend(port);
    keys.push(Key::new("weight", u64::from(real.weight)));
    keys.extend(real.keys.iter().cloned());
    table(out, "[[service.real]]", &keys);
}

fn table(out: &mut String, header: &str, keys: &[Key]) {
    let width = keys.iter().map(|key| key.name.len()).max().unwrap_or(0);
    let _ = write!(out, "\n{header}\n");
    // What the source says twice it means as it says it last.
    let places = keys.iter().enumerate().map(|(n, key)| (key.name, n));
    let last: BTreeMap<&str, usize> = places.collect();
    for (n, Key { name, value, note }) in keys.iter().enumerate() {
        if last.get(name) != Some(&n) {
            continue;
        }
        let _ = write!(out, "{name:width$} = {value}");
        let _ = match note {
            Some(note) => writeln!(out, " # {note}"),
            None => writeln!(out),
        };
    }
}
