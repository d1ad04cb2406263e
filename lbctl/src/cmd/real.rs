//! `lbctl real`

use super::change::{make, patch};
use super::wait::until_none;
use crate::args::{HowArgs, RealArgs, RealCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use crate::render::real::{RealList, RealOf};
use lbcore::api::{RealView, RealsView, Request, ServiceRef, ServicesView};
use lbcore::config::{Admin, Keys};
use std::process::ExitCode;

pub async fn run(command: RealCommand, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        RealCommand::List { service } => {
            let fetch = async |client: &Client| list(client, service.as_ref()).await;
            context.show(fetch, render::real::list).await
        }
        RealCommand::Show(RealArgs { service, real }) => {
            let request = Request::Real { service, real };
            let fetch = async |client: &Client| client.ask::<RealView>(&request).await;
            context.show(fetch, render::real::show).await
        }
        RealCommand::Drain { real, wait, how } => {
            let done = set(context, &real, wish(Admin::Drain), how).await?;
            if !wait.wait || how.dry_run {
                return Ok(done);
            }
            let whose = format!("{}/{}", real.service, real.real);
            let flows = async || draining(context, &real).await;
            until_none(&whose, wait, flows).await
        }
        RealCommand::Enable { real, how } => set(context, &real, wish(Admin::Enabled), how).await,
        RealCommand::Disable { real, how } => set(context, &real, wish(Admin::Disabled), how).await,
        RealCommand::Add {
            service,
            place: (address, port),
            keys,
            how,
        } => {
            let mut all = Keys::from_iter([("address".to_owned(), address.to_string().into())]);
            all.extend(port.map(|port| ("port".to_owned(), port.into())));
            all.extend(keys.0);
            let request = Request::AddReal {
                service,
                keys: all,
                how: how.into(),
            };
            make(context, request).await
        }
        RealCommand::Set {
            real,
            keys,
            unset,
            how,
        } => set(context, &real, patch(keys.0, unset)?, how).await,
        RealCommand::Remove {
            real: RealArgs { service, real },
            away,
        } => {
            let request = Request::RemoveReal {
                service,
                real,
                how: away.into(),
            };
            make(context, request).await
        }
    }
}

pub(super) fn wish(admin: Admin) -> Keys {
    Keys::from_iter([("admin".to_owned(), admin.word().into())])
}

async fn list(client: &Client, service: Option<&ServiceRef>) -> Result<RealList, Failure> {
    let of_service = |service: &str, reals: Vec<RealView>| {
        let service = service.to_string();
        reals.into_iter().map(move |real| RealOf {
            service: service.clone(),
            real,
        })
    };
    let reals = match service {
        Some(service) => {
            let request = Request::Reals {
                service: service.clone(),
            };
            let RealsView { service, reals } = client.ask(&request).await?;
            of_service(&service, reals).collect()
        }
        None => {
            let ServicesView { services } = client.ask(&Request::Services).await?;
            services
                .into_iter()
                .flat_map(|s| of_service(&s.name, s.reals))
                .collect()
        }
    };
    Ok(RealList { reals })
}

async fn set(
    context: &Context,
    args: &RealArgs,
    keys: Keys,
    how: HowArgs,
) -> Result<ExitCode, Failure> {
    let request = Request::SetReal {
        service: args.service.clone(),
        real: args.real.clone(),
        keys,
        how: how.into(),
    };
    make(context, request).await
}

/// The flows that a real still has, while nobody has ended its draining.
async fn draining(context: &Context, args: &RealArgs) -> Result<u64, Failure> {
    let request = Request::Real {
        service: args.service.clone(),
        real: args.real.clone(),
    };
    let now: RealView = context.client.ask(&request).await?;
    match now.admin {
        Admin::Drain => Ok(now.flows),
        admin => Err(Failure::DrainEnded {
            real: now.name,
            admin: render::words::admin(admin),
        }),
    }
}
