//! Remembered flows.

use super::human;
use super::page::{Field, Page, numbers, words};
use lbcore::api::FlowsView;
use std::time::Duration;

/// Draws `lbctl flows`.
pub fn list(view: &FlowsView, page: &mut Page) {
    let columns = [
        words("SERVICE"),
        words("REAL"),
        words("PROTO"),
        words("CLIENT"),
        words("VIP"),
        words("STATE"),
        numbers("IDLE"),
    ];
    let rows = view.flows.iter().map(|flow| {
        vec![
            Field::from(flow.service.as_str()),
            flow.real.as_str().into(),
            flow.protocol.to_string().into(),
            flow.client.to_string().into(),
            flow.vip.to_string().into(),
            flow.state.as_str().into(),
            human::duration(Duration::from_millis(flow.idle_ms)).into(),
        ]
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}
