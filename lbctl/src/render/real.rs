//! Real servers.

use super::page::{Field, Page, numbers, words};
use super::words as say;
use super::{human, status::traffic};
use lbcore::api::{HandshakesView, RealView, TransitionView};
use serde::Serialize;

/// Reals, each with the name of its service.
#[derive(Debug, Serialize)]
pub struct RealList {
    /// Services in file order, their reals in file order.
    pub reals: Vec<RealOf>,
}

/// A real with the name of its service beside its own keys.
#[derive(Debug, Serialize)]
pub struct RealOf {
    /// Name of the service.
    pub service: String,
    /// The real.
    #[serde(flatten)]
    pub real: RealView,
}

/// Draws `lbctl real list`.
pub fn list(view: &RealList, page: &mut Page) {
    table(
        view.reals.iter().map(|of| (of.service.as_str(), &of.real)),
        true,
        page,
    );
}

/// A table of reals, with or without the column of their services.
pub fn table<'a>(
    reals: impl Iterator<Item = (&'a str, &'a RealView)>,
    with_service: bool,
    page: &mut Page,
) {
    let look = page.look.clone();
    let mut columns = Vec::new();
    if with_service {
        columns.push(words("SERVICE"));
    }
    columns.extend([
        words("REAL"),
        words("ADDRESS"),
        words("STATE"),
        numbers("WEIGHT"),
        numbers("FLOWS"),
    ]);
    if look.wide {
        columns.extend([
            numbers("NEW"),
            numbers("PACKETS"),
            numbers("BYTES"),
            words("ADMIN"),
            words("MAC"),
            words("INTERFACE"),
        ]);
    }
    columns.extend([words("SINCE"), words("REASON")]);
    let rows = reals.map(|(service, real)| {
        let mut row: Vec<Field> = Vec::new();
        if with_service {
            row.push(service.into());
        }
        row.extend([
            Field::from(say::real_name(real)),
            say::real_place(real).into(),
            say::real_state(real.state),
            say::weight(real).into(),
            human::count(real.flows).into(),
        ]);
        if look.wide {
            row.extend(traffic(real.new_flows, real.packets, real.bytes));
            row.extend([
                Field::from(say::admin(real.admin)),
                say::or_dash(real.mac.as_deref()).into(),
                say::or_dash(real.interface.as_deref()).into(),
            ]);
        }
        row.push(say::since(real, &look).into());
        row.push(real.reason.as_str().into());
        row
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}

/// Draws `lbctl real show`.
pub fn show(view: &RealView, page: &mut Page) {
    let since = say::since(view, &page.look);
    let labels: Vec<String> = view
        .labels
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    let state = format!("{} for {since}: {}", view.state, view.reason);
    let mut pairs = vec![("name", Field::from(say::real_name(view)))];
    if !view.description.is_empty() {
        pairs.push(("description", view.description.as_str().into()));
    }
    if !labels.is_empty() {
        pairs.push(("labels", labels.join(", ").into()));
    }
    pairs.extend([
        ("address", Field::from(address(view))),
        ("state", say::real_state(view.state).with_text(state)),
        ("admin", say::admin(view.admin).into()),
        ("weight", weight(view).into()),
    ]);
    match view.dial {
        Some(dial) => pairs.push(("connections", say::bound(dial.max_connections).into())),
        None => pairs.extend([
            ("MAC", say::or_dash(view.mac.as_deref()).into()),
            ("interface", say::or_dash(view.interface.as_deref()).into()),
        ]),
    }
    pairs.extend([
        ("flows", flows(view).into()),
        (
            "from clients",
            say::from_clients(view.packets, view.bytes).into(),
        ),
    ]);
    if let Some(HandshakesView {
        completed,
        unanswered,
    }) = view.handshakes
    {
        let (completed, unanswered) = (human::count(completed), human::count(unanswered));
        let text = format!("{completed} completed, {unanswered} SYNs unanswered");
        pairs.push(("handshakes", text.into()));
    }
    for check in &view.checks {
        let text = format!("{}: {}, {}", check.check, check.state, check.reason);
        pairs.push(("check", say::real_state(check.state).with_text(text)));
    }
    for TransitionView { at, change } in &view.history {
        pairs.push(("history", format!("{at}  {change}").into()));
    }
    page.pairs(pairs);
}

/// What it has, what is in force, and what it says itself.
fn weight(view: &RealView) -> String {
    let (weight, now) = (view.weight, view.effective_weight);
    match view.observed_weight {
        Some(observed) => format!("{weight}, in use now {now}, by its own count {observed}"),
        None => format!("{weight}, in use now {now}"),
    }
}

fn address(view: &RealView) -> String {
    match view.dial {
        Some(dial) if dial.port.is_none() => {
            format!("{}, at the port the client dialled", view.address)
        }
        _ => format!("{}, port {}", view.address, view.port),
    }
}

fn flows(view: &RealView) -> String {
    format!(
        "{} now ({} of them active), {} in all",
        human::count(view.flows),
        human::count(view.active_flows),
        human::count(view.new_flows)
    )
}
