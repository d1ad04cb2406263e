//! `lbctl flows`

use crate::args::FlowsArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{FlowFilter, FlowsView, MAX_FLOWS_LISTED, Request};
use std::process::ExitCode;

pub async fn run(args: FlowsArgs, context: &Context) -> Result<ExitCode, Failure> {
    let FlowsArgs {
        service,
        real,
        client,
        protocol,
        state,
        limit,
    } = args;
    let request = Request::Flows {
        filter: FlowFilter {
            service,
            real,
            client,
            protocol,
            state,
            limit: Some(limit),
        },
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
