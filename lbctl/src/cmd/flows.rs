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
        limit,
    } = args;
    let request = Request::Flows {
        filter: FlowFilter {
            service,
            real,
            client,
            limit: Some(limit),
        },
    };
    let fetch = async |client: &Client| {
        let view: FlowsView = client.ask(&request).await?;
        if view.truncated {
            say(&format!(
                "more flows than these {}: narrow it down, or --limit N (at most {MAX_FLOWS_LISTED})",
                view.flows.len()
            ));
        }
        Ok(view)
    };
    context.show(fetch, render::flows::list).await
}
