//! `lbctl service`

use super::change::{make, patch};
use crate::args::ServiceCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{Request, ServiceView, ServicesView};
use lbcore::config::Keys;
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
        ServiceCommand::Add {
            new,
            endpoint,
            keys,
            how,
        } => {
            let mut all = Keys::from_iter([
                ("name".to_owned(), new.into()),
                ("vip".to_owned(), endpoint.vip.ip().to_string().into()),
                ("port".to_owned(), endpoint.port.into()),
                ("protocol".to_owned(), endpoint.protocol.to_string().into()),
            ]);
            all.extend(keys.0);
            let how = how.into();
            make(context, Request::AddService { keys: all, how }).await
        }
        ServiceCommand::Set {
            service,
            keys,
            unset,
            how,
        } => {
            let request = Request::SetService {
                service,
                keys: patch(keys.0, unset)?,
                how: how.into(),
            };
            make(context, request).await
        }
        ServiceCommand::Remove { service, away } => {
            let how = away.into();
            make(context, Request::RemoveService { service, how }).await
        }
    }
}
