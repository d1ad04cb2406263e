//! A change of what files mean.

use super::model::{list, place};
use super::{Edit, EditError, Keys};
use serde_json::Value;
use std::net::SocketAddr;

/// Makes one change to what the files mean, the main one first.
///
/// # Errors
/// What it speaks of is not there, or is there already, or has a value that no file can hold.
pub(super) fn apply(files: &mut [Keys], edit: &Edit) -> Result<(), EditError> {
    match edit {
        Edit::AddService { keys } => add_service(files, keys),
        Edit::SetService { service, keys } => {
            let (file, at) = find(files, service)?;
            patched(&mut items(&mut files[file], "service")[at], keys)
        }
        Edit::RemoveService { service } => {
            let (file, at) = find(files, service)?;
            items(&mut files[file], "service").remove(at);
            drop_if_empty(&mut files[file], "service");
            Ok(())
        }
        Edit::AddReal { service, keys } => {
            let config = service_mut(files, service)?;
            let real = new(keys)?;
            if let Some(real) = place(&real)
                && real_at(config, real).is_some()
            {
                let service = service.clone();
                return Err(EditError::RealExists { service, real });
            }
            items(config, "real").push(real);
            Ok(())
        }
        Edit::SetReal {
            service,
            real,
            keys,
        } => {
            let config = service_mut(files, service)?;
            let at = real_at(config, *real).ok_or_else(|| no_real(service, *real))?;
            patched(&mut items(config, "real")[at], keys)
        }
        Edit::RemoveReal { service, real } => {
            let config = service_mut(files, service)?;
            let at = real_at(config, *real).ok_or_else(|| no_real(service, *real))?;
            items(config, "real").remove(at);
            drop_if_empty(config, "real");
            Ok(())
        }
    }
}

fn add_service(files: &mut [Keys], keys: &Keys) -> Result<(), EditError> {
    if let Some(name) = keys.get("name").and_then(Value::as_str)
        && find(files, name).is_ok()
    {
        return Err(EditError::ServiceExists {
            service: name.to_owned(),
        });
    }
    let service = new(keys)?;
    if let Some(main) = files.first_mut() {
        items(main, "service").push(service);
    }
    Ok(())
}

/// The file and the position in it of a service.
fn find(files: &[Keys], name: &str) -> Result<(usize, usize), EditError> {
    let named = |service: &Value| service.get("name").and_then(Value::as_str) == Some(name);
    let mut all = files.iter().enumerate();
    all.find_map(|(file, keys)| Some((file, list(keys, "service").iter().position(named)?)))
        .ok_or_else(|| EditError::NoSuchService {
            service: name.to_owned(),
        })
}

fn service_mut<'f>(files: &'f mut [Keys], name: &str) -> Result<&'f mut Keys, EditError> {
    let (file, at) = find(files, name)?;
    let service = items(&mut files[file], "service")[at].as_object_mut();
    service.ok_or_else(|| EditError::NoSuchService {
        service: name.to_owned(),
    })
}

fn real_at(service: &Keys, wanted: SocketAddr) -> Option<usize> {
    let mut reals = list(service, "real").iter();
    reals.position(|real| place(real) == Some(wanted))
}

fn no_real(service: &str, real: SocketAddr) -> EditError {
    EditError::NoSuchReal {
        service: service.to_owned(),
        real,
    }
}

/// The list under a key; a new one where there is none.
pub(super) fn items<'k>(keys: &'k mut Keys, key: &str) -> &'k mut Vec<Value> {
    let value = keys.entry(key).or_insert_with(|| Value::Array(Vec::new()));
    if !value.is_array() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(items) => items,
        _ => unreachable!("made one above"),
    }
}

/// Files write an empty list of sections by not having it.
fn drop_if_empty(keys: &mut Keys, key: &str) {
    if list(keys, key).is_empty() {
        keys.remove(key);
    }
}

/// A section of its own: what a patch makes of nothing.
fn new(keys: &Keys) -> Result<Value, EditError> {
    let mut section = Value::Object(Keys::new());
    patched(&mut section, keys)?;
    Ok(section)
}

/// A merge patch (RFC 7396), but for one thing: where nothing is, a table of nulls makes nothing,
/// not an empty table.
fn patched(section: &mut Value, patch: &Keys) -> Result<(), EditError> {
    let Value::Object(section) = section else {
        return Ok(());
    };
    for (key, value) in patch {
        match value {
            Value::Null => {
                section.remove(key);
            }
            Value::Object(inner) => {
                let there = section.get(key).is_some_and(Value::is_object);
                let mut table = match section.remove(key) {
                    Some(table) if there => table,
                    _ => Value::Object(Keys::new()),
                };
                patched(&mut table, inner)?;
                let nothing = table.as_object().is_some_and(Keys::is_empty);
                if there || !nothing || inner.is_empty() {
                    section.insert(key.clone(), table);
                }
            }
            // As in `drop_if_empty`.
            Value::Array(items) if items.is_empty() && super::literal::is_list_of_sections(key) => {
                section.remove(key);
            }
            value => {
                holdable(key, value)?;
                section.insert(key.clone(), value.clone());
            }
        }
    }
    Ok(())
}

/// TOML has no null, and integers of 64 bits with a sign.
fn holdable(key: &str, value: &Value) -> Result<(), EditError> {
    let wrong = |why| {
        Err(EditError::Value {
            key: key.to_owned(),
            why,
        })
    };
    match value {
        Value::Null => wrong("null cannot stand inside a list"),
        Value::Number(number) if number.is_u64() && number.as_i64().is_none() => {
            wrong("the number is too large")
        }
        Value::Array(items) => items.iter().try_for_each(|item| holdable(key, item)),
        Value::Object(table) => table.iter().try_for_each(|(key, item)| holdable(key, item)),
        _ => Ok(()),
    }
}
