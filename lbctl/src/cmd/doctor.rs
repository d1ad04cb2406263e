//! `lbctl doctor`

use crate::args::DoctorArgs;
use crate::failure::Failure;
use crate::output::Context;
use crate::render;
use lbcore::api::{DoctorView, Request};
use std::process::ExitCode;

pub async fn run(args: DoctorArgs, context: &Context) -> Result<ExitCode, Failure> {
    let request = Request::Doctor {
        client: args.client,
    };
    let view: DoctorView = context.client.ask(&request).await?;
    context.print(&view, render::doctor::doctor)?;
    Ok(ExitCode::from(u8::from(!view.clean)))
}
