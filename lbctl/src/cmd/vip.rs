//! `lbctl vip`

use crate::args::VipCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ApiError, ErrorCode, Request, VipState, VipVerb, VipView, VipsView};
use std::net::IpAddr;
use std::process::ExitCode;

pub async fn run(command: VipCommand, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        VipCommand::List => {
            let fetch = async |client: &Client| client.ask::<VipsView>(&Request::Vips).await;
            context.show(fetch, render::vip::list).await
        }
        VipCommand::Take { vip, change } => set(context, vip, VipVerb::Take, change.dry_run).await,
        VipCommand::Release { vip, change } => {
            set(context, vip, VipVerb::Release, change.dry_run).await
        }
    }
}

async fn set(
    context: &Context,
    vip: IpAddr,
    verb: VipVerb,
    dry_run: bool,
) -> Result<ExitCode, Failure> {
    if !dry_run {
        let done: VipsView = context.client.ask(&Request::Vip { vip, verb }).await?;
        let answered = |vip: &VipView| matches!(vip.state, VipState::Announced | VipState::Owned);
        if done
            .vips
            .iter()
            .any(|vip| answered(vip) != (verb == VipVerb::Take))
        {
            say("it takes effect within a second or two; see: lbctl vip list -w");
        }
        return context.print(&done, render::vip::list);
    }
    let VipsView { vips } = context.client.ask(&Request::Vips).await?;
    let mut known = vips.iter().filter(|view| view.vip == vip).peekable();
    if known.peek().is_none() {
        let error = ApiError::new(
            ErrorCode::NotFound,
            format!("no service uses the VIP {vip}"),
        );
        return Err(error.hint("see: lbctl vip list").into());
    }
    for now in known {
        let on = now.interface.as_deref().unwrap_or("no interface");
        let what = match verb {
            VipVerb::Take => "would be probed, then announced",
            VipVerb::Release => "would no longer be answered for; its traffic would stop coming",
        };
        say(&format!("{vip} on {on} (now {}) {what}", now.state));
    }
    Ok(ExitCode::SUCCESS)
}
