//! What every change of services and reals has in common.

use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ChangeView, Request};
use lbcore::config::Keys;
use serde_json::Value;
use std::process::ExitCode;

/// Asks for a change, and shows what it has done.
///
/// # Errors
/// What lbd says.
pub async fn make(context: &Context, request: Request) -> Result<ExitCode, Failure> {
    let done: ChangeView = context.client.ask(&request).await?;
    for warning in &done.warnings {
        say(&format!("warning: {warning}"));
    }
    if done.dry_run {
        say("a dry run: nothing was changed");
    }
    context.print(&done, render::change::changed)
}

/// What is typed, and what is taken out, as one patch.
///
/// # Errors
/// There is nothing in it.
pub fn patch(mut keys: Keys, unset: Vec<Keys>) -> Result<Keys, Failure> {
    for taken in unset {
        merge(&mut keys, taken);
    }
    match keys.is_empty() {
        true => Err(Failure::NothingToChange),
        false => Ok(keys),
    }
}

fn merge(keys: &mut Keys, more: Keys) {
    for (key, value) in more {
        match (keys.get_mut(&key), value) {
            (Some(Value::Object(there)), Value::Object(more)) => merge(there, more),
            (_, value) => {
                keys.insert(key, value);
            }
        }
    }
}
