//! `lbctl service`

use crate::args::ServiceCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{Request, ServiceView, ServicesView};
use std::process::ExitCode;

pub async fn run(command: ServiceCommand, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        ServiceCommand::List => {
            let fetch = async |c: &Client| c.ask::<ServicesView>(&Request::Services).await;
            context.show(fetch, render::service::list).await
        }
        ServiceCommand::Show { service } => {
            let request = Request::Service { service };
            let fetch = async |c: &Client| c.ask::<ServiceView>(&request).await;
            context.show(fetch, render::service::show).await
        }
    }
}
