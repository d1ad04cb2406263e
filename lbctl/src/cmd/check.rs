//! `lbctl check`

use crate::args::{CheckCommand, CheckNowArgs};
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{CheckNowResult, CheckNowView, Request};
use std::process::ExitCode;

/// What `lbctl` exits with when a check had no turn.
const TIMED_OUT: u8 = 7;

pub async fn run(command: CheckCommand, context: &Context) -> Result<ExitCode, Failure> {
    let CheckCommand::Now(CheckNowArgs {
        service,
        real,
        change,
    }) = command;
    let request = Request::CheckNow {
        service,
        real,
        dry_run: change.dry_run,
    };
    let mut code = 0;
    let hear = |line: &str| {
        let view: CheckNowView = context.print_line(line, render::check_now::line)?;
        code = code.max(match view.result {
            CheckNowResult::Pass | CheckNowResult::WouldAsk | CheckNowResult::NotAsked => 0,
            CheckNowResult::Drain | CheckNowResult::Fail | CheckNowResult::OwnTrouble => 1,
            CheckNowResult::Late => TIMED_OUT,
        });
        Ok(())
    };
    context.client.lines(&request, hear).await?;
    Ok(ExitCode::from(code))
}
