//! Machines in all their services.

use super::human;
use super::page::{Field, Page, numbers, words};
use super::words as say;
use lbcore::api::{NodeRealView, NodeView, NodesView, RealState};

/// Draws `lbctl node list`.
pub fn list(view: &NodesView, page: &mut Page) {
    let wide = page.look.wide;
    let mut columns = vec![
        words("  SERVICE"),
        words("REAL"),
        words("STATE"),
        numbers("WEIGHT"),
        numbers("FLOWS"),
    ];
    if wide {
        columns.extend([numbers("PORT"), words("ADMIN")]);
    }
    columns.push(words("REASON"));
    let groups = view.nodes.iter().map(|node: &NodeView| {
        let rows = node.reals.iter().map(|real| row(real, wide)).collect();
        (heading(node), rows)
    });
    page.groups(&columns, groups.collect());
}

/// `192.0.2.21: in 2 services, 12 flows`
fn heading(node: &NodeView) -> Field {
    let mut services: Vec<&str> = node.reals.iter().map(|r| r.service.as_str()).collect();
    services.dedup();
    format!(
        "{}: in {}, {} flows",
        node.address,
        say::several(services.len(), "service"),
        human::count(node.flows)
    )
    .into()
}

fn row(real: &NodeRealView, wide: bool) -> Vec<Field> {
    let name = match real.removed {
        true => format!("{} (removed)", real.real),
        false => real.real.clone(),
    };
    let takes_flows = matches!(real.state, RealState::Up | RealState::Unchecked);
    let mut row = vec![
        format!("  {}", real.service).into(),
        name.into(),
        say::real_state(real.state),
        say::weight_of(real.weight, real.effective_weight, takes_flows).into(),
        human::count(real.flows).into(),
    ];
    if wide {
        row.extend([
            Field::from(real.port.to_string()),
            say::admin(real.admin).into(),
        ]);
    }
    row.push(real.reason.as_str().into());
    row
}
