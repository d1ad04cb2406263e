//! `lbctl events`

use crate::args::EventsArgs;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::Request;
use std::process::ExitCode;

pub async fn run(args: EventsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let follow = args.follow || context.watches();
    let hear = |line: &str| context.print_line(line, render::events::event);
    let request = Request::Events { follow };
    context.client.lines(&request, hear).await?;
    match follow {
        true => Err(Failure::StreamEnded),
        false => Ok(ExitCode::SUCCESS),
    }
}
