//! What a change has done.

use super::page::Page;
use lbcore::api::ChangeView;

/// Draws what a change has done, or would do.
pub fn changed(view: &ChangeView, page: &mut Page) {
    if view.changes.is_empty() {
        page.line("it was so already");
    }
    for change in &view.changes {
        page.line(change);
    }
}
