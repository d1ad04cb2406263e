//! `lbctl log`

use crate::args::LogCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{LogView, Request};
use std::process::ExitCode;

pub async fn run(command: Option<LogCommand>, context: &Context) -> Result<ExitCode, Failure> {
    let request = match command {
        None => {
            let fetch = async |client: &Client| client.ask::<LogView>(&Request::Log).await;
            return context.show(fetch, render::log::log).await;
        }
        Some(LogCommand::Set {
            level,
            length,
            change,
        }) => Request::SetLog {
            filter: Some(level),
            for_ms: length.map(|l| u64::try_from(l.as_millis()).unwrap_or(u64::MAX)),
            dry_run: change.dry_run,
        },
        Some(LogCommand::Reset { change }) => Request::SetLog {
            filter: None,
            for_ms: None,
            dry_run: change.dry_run,
        },
    };
    let done: LogView = context.client.ask(&request).await?;
    context.print(&done, render::log::log)
}
