//! `lbctl real`

use crate::args::{ChangeArgs, RealArgs, RealCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use crate::render::real::{RealList, RealOf};
use lbcore::api::{ChangeView, How, RealView, RealsView, Request, ServiceRef, ServicesView};
use lbcore::config::{Admin, Keys};
use std::time::{Duration, Instant};

/// How often a waiting drain looks again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
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
        RealCommand::Drain {
            real,
            wait,
            timeout,
            change,
        } => {
            let done = set(context, &real, wish(Admin::Drain), change).await?;
            match wait && !change.dry_run {
                true => until_empty(context, &real, timeout).await,
                false => Ok(done),
            }
        }
        RealCommand::Enable { real, change } => {
            set(context, &real, wish(Admin::Enabled), change).await
        }
        RealCommand::Disable { real, change } => {
            set(context, &real, wish(Admin::Disabled), change).await
        }
        RealCommand::Set {
            real,
            weight,
            change,
        } => {
            let keys = Keys::from_iter([("weight".to_owned(), weight.into())]);
            set(context, &real, keys, change).await
        }
    }
}

fn wish(admin: Admin) -> Keys {
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
    change: ChangeArgs,
) -> Result<ExitCode, Failure> {
    let request = Request::SetReal {
        service: args.service.clone(),
        real: args.real.clone(),
        keys,
        how: How {
            dry_run: change.dry_run,
            ..How::default()
        },
    };
    let done: ChangeView = context.client.ask(&request).await?;
    for warning in &done.warnings {
        say(&format!("warning: {warning}"));
    }
    if done.dry_run {
        say("a dry run: nothing was changed");
    }
    context.print(&done, render::change::changed)
}

/// Waits until the real has no flows left, telling on stderr how it goes.
async fn until_empty(
    context: &Context,
    args: &RealArgs,
    timeout: Option<Duration>,
) -> Result<ExitCode, Failure> {
    let began = Instant::now();
    let request = Request::Real {
        service: args.service.clone(),
        real: args.real.clone(),
    };
    let mut said = None;
    loop {
        let now: RealView = context.client.ask(&request).await?;
        if now.admin != Admin::Drain {
            let admin = render::words::admin(now.admin);
            return Err(Failure::DrainEnded {
                real: now.name,
                admin,
            });
        }
        if now.flows == 0 {
            say(&format!("{} is empty", now.name));
            return Ok(ExitCode::SUCCESS);
        }
        if said != Some(now.flows) {
            say(&format!(
                "{} has {} flows left",
                now.name,
                render::human::count(now.flows)
            ));
            said = Some(now.flows);
        }
        let waited = began.elapsed();
        let left = timeout.map_or(Duration::MAX, |timeout| timeout.saturating_sub(waited));
        if left.is_zero() {
            let waited = timeout.unwrap_or(waited);
            return Err(Failure::StillDraining {
                flows: now.flows,
                real: now.name,
                waited,
            });
        }
        tokio::time::sleep(left.min(LOOK_AGAIN)).await;
    }
}
