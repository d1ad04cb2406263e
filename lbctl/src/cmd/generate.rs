//! `lbctl gen`: scripts on stdout. With `--config` no daemon is needed.

use super::config::BAD_CONFIG;
use crate::args::{Format, GenCommand, Global, RealserverArgs};
use crate::client::Client;
use crate::failure::Failure;
use crate::{files, output};
use lbcore::api::{ApiError, ErrorCode, Request, ServiceRef, ServiceView};
use lbcore::config::{Mode, SendProxy, Source};
use lbcore::realserver::{NoScript, Served, Verb, script};
use serde::Serialize;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;

/// The script, for programs.
#[derive(Serialize)]
struct ScriptReport {
    service: String,
    script: String,
}

pub async fn run(command: GenCommand, global: &Global) -> Result<ExitCode, Failure> {
    match command {
        GenCommand::Realserver(args) => realserver(args, global).await,
    }
}

async fn realserver(args: RealserverArgs, global: &Global) -> Result<ExitCode, Failure> {
    let served = match &args.config {
        Some(file) => match of_file(file, &args.service)? {
            Some(served) => served,
            None => return Ok(ExitCode::from(BAD_CONFIG)),
        },
        None => of_running(&Client::new(global.socket.clone()), args.service).await?,
    };
    let verb = match (args.persist, args.undo) {
        (true, _) => Verb::Persist,
        (_, true) => Verb::Undo,
        _ => Verb::Apply,
    };
    let script = script(&served, &args.gateway, verb).map_err(no_script)?;
    match global.output {
        Format::Json => output::write_json(&ScriptReport {
            service: served.name,
            script,
        })?,
        Format::Table | Format::Wide => output::write(&script)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn no_script(reason: NoScript) -> Failure {
    let error = ApiError::new(
        ErrorCode::BadRequest,
        format!("{reason}; nothing was printed"),
    );
    Failure::Refused(match reason {
        NoScript::NoGateway { .. } => error.hint("--gateway ADDRESS, once for each family"),
        NoScript::SpareGateway { .. } => error,
    })
}

/// The service in a file; `None`: the file is bad, and that was said.
fn of_file(file: &Path, wanted: &ServiceRef) -> Result<Option<Served>, Failure> {
    let Some(config) = files::good(file)? else {
        return Ok(None);
    };
    let services = &config.services;
    let found = services
        .iter()
        .find(|s| wanted.matches(&s.name, &s.vips, &s.ports, s.protocol));
    let known: Vec<&str> = services.iter().map(|s| &*s.name).collect();
    let found = found.ok_or_else(|| ApiError::no_such_service(wanted, &known))?;
    Ok(Some(Served::of(found)))
}

async fn of_running(client: &Client, service: ServiceRef) -> Result<Served, Failure> {
    let view: ServiceView = client.ask(&Request::Service { service }).await?;
    let mut vips: Vec<IpAddr> = Vec::new();
    for endpoint in &view.endpoints {
        if !vips.contains(&endpoint.ip()) {
            vips.push(endpoint.ip());
        }
    }
    let mut reals = Vec::new();
    for real in view.reals.iter().filter(|real| !real.removed) {
        let own = real.dial.and_then(|dial| dial.port);
        let ports: Vec<u16> = match own {
            Some(port) => vec![port],
            None => ports(&view.endpoints),
        };
        reals.extend(ports.into_iter().map(|p| SocketAddr::new(real.address, p)));
    }
    let proxy = view.proxy.as_ref();
    let source = proxy.map(|p| p.source.as_str());
    let send_proxy = proxy.map(|p| p.send_proxy.as_str());
    Ok(Served {
        name: view.name.clone(),
        mode: view.mode,
        protocol: view.protocol,
        vips,
        reals,
        source: match source {
            Some(word) if view.mode == Mode::Tproxy && word == Source::OwnAddress.word() => {
                Source::OwnAddress
            }
            _ => Source::Client,
        },
        send_proxy: [SendProxy::V1, SendProxy::V2]
            .into_iter()
            .find(|version| send_proxy == Some(version.word()))
            .unwrap_or(SendProxy::Off),
    })
}

fn ports(endpoints: &[SocketAddr]) -> Vec<u16> {
    let mut ports: Vec<u16> = endpoints.iter().map(SocketAddr::port).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}
