//! Why a packet goes where it goes.

use super::human;
use super::page::{Field, Page, Tone, numbers, words};
use super::words as say;
use lbcore::api::{ExplainView, Verdict};

/// Draws `lbctl explain`: the verdict first, then how it comes about, then why not the others.
pub fn explain(view: &ExplainView, page: &mut Page) {
    let ExplainView {
        protocol,
        client,
        vip,
        ..
    } = view;
    page.line(&format!("{protocol} {client} -> {vip}"));
    let (tone, verdict) = verdict(view);
    page.toned_line(tone, &verdict);
    page.gap();
    for (number, step) in view.steps.iter().enumerate() {
        page.line(&format!("{:>3}. {step}", number + 1));
    }
    if view.candidates.is_empty() {
        return;
    }
    page.gap();
    let columns = [
        words("REAL"),
        words("ADDRESS"),
        words("STATE"),
        numbers("WEIGHT"),
        numbers("FLOWS"),
        words("WHY"),
    ];
    let rows = view.candidates.iter().map(|candidate| {
        let why = match &candidate.why_not {
            _ if candidate.chosen => Field::toned("chosen", Tone::Good),
            Some(why_not) => format!("not: {why_not}").into(),
            None => "".into(),
        };
        vec![
            Field::from(candidate.name.as_str()),
            say::place(candidate.address, candidate.port).into(),
            say::real_state(candidate.state),
            candidate.weight.to_string().into(),
            human::count(candidate.flows).into(),
            why,
        ]
    });
    page.table(&columns, rows.collect::<Vec<_>>());
}

fn verdict(view: &ExplainView) -> (Tone, String) {
    match view.verdict {
        Verdict::Forward => {
            let to = view.real.as_deref().unwrap_or("?");
            let mac = view
                .mac
                .as_deref()
                .map_or(String::new(), |mac| format!(" at {mac}"));
            let out = view
                .interface
                .as_deref()
                .map_or(String::new(), |out| format!(" via {out}"));
            (Tone::Good, format!("forward to {to}{mac}{out}"))
        }
        Verdict::Proxy => {
            let to = view.real.as_deref().unwrap_or("?");
            let at = view
                .server
                .map_or(String::new(), |server| format!(" at {server}"));
            let from = view
                .source
                .map_or("this host's own address".to_string(), |s| s.to_string());
            (Tone::Good, format!("dial {to}{at} from {from}"))
        }
        Verdict::Refuse => (
            Tone::Bad,
            format!("refuse: {}", view.drop_reason.as_deref().unwrap_or("?")),
        ),
        Verdict::Pass => (Tone::Plain, "pass to this host's own stack".into()),
        Verdict::Drop => (
            Tone::Bad,
            format!("drop: {}", view.drop_reason.as_deref().unwrap_or("?")),
        ),
    }
}
