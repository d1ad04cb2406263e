//! Remembered flows and proxied connections.

use super::human;
use super::page::{Field, Page, numbers, words};
use lbcore::api::{ClearedView, FlowView, FlowsView};
use std::time::Duration;

/// Draws `lbctl flows`. The columns of proxied connections are there when there are some.
pub fn list(view: &FlowsView, page: &mut Page) {
    let proxied = view.flows.iter().any(|flow| flow.server.is_some());
    let mut columns = vec![
        words("SERVICE"),
        words("REAL"),
        words("PROTO"),
        words("CLIENT"),
        words("VIP"),
    ];
    if proxied {
        columns.push(words("SERVER"));
    }
    columns.push(words("STATE"));
    if proxied {
        columns.extend([numbers("IN"), numbers("OUT")]);
    }
    columns.extend([numbers("AGE"), numbers("IDLE"), numbers("EXPIRES")]);
    let rows = view.flows.iter().map(|flow| row(flow, proxied));
    page.table(&columns, rows.collect::<Vec<_>>());
}

/// Draws `lbctl flows clear`.
pub fn cleared(view: &ClearedView, page: &mut Page) {
    let ClearedView {
        forgotten,
        connections,
        sessions,
        dry_run,
    } = view;
    let would = if *dry_run { " would be" } else { "" };
    page.line(&format!(
        "{} flows{would} forgotten",
        human::count(*forgotten)
    ));
    if connections + sessions > 0 {
        page.line(&format!(
            "{} connections{would} reset, {} udp sessions{would} ended",
            human::count(*connections),
            human::count(*sessions)
        ));
    }
}

fn row(flow: &FlowView, proxied: bool) -> Vec<Field> {
    let or_dash = |text: Option<String>| Field::from(text.unwrap_or("-".into()));
    let for_ms = |ms| human::duration(Duration::from_millis(ms));
    let mut row = vec![
        Field::from(flow.service.as_str()),
        flow.real.as_str().into(),
        flow.protocol.to_string().into(),
        flow.client.to_string().into(),
        flow.vip.to_string().into(),
    ];
    if proxied {
        row.push(or_dash(flow.server.map(|server| server.to_string())));
    }
    row.push(flow.state.as_str().into());
    if proxied {
        row.extend([
            or_dash(flow.bytes_in.map(human::bytes)),
            or_dash(flow.bytes_out.map(human::bytes)),
        ]);
    }
    row.extend([
        or_dash(flow.age_ms.map(for_ms)),
        for_ms(flow.idle_ms).into(),
        or_dash(flow.expires_ms.map(for_ms)),
    ]);
    row
}
