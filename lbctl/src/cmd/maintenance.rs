//! `lbctl maintenance`

use super::wait::until_none;
use crate::args::MaintenanceCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{MaintenanceView, Request};
use std::process::ExitCode;

pub async fn run(
    command: Option<MaintenanceCommand>,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let draw = render::maintenance::maintenance;
    let (on, dry_run, wait) = match command {
        None => {
            let fetch = async |client: &Client| {
                let request = Request::Maintenance;
                client.ask::<MaintenanceView>(&request).await
            };
            return context.show(fetch, draw).await;
        }
        Some(MaintenanceCommand::On { wait, change }) => (true, change.dry_run, Some(wait)),
        Some(MaintenanceCommand::Off { change }) => (false, change.dry_run, None),
    };
    let request = Request::SetMaintenance { on, dry_run };
    let done: MaintenanceView = context.client.ask(&request).await?;
    for warning in &done.warnings {
        say(&format!("warning: {warning}"));
    }
    let code = context.print(&done, draw)?;
    let Some(wait) = wait.filter(|wait| wait.wait && !dry_run) else {
        return Ok(code);
    };
    let flows = async || {
        let now: MaintenanceView = context.client.ask(&Request::Maintenance).await?;
        match now.maintenance {
            true => Ok(now.flows),
            false => Err(Failure::MaintenanceEnded),
        }
    };
    until_none("this lbd", wait, flows).await
}
