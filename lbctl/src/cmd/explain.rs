//! `lbctl explain`

use crate::args::ExplainArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{ExplainView, Request};
use std::process::ExitCode;

pub async fn run(args: ExplainArgs, context: &Context) -> Result<ExitCode, Failure> {
    let ExplainArgs {
        protocol,
        client,
        vip,
    } = args;
    let request = Request::Explain {
        protocol,
        client,
        vip,
    };
    let fetch = async |client: &Client| client.ask::<ExplainView>(&request).await;
    context.show(fetch, render::explain::explain).await
}
