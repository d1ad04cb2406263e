//! `lbctl reload`

use crate::args::ReloadArgs;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ReloadView, Request};
use std::process::ExitCode;

pub async fn run(args: ReloadArgs, context: &Context) -> Result<ExitCode, Failure> {
    let request = Request::Reload {
        force: args.force,
        dry_run: args.change.dry_run,
    };
    let done: ReloadView = context.client.ask(&request).await?;
    for warning in &done.warnings {
        say(&format!("warning: {warning}"));
    }
    context.print(&done, render::reload::reload)
}
