//! `lbctl status`

use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{Request, StatusView};
use std::process::ExitCode;

pub async fn run(context: &Context) -> Result<ExitCode, Failure> {
    let fetch =
        async |client: &crate::client::Client| client.ask::<StatusView>(&Request::Status).await;
    context.show(fetch, render::status::status).await
}
