//! What a file means: its keys and values as JSON, without places, order or comments.

use super::Keys;
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use toml_edit::{Item, TableLike};

/// All of a table.
pub(super) fn meaning(table: &dyn TableLike) -> Keys {
    let pairs = table.iter();
    pairs
        .map(|(key, item)| (key.to_owned(), of(item)))
        .collect()
}

/// An item of a table.
pub(super) fn of(item: &Item) -> Value {
    match item {
        Item::None => Value::Null,
        Item::Value(value) => of_value(value),
        Item::Table(table) => Value::Object(meaning(table)),
        Item::ArrayOfTables(tables) => tables.iter().map(|t| meaning(t)).collect(),
    }
}

/// A value.
pub(super) fn of_value(value: &toml_edit::Value) -> Value {
    use toml_edit::Value as Toml;
    match value {
        Toml::String(text) => json!(text.value()),
        Toml::Integer(number) => json!(number.value()),
        Toml::Float(number) => json!(number.value()),
        Toml::Boolean(flag) => json!(flag.value()),
        // No key takes a date: it only has to differ from whatever is not this date.
        Toml::Datetime(date) => json!({ "date": date.value().to_string() }),
        Toml::Array(items) => items.iter().map(of_value).collect(),
        Toml::InlineTable(table) => Value::Object(meaning(table)),
    }
}

/// The same without tables that say nothing: dotted keys have none when the last one goes.
pub(super) fn without_empty(keys: &Keys) -> Keys {
    let left = keys.iter().filter_map(|(key, value)| match value {
        Value::Object(inner) => {
            let inner = without_empty(inner);
            (!inner.is_empty()).then(|| (key.clone(), Value::Object(inner)))
        }
        Value::Array(items) => {
            let item = |item: &Value| match item {
                Value::Object(keys) => Value::Object(without_empty(keys)),
                other => other.clone(),
            };
            Some((key.clone(), items.iter().map(item).collect()))
        }
        other => Some((key.clone(), other.clone())),
    });
    left.collect()
}

/// The tables of a list; none where the key is missing or no list.
pub(super) fn list<'k>(keys: &'k Keys, key: &str) -> &'k [Value] {
    keys.get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The place of a real.
pub(in crate::config) fn place(real: &Value) -> Option<SocketAddr> {
    let address: IpAddr = real.get("address")?.as_str()?.parse().ok()?;
    let port = real.get("port").map_or(Some(0), Value::as_u64)?;
    Some(SocketAddr::new(address, port.try_into().ok()?))
}
