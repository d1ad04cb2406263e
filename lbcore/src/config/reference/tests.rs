//! The reference says of every key what it is, and the schema and the check agree.

use super::*;
use crate::config::check;
use crate::config::keys::Key;
use serde_json::{Value, json};

#[test]
fn every_key_is_told_in_the_samples() {
    for section in sections() {
        for key in section.keys {
            let of = section.header;
            assert!(
                !key.notes.is_empty(),
                "`{}` of {of} is in no sample",
                key.name
            );
            for note in key.notes {
                assert!(note.text.len() > 3, "`{}` of {of} has no words", key.name);
            }
        }
    }
}

fn notes(header: &str, key: &str) -> Vec<Note> {
    let section = sections()
        .into_iter()
        .find(|section| section.header == header);
    let keys = section.unwrap().keys;
    let key = keys.into_iter().find(|doc| doc.name == key);
    key.unwrap().notes
}

#[test]
fn the_samples_are_read_as_they_are_meant() {
    let plain = notes("[lbd]", "shutdown_timeout");
    assert_eq!(plain[0].default.as_deref(), Some("\"30s\""));
    assert!(!plain[0].required);
    assert_eq!(notes("[lbd]", "read_group")[0].default, None);
    assert!(notes("[[service]]", "vip")[0].required);
    assert!(notes("[[service.check]]", "query")[0].required);
    assert_eq!(
        notes("[service.proxy]", "retries")[0].default.as_deref(),
        Some("2")
    );

    // A comment goes on below, and a `#` in quotes begins none.
    let via = &notes("[[service.check]]", "via")[0];
    assert!(
        via.text
            .contains("frames to this real's MAC (default where type and port"),
        "{}",
        via.text
    );

    // Checks of several types have the key, and mean different things.
    let of: Vec<_> = notes("[[service.check]]", "path")
        .into_iter()
        .map(|note| note.of)
        .collect();
    assert_eq!(of, [vec!["http", "https"], vec!["kubernetes"]]);
    let types = notes("[[service.check]]", "type");
    let known: Vec<_> = types.iter().skip(1).flat_map(|note| &note.of).collect();
    assert_eq!(
        known,
        ["https", "udp", "icmp", "dns", "grpc", "exec", "kubernetes"]
    );
}

#[test]
fn the_schema_says_what_a_key_is() {
    let schema = schema();
    let service = &schema["properties"]["service"]["items"];
    assert_eq!(service["required"], json!(["name", "vip", "port"]));
    assert_eq!(service["additionalProperties"], json!(false));
    let keys = &service["properties"];
    assert_eq!(keys["dead_grace"]["default"], json!("10s"));
    assert_eq!(keys["mode"]["enum"], json!(["dr", "tproxy"]));
    assert_eq!(keys["max_new_flows_per_source"]["enum"], json!([0]));
    assert_eq!(
        schema["properties"]["network"]["properties"]["flow_entries"]["default"],
        json!(1_048_576)
    );
    assert_eq!(keys["check"]["items"]["required"], json!(["type"]));
}

/// A file whose `section` has `key` with this value, and what else it needs.
fn with(shape: &Shape, key: &str, value: &Value) -> String {
    let mut service = json!({ "name": "web", "vip": "192.0.2.10", "port": 80 });
    let mut file = json!({ "network": { "interface": "eth0" } });
    let mut section = match shape.header {
        "[[service.check]]" => json!({ "type": "tcp" }),
        "[[service.real]]" => json!({ "address": "192.0.2.21" }),
        "[[service]]" => service.clone(),
        _ => json!({}),
    };
    section[key] = value.clone();
    let of_a_proxied_real =
        shape.header == REAL.header && ["port", "max_connections"].contains(&key);
    if of_a_proxied_real || shape.header == PROXY.header {
        service["mode"] = json!("tproxy");
    }
    match shape.header {
        "[[service.check]]" => service["check"] = json!([section]),
        "[[service.real]]" => service["real"] = json!([section]),
        "[service.proxy]" => service["proxy"] = section,
        "[[service]]" => service = section,
        "[lbd]" => file["lbd"] = section,
        _ => {
            if !key.starts_with("interface") {
                section["interface"] = json!("eth0");
            }
            file["network"] = section;
        }
    }
    file["service"] = json!([service]);
    toml::to_string(&file).unwrap()
}

/// What the check has to say about the value of this key.
fn complaints(shape: &Shape, key: &str, value: &Value) -> Vec<String> {
    let text = with(shape, key, value);
    let errors = check(&text).err().unwrap_or_default();
    let about = errors.iter().filter(|error| error.path.ends_with(key));
    about
        .map(|error| format!("{}: {text}", error.message))
        .collect()
}

/// The least and the greatest number of every key that takes one pass the check, and nothing beyond.
#[test]
fn ranges_are_those_the_check_has() {
    let mut seen = 0;
    for shape in SHAPES {
        for Key {
            name: key, kind, ..
        } in shape.keys
        {
            let (Kind::Integer(min, max) | Kind::OneOrMore(Kind::Integer(min, max))) = kind else {
                continue;
            };
            let (min, max) = (i64::from(*min), i64::from(*max));
            for (number, good) in [(min - 1, false), (min, true), (max, true), (max + 1, false)] {
                let said = complaints(shape, key, &json!(number));
                assert_eq!(said.is_empty(), good, "{key} = {number}: {said:?}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 14, "{seen}");
}

/// Values of the right sort and of others, for every other sort of key.
#[test]
fn sorts_are_those_the_check_has() {
    for shape in SHAPES {
        for Key {
            name: key, kind, ..
        } in shape.keys
        {
            let (good, wrong) = match kind {
                Kind::Bool => (json!(true), json!("true")),
                Kind::Duration => (json!("2s"), json!("2")),
                Kind::Path => (json!("/x"), json!("x")),
                Kind::Words(words) => (json!(words.names()[0]), json!("frobnicate")),
                Kind::Address | Kind::OneOrMore(Kind::Address) => {
                    (json!("192.0.2.77"), json!("shop.example"))
                }
                Kind::OneOrMore(Kind::Network) => (json!("198.51.100.0/24"), json!("here")),
                Kind::Listen => (json!("off"), json!("on")),
                Kind::Mac => (json!("02:00:00:00:00:21"), json!("02:00")),
                Kind::Texts => (json!({ "A": "b" }), json!("b")),
                Kind::Expect => (json!([200, "300-308"]), json!(99)),
                Kind::Text => (json!("info"), json!(7)),
                Kind::List(Kind::Text) => (json!(["/bin/true"]), json!("/bin/true")),
                Kind::OneOrMore(Kind::Text) => (json!(["eth1"]), json!([7])),
                _ => continue,
            };
            assert!(
                !complaints(shape, key, &wrong).is_empty(),
                "{key} = {wrong}"
            );
            let said = complaints(shape, key, &good);
            // What needs other keys, or excludes them, is not about the value.
            let wrong_sort = |line: &String| line.contains("wanted") || line.contains("none of");
            assert!(!said.iter().any(wrong_sort), "{key} = {good}: {said:?}");
        }
    }
}
