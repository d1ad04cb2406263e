//! What a reload has done, or would do.

use super::page::Page;
use lbcore::api::ReloadView;

/// Draws `lbctl reload`.
pub fn reload(view: &ReloadView, page: &mut Page) {
    let ReloadView {
        revision,
        generation,
        changes,
        dry_run,
        plan,
        ..
    } = view;
    let outcome = match (dry_run, changes.is_empty()) {
        (true, true) => "the file is good; it would change nothing".to_string(),
        (true, false) => "the file is good; it would change:".to_string(),
        (false, true) => format!("the file is good; nothing changed (revision {revision})"),
        (false, false) => {
            format!("in force: revision {revision}, generation {generation}; changed:")
        }
    };
    page.line(&outcome);
    for change in changes {
        page.line(&format!("  {change}"));
    }
    if let Some(plan) = plan {
        let lines = plan.services.iter().flat_map(super::change::traffic);
        lines.for_each(|line| page.line(&format!("  {line}")));
    }
}
