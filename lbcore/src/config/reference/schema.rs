//! The JSON schema of the file, for editors: draft 7, which they all know. What it refuses,
//! [`super::super::check`] refuses, too; not the other way round.

use super::super::keys::{CHECK, Shape, TOP};
use super::super::kind::Kind;
use super::super::validate::OWNERS;
use super::{KeyDoc, Note, SectionDoc, sections};
use serde_json::{Map, Value, json};
use std::fmt::Write;

/// The whole schema.
pub fn schema() -> Value {
    let docs = sections();
    let mut schema = table(&TOP, &docs);
    let head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "lbd.toml",
        "description": "The configuration of lbd, a layer-4 load balancer: see lbd.toml(5)",
    });
    if let (Some(schema), Value::Object(head)) = (schema.as_object_mut(), head) {
        schema.extend(head);
    }
    schema
}

/// A section.
fn table(shape: &Shape, docs: &[SectionDoc]) -> Value {
    let doc = docs.iter().find(|doc| doc.header == shape.header);
    let key_doc = |name: &str| doc.and_then(|doc| doc.keys.iter().find(|key| key.name == name));
    let mut keys = Map::new();
    for key in shape.keys {
        keys.insert(key.name.to_owned(), value(&key.kind, docs));
    }
    for (name, key) in &mut keys {
        if let (Some(doc), Some(key)) = (key_doc(name), key.as_object_mut()) {
            describe(key, doc);
        }
    }
    for (name, harmless) in shape
        .later
        .iter()
        .filter(|(_, harmless)| !harmless.is_empty())
    {
        let only = json!({ "enum": [constant(harmless)], "description": "Of a version to come." });
        keys.insert((*name).to_owned(), only);
    }
    let required: Vec<&str> = shape
        .keys
        .iter()
        .filter_map(|known| key_doc(known.name))
        .filter(|key| key.owners.is_empty() && key.notes.first().is_some_and(|note| note.required))
        .map(|key| key.name)
        .collect();
    let mut section = json!({
        "type": "object",
        "additionalProperties": false,
        "properties": keys,
    });
    if let Some(doc) = doc.filter(|doc| !doc.intro.is_empty()) {
        section["description"] = json!(doc.intro);
    }
    // An empty list of them is no draft 4, which some editors read.
    if !required.is_empty() {
        section["required"] = json!(required);
    }
    if shape.header == CHECK.header {
        section["allOf"] = json!(by_type(doc));
    }
    section
}

/// What holds for checks of some types only.
fn by_type(doc: Option<&SectionDoc>) -> Vec<Value> {
    let strangers = OWNERS.iter().map(|(key, owners)| {
        json!({
            "if": { "properties": { "type": { "not": { "enum": owners } } }, "required": ["type"] },
            "then": { "properties": { *key: false } },
        })
    });
    let keys = doc.map_or(&[][..], |doc| &doc.keys[..]);
    let needed = keys.iter().flat_map(|key| {
        let notes = key.notes.iter().filter(|note| note.required);
        notes.filter_map(|note| {
            let of: Vec<&str> = match note.of.is_empty() {
                true => key.owners.to_vec(),
                false => note.of.iter().map(String::as_str).collect(),
            };
            (key.name != "type" && !of.is_empty()).then(|| {
                json!({
                    "if": { "properties": { "type": { "enum": of } }, "required": ["type"] },
                    "then": { "required": [key.name] },
                })
            })
        })
    });
    strangers.chain(needed).collect()
}

/// What an editor shows beside a key.
fn describe(key: &mut Map<String, Value>, doc: &KeyDoc) {
    let mut text = String::new();
    for note in &doc.notes {
        if !text.is_empty() {
            text.push('\n');
        }
        if !note.of.is_empty() {
            let _ = write!(text, "{}: ", note.of.join(", "));
        }
        text.push_str(&note.text);
    }
    if !text.is_empty() {
        key.insert("description".into(), json!(text));
    }
    if let [
        Note {
            default: Some(toml),
            ..
        },
    ] = &doc.notes[..]
    {
        key.insert("default".into(), constant(toml));
    }
}

/// A simple value of TOML as JSON.
fn constant(toml: &str) -> Value {
    let simple = toml.replace('_', "");
    serde_json::from_str(toml)
        .or_else(|_| serde_json::from_str(&simple))
        .unwrap_or_else(|_| json!(toml))
}

/// A value.
fn value(kind: &Kind, docs: &[SectionDoc]) -> Value {
    let pattern = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Duration => pattern("^(0|[0-9 ]+[a-zA-Zµ][0-9 a-zA-Zµ]*)$"),
        Kind::Path => pattern("^/"),
        Kind::Words(words) => json!({ "type": "string", "enum": words.names() }),
        Kind::Address => pattern("^[0-9A-Fa-f.:]+$"),
        Kind::Network => pattern("^[0-9A-Fa-f.:]+(/[0-9]{1,3})?$"),
        Kind::Listen => pattern("^(off|[0-9A-Fa-f.:\\[\\]]+:[0-9]{1,5})$"),
        Kind::Mac => pattern("^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$"),
        Kind::Texts => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Kind::Expect => {
            let one = json!({ "type": ["integer", "string"], "minimum": 100, "maximum": 599 });
            json!({ "anyOf": [one, { "type": "array", "items": one, "minItems": 1 }] })
        }
        Kind::List(one) => json!({ "type": "array", "items": value(one, docs), "minItems": 1 }),
        Kind::OneOrMore(one) => {
            let one = value(one, docs);
            let several = json!({
                "type": "array", "items": one, "minItems": 1, "uniqueItems": true,
            });
            json!({ "anyOf": [one, several] })
        }
        Kind::Table(shape) => table(shape, docs),
        Kind::Tables(shape) => json!({ "type": "array", "items": table(shape, docs) }),
    }
}
