//! `lbctl health`: for track scripts (keepalived, BIRD).

use crate::args::HealthArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Context;
use crate::render::{Page, Tone};
use lbcore::api::{MaintenanceView, Request, ServiceRef, ServiceState, ServiceView, StatusView};
use serde::Serialize;
use std::process::ExitCode;

/// Whether clients are served, and why or why not.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Health {
    serving: bool,
    reason: String,
}

pub async fn run(args: HealthArgs, context: &Context) -> Result<ExitCode, Failure> {
    let fetch = async |client: &Client| look(client, args.service.as_ref()).await;
    if context.watches() {
        return context.show(fetch, draw).await;
    }
    let health = fetch(&context.client).await?;
    context.print(&health, draw)?;
    Ok(ExitCode::from(u8::from(!health.serving)))
}

async fn look(client: &Client, service: Option<&ServiceRef>) -> Result<Health, Failure> {
    let Some(service) = service.cloned() else {
        return Ok(of_all(&client.ask(&Request::Status).await?));
    };
    let service = client.ask(&Request::Service { service }).await?;
    let here = client.ask(&Request::Maintenance).await?;
    Ok(of_service(&service, &here))
}

fn of_service(service: &ServiceView, here: &MaintenanceView) -> Health {
    let ServiceView {
        name,
        state,
        state_reason,
        ..
    } = service;
    let mut reason = format!("{name} is {state}: {state_reason}");
    if here.maintenance {
        reason.push_str("; this lbd is in maintenance");
    }
    Health {
        serving: state.serves() && !here.maintenance,
        reason,
    }
}

/// All of lbd serves when it is ready and at least one service does: a track script that fails
/// over because one of ten services has no reals would only move the trouble to the peer.
fn of_all(status: &StatusView) -> Health {
    if !status.ready {
        return Health {
            serving: false,
            reason: format!("not ready: {}", status.ready_reason),
        };
    }
    let down: Vec<&str> = status
        .services
        .iter()
        .filter(|service| service.state == ServiceState::Down)
        .map(|service| service.name.as_str())
        .collect();
    let all = status.services.len();
    let serving = all == 0 || down.len() < all;
    let reason = match down.is_empty() {
        true => format!("{all} of {all} services"),
        false => format!(
            "{} of {all} services; down: {}",
            all - down.len(),
            down.join(", ")
        ),
    };
    Health { serving, reason }
}

fn draw(health: &Health, page: &mut Page) {
    let (tone, word) = if health.serving {
        (Tone::Good, "serving")
    } else {
        (Tone::Bad, "not serving")
    };
    page.toned_line(tone, &format!("{word}: {}", health.reason));
}
