//! The text of `/metrics`.

use super::MetricsView;
use super::families::FAMILIES;
use prometheus::{Registry, TextEncoder};

/// The whole page: lbd's own metrics, then those of `registry` (checks count there).
///
/// # Errors
/// What the encoder says; it does not for these families.
pub fn render(view: &MetricsView, registry: &Registry) -> prometheus::Result<String> {
    let encoder = TextEncoder::new();
    let mut page = String::new();
    // One family at a time: with tens of thousands of reals, all at once would be as large again
    // as the page itself.
    for family in FAMILIES {
        if let Some(family) = family.collect(view) {
            encoder.encode_utf8(&[family], &mut page)?;
        }
    }
    encoder.encode_utf8(&registry.gather(), &mut page)?;
    Ok(page)
}
