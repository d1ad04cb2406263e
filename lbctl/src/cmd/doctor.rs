//! `lbctl doctor`: lbd's own words, or what can be said without it.

use crate::args::{DoctorArgs, Global};
use crate::failure::Failure;
use crate::offline;
use crate::output::Context;
use crate::render;
use lbcore::api::{DoctorView, Request};
use std::process::ExitCode;

pub async fn run(args: DoctorArgs, global: Global) -> Result<ExitCode, Failure> {
    let socket = global.socket.clone();
    let context = Context::new(global);
    if args.offline {
        let view = offline::examine(None, &socket, &args.config).await;
        return print(&view, &context);
    }
    let request = Request::Doctor {
        client: args.client,
    };
    match context.client.ask::<DoctorView>(&request).await {
        Ok(view) => print(&view, &context),
        Err(failure @ (Failure::Unreachable { .. } | Failure::BadAnswer { .. })) => {
            let view = offline::examine(Some(&failure), &socket, &args.config).await;
            print(&view, &context)?;
            // Its exit code says that this is not lbd's own view.
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

fn print(view: &DoctorView, context: &Context) -> Result<ExitCode, Failure> {
    context.print(view, render::doctor::doctor)?;
    Ok(ExitCode::from(u8::from(!view.clean)))
}
