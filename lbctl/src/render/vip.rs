//! VIPs and who answers for them.

use super::human;
use super::page::{Field, Page, Tone, numbers, words};
use super::words as say;
use lbcore::api::{VipView, VipsView};
use lbcore::vip::Hold;

/// Draws `lbctl vip list`, and what taking or releasing one has done.
pub fn list(view: &VipsView, page: &mut Page) {
    let look = page.look.clone();
    let mut columns = vec![
        words("VIP"),
        words("STATE"),
        words("INTERFACE"),
        words("MAC"),
        words("ANNOUNCED"),
        numbers("CONFLICTS"),
    ];
    if look.wide {
        columns.extend([words("POLICY"), words("CLAIMED BY"), words("SERVICES")]);
    }
    // Only where somebody said something.
    let held = view.vips.iter().any(|vip| vip.held != Hold::Default);
    if held {
        columns.push(words("BY COMMAND"));
    }
    columns.push(words("NOTE"));
    let rows = view.vips.iter().map(|vip: &VipView| {
        let ago = vip
            .last_announced
            .map(|at| human::ago(at.0, look.now) + " ago");
        let tone = if vip.conflicts > 0 {
            Tone::Bad
        } else {
            Tone::Plain
        };
        let mut row = vec![
            Field::from(vip.vip.to_string()),
            say::vip_state(vip.state),
            say::or_dash(vip.interface.as_deref()).into(),
            say::or_dash(vip.mac.as_deref()).into(),
            say::or_dash(ago.as_deref()).into(),
            Field::toned(human::count(vip.conflicts), tone),
        ];
        if look.wide {
            row.extend([
                Field::from(say::announce(vip.announce)),
                say::or_dash(vip.claimed_by.as_deref()).into(),
                vip.services.join(",").into(),
            ]);
        }
        if held {
            row.push(say::hold(vip.held).into());
        }
        row.push(vip.note.as_deref().unwrap_or_default().into());
        row
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}
