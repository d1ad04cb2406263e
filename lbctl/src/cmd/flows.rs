//! `lbctl flows`

use crate::args::{FlowsArgs, FlowsCommand, WhichFlows};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ClearedView, FlowFilter, FlowsView, MAX_FLOWS_LISTED, Request};
use std::process::ExitCode;

pub async fn run(args: FlowsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let FlowsArgs {
        command,
        which,
        limit,
    } = args;
    if let Some(FlowsCommand::Clear { which, all, change }) = command {
        return clear(which, all, change.dry_run, context).await;
    }
    let request = Request::Flows {
        filter: filter(which, Some(limit)),
    };
    let fetch = async |client: &Client| {
        let view: FlowsView = client.ask(&request).await?;
        if view.truncated {
            let shown = view.flows.len() as u64;
            let all = match view.matched > shown {
                true => format!("of {} flows", view.matched),
                false => "and there are more".to_owned(),
            };
            say(&format!(
                "{shown} {all}: narrow it down, or --limit N (at most {MAX_FLOWS_LISTED})"
            ));
        }
        Ok(view)
    };
    context.show(fetch, render::flows::list).await
}

fn filter(which: WhichFlows, limit: Option<usize>) -> FlowFilter {
    let WhichFlows {
        service,
        real,
        client,
        protocol,
        state,
    } = which;
    FlowFilter {
        service,
        real,
        client,
        protocol,
        state,
        limit,
    }
}

async fn clear(
    which: WhichFlows,
    all: bool,
    dry_run: bool,
    context: &Context,
) -> Result<ExitCode, Failure> {
    let request = Request::ClearFlows {
        filter: filter(which, None),
        all,
        dry_run,
    };
    let done: ClearedView = context.client.ask(&request).await?;
    context.print(&done, render::flows::cleared)
}
