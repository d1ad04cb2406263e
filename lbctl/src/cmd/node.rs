//! `lbctl node`

use super::real::wish;
use super::wait::until_none;
use crate::args::NodeCommand;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Context, say};
use crate::render;
use lbcore::api::{ChangeView, How, NodeView, NodesView, Request};
use lbcore::config::Admin;
use std::net::IpAddr;
use std::process::ExitCode;

pub async fn run(command: NodeCommand, context: &Context) -> Result<ExitCode, Failure> {
    match command {
        NodeCommand::List { address } => {
            let fetch = async |client: &Client| match address {
                None => client.ask::<NodesView>(&Request::Nodes).await,
                Some(address) => {
                    let node: NodeView = client.ask(&Request::Node { address }).await?;
                    Ok(NodesView { nodes: vec![node] })
                }
            };
            context.show(fetch, render::node::list).await
        }
        NodeCommand::Drain {
            address,
            wait,
            change,
        } => {
            let done = set(context, address, Admin::Drain, change.dry_run).await?;
            if !wait.wait || change.dry_run {
                return Ok(done);
            }
            let flows = async || draining(context, address).await;
            until_none(&address.to_string(), wait, flows).await
        }
        NodeCommand::Enable { address, change } => {
            set(context, address, Admin::Enabled, change.dry_run).await
        }
        NodeCommand::Disable { address, change } => {
            set(context, address, Admin::Disabled, change.dry_run).await
        }
    }
}

async fn set(
    context: &Context,
    address: IpAddr,
    admin: Admin,
    dry_run: bool,
) -> Result<ExitCode, Failure> {
    let request = Request::SetNode {
        address,
        keys: wish(admin),
        how: How {
            dry_run,
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

/// The flows that a machine still has in all services, while nobody has ended its draining in one.
async fn draining(context: &Context, address: IpAddr) -> Result<u64, Failure> {
    let node: NodeView = context.client.ask(&Request::Node { address }).await?;
    let ended = |real: &&lbcore::api::NodeRealView| !real.removed && real.admin != Admin::Drain;
    match node.reals.iter().find(ended) {
        Some(real) => Err(Failure::DrainEnded {
            real: format!("{address} in {}", real.service),
            admin: render::words::admin(real.admin),
        }),
        None => Ok(node.flows),
    }
}
