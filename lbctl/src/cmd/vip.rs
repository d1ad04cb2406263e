//! `lbctl vip`

use crate::args::{VipArgs, VipCommand};
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ApiError, ErrorCode, Request, VipState, VipVerb, VipView, VipsView};
use std::net::IpAddr;
use std::process::ExitCode;

pub async fn run(command: VipCommand, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        VipCommand::List { vip } => {
            let fetch = async |client: &Client| list(client, vip).await;
            context.show(fetch, render::vip::list).await
        }
        VipCommand::Take(args) => set(context, args, VipVerb::Take).await,
        VipCommand::Release(args) => set(context, args, VipVerb::Release).await,
        VipCommand::Auto(args) => set(context, args, VipVerb::Auto).await,
    }
}

async fn list(client: &Client, vip: Option<IpAddr>) -> Result<VipsView, Failure> {
    let mut view: VipsView = client.ask(&Request::Vips).await?;
    if let Some(vip) = vip {
        view.vips.retain(|view| view.vip == vip);
        if view.vips.is_empty() {
            let words = format!("no service has the VIP {vip}");
            let error = ApiError::new(ErrorCode::NotFound, words);
            return Err(error.hint("lbctl vip list shows them all").into());
        }
    }
    Ok(view)
}

async fn set(context: &Context, args: VipArgs, verb: VipVerb) -> Result<ExitCode, Failure> {
    let dry_run = args.change.dry_run;
    let request = Request::Vip {
        vip: args.vip,
        verb,
        dry_run,
    };
    let done: VipsView = context.client.ask(&request).await?;
    if done.changes.is_empty() {
        say("it is so already");
    }
    for change in &done.changes {
        say(&format!(
            "{}{change}",
            if dry_run { "would change: " } else { "" }
        ));
    }
    let answered = |vip: &VipView| matches!(vip.state, VipState::Announced | VipState::Owned);
    let settled = |vip: &VipView| match verb {
        VipVerb::Take => answered(vip),
        VipVerb::Release => !answered(vip),
        VipVerb::Auto => done.changes.is_empty(),
    };
    if !dry_run && !done.vips.iter().all(settled) {
        say("it takes effect within a second or two; see: lbctl vip list -w");
    }
    context.print(&done, render::vip::list)
}
