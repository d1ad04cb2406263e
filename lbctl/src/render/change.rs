//! What a change has done.

use super::human;
use super::page::Page;
use lbcore::api::{
    ChangeView, Fate, RealPlanChange, SavedState, SavedView, ServicePlan, ServicePlanChange,
};

/// Draws what a change has done, or would do.
pub fn changed(view: &ChangeView, page: &mut Page) {
    let untouched = view.saved.state == SavedState::Unchanged && view.diff.is_empty();
    let lines = view.changes.iter().map(String::as_str);
    match (view.changes.is_empty(), view.dry_run) {
        (true, _) if untouched => {
            page.line("it was so already");
            return;
        }
        (true, _) => page.line("it runs so already"),
        (false, true) => {
            page.line("it would change:");
            lines.for_each(|change| page.line(&format!("  {change}")));
        }
        (false, false) => lines.for_each(|change| page.line(change)),
    }
    for line in view.plan.services.iter().flat_map(traffic) {
        page.line(&line);
    }
    if let Some(line) = saved(&view.saved, view.dry_run) {
        page.line(&line);
    }
    if view.dry_run {
        view.diff.lines().for_each(|line| page.line(line));
    } else {
        let (revision, generation) = (view.revision, view.generation);
        page.line(&format!(
            "in force: revision {revision}, generation {generation}"
        ));
    }
}

/// What happens to the traffic of one service, a line each.
pub fn traffic(plan: &ServicePlan) -> Vec<String> {
    let ServicePlan {
        service,
        change,
        reals,
        slots,
        slots_moved,
        flows,
        flows_affected,
    } = plan;
    let mut lines = Vec::new();
    let mut told = 0;
    for real in reals.iter().filter(|real| real.flows > 0) {
        let (name, count) = (&real.real, human::count(real.flows));
        let its = match real.flows {
            1 => "its flow".to_owned(),
            _ => format!("its {count} flows"),
        };
        let fate = match (real.fate, real.change) {
            (Fate::Stay, _) => continue,
            (Fate::Linger, RealPlanChange::Removed) => {
                "linger as draining until they end (--now: at once)"
            }
            (Fate::Linger, _) => "may end by themselves; it gets no new ones",
            (Fate::End, _) => "are treated at once as after its death (see on_dead)",
        };
        told += real.flows;
        lines.push(format!("{service}/{name}: {its} {fate}"));
    }
    if *flows_affected > told {
        let (some, all) = (human::count(*flows_affected), human::count(*flows));
        lines.push(format!(
            "{service}: {some} of its {all} flows lose the VIP, port or mode they came by"
        ));
    }
    if *slots_moved > 0 && *slots > 0 && *change == ServicePlanChange::Changed {
        let share = f64::from(*slots_moved) * 100.0 / f64::from(*slots);
        lines.push(format!(
            "{service}: {share:.1} % of its Maglev slots lead elsewhere"
        ));
    }
    lines
}

/// Whether it is in the file; `None` where there is nothing to say of that.
pub fn saved(saved: &SavedView, dry_run: bool) -> Option<String> {
    let files = saved.files.join(", ");
    Some(match (saved.state, dry_run) {
        (SavedState::Unchanged | SavedState::Unconfirmed, _) => return None,
        (SavedState::Yes, true) => format!("it would be saved in {files}:"),
        (SavedState::Yes, false) => format!("saved in {files}"),
        (SavedState::Runtime, true) => "it would not be in the file (--runtime)".to_owned(),
        (SavedState::Runtime, false) => {
            "not in the file: it holds until the file changes the same key".to_owned()
        }
        (SavedState::No, _) => {
            let reason = saved.reason.as_deref().unwrap_or("no reason is known");
            format!("NOT SAVED, only running: {reason}")
        }
    })
}
