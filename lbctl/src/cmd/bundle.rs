//! `lbctl bundle`

use crate::args::BundleArgs;
use crate::bundle::{self, Wanted};
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use std::process::ExitCode;
use std::time::SystemTime;

pub async fn run(args: BundleArgs, context: &Context) -> Result<ExitCode, Failure> {
    let wanted = Wanted {
        file: args.file,
        config: args.config,
        with_clients: args.with_clients,
    };
    let made = bundle::make(&context.client, &wanted, SystemTime::now()).await?;
    let code = context.print(&made, render::bundle::made)?;
    say("look through it before you send it: only you know what else should stay with you");
    Ok(code)
}
