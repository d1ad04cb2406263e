//! Checks that were run at once.

use super::page::{Page, Tone};
use lbcore::api::{CheckNowResult, CheckNowView};

/// Draws one line of `lbctl check now`:
/// `web/rs1 http: pass: http 200 in 1.2 ms (this check: up, the real: up)`.
pub fn line(view: &CheckNowView, page: &mut Page) {
    let CheckNowView {
        service,
        real,
        check,
        result,
        reason,
        ..
    } = view;
    let (tone, word) = match result {
        CheckNowResult::Pass => (Tone::Good, "pass"),
        CheckNowResult::Drain => (Tone::Uneasy, "wants no new flows"),
        CheckNowResult::Fail => (Tone::Bad, "FAIL"),
        CheckNowResult::OwnTrouble => (Tone::Uneasy, "could not ask, counts for nothing"),
        CheckNowResult::NotAsked => (Tone::Quiet, "not asked"),
        CheckNowResult::Late => (Tone::Bad, "NO RESULT"),
        CheckNowResult::WouldAsk => (Tone::Plain, "would be asked"),
    };
    let mut text = format!("{service}/{real}");
    if !check.is_empty() {
        text.push_str(&format!(" {check}"));
    }
    text.push_str(&format!(": {word}"));
    if !reason.is_empty() {
        text.push_str(&format!(": {reason}"));
    }
    if let (Some(check), Some(real)) = (view.check_state, view.real_state) {
        text.push_str(&format!(
            " (this check: {}, the real: {})",
            check.word(),
            real.word()
        ));
    }
    page.toned_line(tone, &text);
}
