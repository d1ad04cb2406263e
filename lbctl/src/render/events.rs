//! Events, a line each.

use super::page::{Page, Tone};
use super::words;
use lbcore::api::{EventView, Happening};

/// Draws one line of `lbctl events`.
pub fn event(view: &EventView, page: &mut Page) {
    let tone = match &view.what {
        Happening::Real { change, .. } => words::real_state(change.to).tone(),
        Happening::Service { to, .. } => words::service_state(*to).tone(),
        Happening::Vip { to, .. } => words::vip_state(*to).tone(),
        Happening::Reload { ok: false, .. } => Tone::Bad,
        Happening::Restored { .. } => Tone::Uneasy,
        _ => Tone::Plain,
    };
    page.toned_line(tone, &format!("{}  {}", view.at, view.what));
}
