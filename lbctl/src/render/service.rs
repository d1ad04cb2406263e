//! Services.

use super::page::{Field, Page, numbers, words};
use super::words::{self as say, several};
use super::{human, real, status::traffic};
use lbcore::api::{ProxyView, RealState, ServiceView, ServicesView};
use std::time::Duration;

/// Draws `lbctl service list`.
pub fn list(view: &ServicesView, page: &mut Page) {
    let look = page.look.clone();
    let mut columns = vec![
        words("NAME"),
        words("ENDPOINTS"),
        words("MODE"),
        words("SCHEDULER"),
        words("STATE"),
        numbers("REALS UP"),
        numbers("FLOWS"),
    ];
    if look.wide {
        columns.extend([numbers("NEW"), numbers("PACKETS"), numbers("BYTES")]);
    }
    columns.push(words("REASON"));
    let rows = view.services.iter().map(|service| {
        let mut row: Vec<Field> = vec![
            service.name.as_str().into(),
            say::endpoints(service, &look).into(),
            service.mode.word().into(),
            service.scheduler.to_string().into(),
            say::service_state(service.state),
            reals_up(service).into(),
            human::count(service.flows).into(),
        ];
        if look.wide {
            row.extend(traffic(service.new_flows, service.packets, service.bytes));
        }
        row.push(service.state_reason.as_str().into());
        row
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}

/// `2/3`: reals that take flows, of all.
fn reals_up(service: &ServiceView) -> String {
    let up = |state| matches!(state, RealState::Up | RealState::Unchecked);
    let count = service.reals.iter().filter(|real| up(real.state)).count();
    format!("{count}/{}", service.reals.len())
}

/// Draws `lbctl service show`.
pub fn show(view: &ServiceView, page: &mut Page) {
    let endpoints: Vec<String> = view.endpoints.iter().map(ToString::to_string).collect();
    let labels: Vec<String> = view
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let state = format!("{}: {}", view.state, view.state_reason);
    let mut pairs = vec![("name", Field::from(view.name.as_str()))];
    if !view.description.is_empty() {
        pairs.push(("description", view.description.as_str().into()));
    }
    if !labels.is_empty() {
        pairs.push(("labels", labels.join(", ").into()));
    }
    pairs.extend([
        ("endpoints", Field::from(endpoints.join(", "))),
        ("protocol", view.protocol.to_string().into()),
        ("mode", view.mode.word().into()),
        ("scheduler", view.scheduler.to_string().into()),
        ("admin", say::admin(view.admin).into()),
        ("state", say::service_state(view.state).with_text(state)),
        ("checks", checks(view).into()),
        (
            "panic below",
            format!("{} up", say::several(view.min_healthy as usize, "real")).into(),
        ),
        (
            "sorry",
            view.sorry
                .map_or("-".into(), |sorry| sorry.to_string())
                .into(),
        ),
    ]);
    pairs.extend(view.proxy.iter().flat_map(proxy));
    pairs.push((
        "flows",
        Field::from(format!(
            "{} now, {} in all",
            human::count(view.flows),
            human::count(view.new_flows)
        )),
    ));
    // Of proxied tcp the payload says it.
    if view.packets.is_some() {
        let text = say::from_clients(view.packets, view.bytes);
        pairs.push(("from clients", text.into()));
    }
    page.pairs(pairs);
    page.gap();
    let reals = view.reals.iter().map(|real| (view.name.as_str(), real));
    real::table(reals, false, page);
}

/// How a tproxy service is proxied.
fn proxy(view: &ProxyView) -> Vec<(&'static str, Field)> {
    let dialled = match view.source.as_str() {
        "client" => "from the client's address".to_string(),
        _ => "from this host's own address".to_string(),
    };
    let header = match view.send_proxy.as_str() {
        "off" => String::new(),
        version => format!(", with a PROXY header ({version})"),
    };
    let others = match view.retries {
        0 => "no other is tried".to_string(),
        n => format!("then up to {} tried", several(n as usize, "other")),
    };
    let timeout = humantime::format_duration(Duration::from_millis(view.connect_timeout_ms));
    let mut pairs = vec![(
        "dialled",
        Field::from(format!("{dialled}{header}, within {timeout}, {others}")),
    )];
    if view.accept_proxy {
        let trusted: Vec<String> = view.trusted_sources.iter().map(|p| p.to_string()).collect();
        let text = format!("begin with a PROXY header, from {}", trusted.join(", "));
        pairs.push(("clients", text.into()));
    }
    let per_source = match view.max_connections_per_source {
        0 => String::new(),
        max => format!(", {} of one client", human::count(max.into())),
    };
    let bound = say::bound(view.max_connections);
    let open = human::count(view.connections);
    pairs.push((
        "connections",
        format!("{open} now, {bound}{per_source}").into(),
    ));
    let ended: Vec<String> = view
        .results
        .iter()
        .filter(|(_, count)| **count > 0)
        .map(|(result, count)| format!("{result} {}", human::count(*count)))
        .collect();
    if !ended.is_empty() {
        pairs.push(("ended", ended.join(", ").into()));
    }
    let (to, from) = (human::bytes(view.bytes_in), human::bytes(view.bytes_out));
    pairs.push((
        "payload",
        format!("{to} to reals, {from} to clients").into(),
    ));
    pairs
}

fn checks(view: &ServiceView) -> String {
    match view.checks.is_empty() {
        true => "none: reals are taken as up".into(),
        false => view.checks.join(", "),
    }
}
