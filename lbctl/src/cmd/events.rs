//! `lbctl events`

use crate::args::EventsArgs;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{EventView, Request, ServiceRef, ServiceView};
use std::process::ExitCode;

pub async fn run(args: EventsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let follow = args.follow || context.watches();
    let service = match args.service {
        // Events of a service that is gone by now have its name, too.
        Some(ServiceRef::Name(name)) => Some(name),
        Some(service) => {
            let request = Request::Service { service };
            Some(context.client.ask::<ServiceView>(&request).await?.name)
        }
        None => None,
    };
    let wanted = |event: &EventView| {
        let what = &event.what;
        (args.kind.is_empty() || args.kind.iter().any(|kind| kind == what.kind()))
            && (service.is_none() || service.as_deref() == what.service())
            && (args.real.is_none() || args.real.as_deref() == what.real())
    };
    let filters = service.is_some() || args.real.is_some() || !args.kind.is_empty();
    let hear = |line: &str| {
        if filters {
            let event = serde_json::from_str(line);
            let event = event.map_err(|e| context.client.bad_answer(e.to_string()))?;
            if !wanted(&event) {
                return Ok(());
            }
        }
        context.print_line(line, render::events::event).map(drop)
    };
    let request = Request::Events { follow };
    context.client.lines(&request, hear).await?;
    match follow {
        true => Err(Failure::StreamEnded),
        false => Ok(ExitCode::SUCCESS),
    }
}
