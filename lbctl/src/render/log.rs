//! The filter of the log.

use super::human;
use super::page::{Page, Tone};
use lbcore::api::LogView;

/// Draws `lbctl log`, and what setting it has done.
pub fn log(view: &LogView, page: &mut Page) {
    let LogView {
        filter,
        configured,
        until,
        changes,
        dry_run,
    } = view;
    for change in changes {
        let would = if *dry_run { "would change: " } else { "" };
        page.line(&format!("{would}{change}"));
    }
    let as_configured = filter == configured && until.is_none();
    if as_configured {
        page.line(&format!("log filter: {filter}, as configured"));
        return;
    }
    let how_long = match until {
        Some(at) => {
            let left = at.0.duration_since(page.look.now).unwrap_or_default();
            format!("for {} more", human::duration(left))
        }
        None => "until lbd restarts, or: lbctl log reset".to_owned(),
    };
    page.toned_line(
        Tone::Uneasy,
        &format!("log filter: {filter}, {how_long}; the configuration says {configured}"),
    );
}
