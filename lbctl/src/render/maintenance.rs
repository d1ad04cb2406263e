//! Maintenance.

use super::human;
use super::page::{Page, Tone};
use super::words::several;
use lbcore::api::{InMaintenance, MaintenanceView};
use std::time::SystemTime;

/// Draws `lbctl maintenance`, and what beginning or ending it has done.
pub fn maintenance(view: &MaintenanceView, page: &mut Page) {
    for change in &view.changes {
        let would = if view.dry_run { "would change: " } else { "" };
        page.line(&format!("{would}{change}"));
    }
    let flows = human::count(view.flows);
    let vips = several(view.vips.len(), "VIP");
    if view.dry_run {
        page.line(&match (view.maintenance, view.changes.is_empty()) {
            (_, true) => "it is so already".to_owned(),
            (false, false) => format!(
                "{vips} would be released, new flows dropped; the {flows} flows there are would go on"
            ),
            (true, false) => format!("{vips} would be held as before, new flows taken"),
        });
        return;
    }
    match &view.begun {
        Some(begun) => {
            let text = format!("IN MAINTENANCE {}", since(begun, page.look.now));
            page.toned_line(Tone::Bad, &text);
            page.line(&format!(
                "{vips} released, new flows are dropped, {flows} flows go on"
            ));
            page.line("end it: lbctl maintenance off");
        }
        None => page.line(&format!(
            "not in maintenance: new flows are taken, {flows} flows run"
        )),
    }
}

/// `for 5m 3s, by uid 0`.
pub fn since(begun: &InMaintenance, now: SystemTime) -> String {
    let since = match begun.since {
        Some(at) => format!("for {}", human::ago(at.0, now)),
        None => "since a time that is not known".to_owned(),
    };
    match begun.by_uid {
        Some(uid) => format!("{since}, by uid {uid}"),
        None => since,
    }
}
