//! Whole configurations: their texts, their history, how they differ.

use super::page::{Field, Page, Tone, numbers, words};
use super::{change, human};
use lbcore::api::{
    ChangeView, ConfigDiffView, ConfigView, HistoryView, RevisionResult, RevisionView, printable,
};

/// Changes of one revision that are shown; -o wide and JSON have all.
const CHANGES_SHOWN: usize = 3;

/// Draws what `apply`, `confirm` and `undo` have done.
pub fn changed(view: &ChangeView, page: &mut Page) {
    change::changed(view, page);
    if let Some(unconfirmed) = &view.unconfirmed {
        let (revision, seconds) = (unconfirmed.revision, unconfirmed.seconds_left);
        page.toned_line(
            Tone::Uneasy,
            &format!(
                "revision {revision} is in force for {seconds} s, and not in the file yet; then \
                 revision {} comes back",
                unconfirmed.back_to
            ),
        );
        page.line("to keep it: lbctl config confirm; to take it back now: lbctl config undo");
    }
}

/// `lbctl config show`: TOML that can be applied again, byte for byte. On a terminal nothing in it
/// moves the cursor.
pub fn show(view: &ConfigView, terminal: bool) -> String {
    let several = view.files.len() > 1;
    let mut text = String::new();
    for file in &view.files {
        if several {
            text.push_str(&format!(
                "# {}\n",
                printable(&file.path.display().to_string())
            ));
        }
        match terminal {
            false => text.push_str(&file.text),
            true => {
                for line in file.text.split_inclusive('\n') {
                    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
                    let tabs = line.split('\t').map(printable).collect::<Vec<_>>();
                    text.push_str(&tabs.join("\t"));
                    text.push_str(end);
                }
            }
        }
    }
    text
}

/// Draws `lbctl config diff`.
pub fn diff(view: &ConfigDiffView, page: &mut Page) {
    if view.same {
        let words = match view.diff.is_empty() {
            true => "is what runs",
            false => "says what runs, in other words",
        };
        page.line(&format!(
            "{} {words} (revision {})",
            view.with, view.revision
        ));
    } else {
        page.line(&format!(
            "if {} ran instead of revision {}:",
            view.with, view.revision
        ));
        view.changes
            .iter()
            .for_each(|change| page.line(&format!("  {change}")));
        let lines = view.plan.services.iter().flat_map(change::traffic);
        lines.for_each(|line| page.line(&format!("  {line}")));
    }
    if !view.diff.is_empty() {
        page.gap();
        texts(&view.diff, page);
    }
}

/// A unified diff.
fn texts(diff: &str, page: &mut Page) {
    for line in diff.lines() {
        let tone = match line.as_bytes().first() {
            Some(b'+') => Tone::Good,
            Some(b'-') => Tone::Bad,
            _ => Tone::Quiet,
        };
        page.toned_line(tone, line);
    }
}

/// Draws `lbctl config history`, the latest first.
pub fn history(view: &HistoryView, page: &mut Page) {
    let columns = [
        numbers("REVISION"),
        words("WHEN"),
        words("WHO"),
        words("HOW"),
        words("RESULT"),
        words("WHAT CHANGED"),
    ];
    let (now, wide) = (page.look.now, page.look.wide);
    let rows: Vec<Vec<Field>> = view
        .revisions
        .iter()
        .map(|revision| {
            let running = revision.revision == view.revision;
            let mark = if running { "*" } else { "" };
            vec![
                Field::from(format!("{mark}{}", revision.revision)),
                Field::from(human::ago(revision.at.0, now) + " ago"),
                Field::from(who(revision)),
                Field::from(how(revision)),
                Field::toned(result(revision), tone(revision.result)),
                Field::from(what(revision, wide)),
            ]
        })
        .collect();
    page.table(&columns, rows);
}

fn who(revision: &RevisionView) -> String {
    match (&revision.user, revision.uid) {
        (Some(user), _) => user.clone(),
        (None, Some(uid)) => format!("uid {uid}"),
        (None, None) => "-".to_owned(),
    }
}

fn how(revision: &RevisionView) -> String {
    match revision.restores {
        Some(earlier) => format!("{} to {earlier}", revision.how),
        None => revision.how.clone(),
    }
}

fn result(revision: &RevisionView) -> String {
    let word = revision.result.word();
    match &revision.note {
        Some(note) => format!("{word}: {note}"),
        None => word.to_owned(),
    }
}

fn tone(result: RevisionResult) -> Tone {
    match result {
        RevisionResult::Saved => Tone::Plain,
        RevisionResult::Unconfirmed => Tone::Uneasy,
        RevisionResult::NotSaved => Tone::Bad,
        RevisionResult::RolledBack => Tone::Quiet,
    }
}

fn what(revision: &RevisionView, wide: bool) -> String {
    let shown = if wide { usize::MAX } else { CHANGES_SHOWN };
    let more = revision.changes.len().saturating_sub(shown);
    let shown = revision.changes.iter().take(shown).cloned();
    let more = (more > 0).then(|| format!("and {more} more"));
    let told: Vec<String> = shown.chain(more).collect();
    match told.is_empty() {
        true => "-".to_owned(),
        false => told.join("; "),
    }
}
