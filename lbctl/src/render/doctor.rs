//! What is wrong, why it matters and what mends it.

use super::page::{Field, Page, Tone, words};
use super::words::several;
use lbcore::api::{Checked, DoctorView, FindingView, Severity};

/// Draws `lbctl doctor`: findings first, then what was looked at.
pub fn doctor(view: &DoctorView, page: &mut Page) {
    for finding in &view.findings {
        draw(finding, page);
        page.gap();
    }
    let wrong = view.findings.iter();
    let wrong = wrong.filter(|f| f.severity != Severity::Note).count();
    let looked = view.checks.iter();
    let looked = looked.filter(|c| c.result != Checked::Skipped).count();
    let skipped = match view.checks.len() - looked {
        0 => String::new(),
        n => format!("; {n} not looked at"),
    };
    let (tone, words) = match wrong {
        0 => (Tone::Good, "nothing is wrong".to_string()),
        n => (Tone::Bad, several(n, "finding")),
    };
    page.toned_line(
        tone,
        &format!("{words} in {}{skipped}", several(looked, "check")),
    );
    checks(view, page);
}

fn draw(finding: &FindingView, page: &mut Page) {
    let tone = match finding.severity {
        Severity::Fault => Tone::Bad,
        Severity::Warning => Tone::Uneasy,
        Severity::Note => Tone::Quiet,
    };
    let about = match finding.about.as_str() {
        "" => String::new(),
        about => format!(" {about}:"),
    };
    let FindingView {
        code,
        severity,
        seen,
        why,
        fix,
        ..
    } = finding;
    page.toned_line(tone, &format!("{} [{code}]{about} {seen}", severity.word()));
    page.line(&format!("  why: {why}"));
    page.line(&format!("  fix: {fix}"));
}

fn checks(view: &DoctorView, page: &mut Page) {
    let columns = [words("CHECK"), words("RESULT"), words("SEEN")];
    let rows = view.checks.iter().map(|check| {
        let tone = match check.result {
            Checked::Good => Tone::Good,
            Checked::Found => Tone::Uneasy,
            Checked::Skipped => Tone::Quiet,
        };
        vec![
            Field::from(check.check.as_str()),
            Field::toned(check.result.word(), tone),
            check.seen.as_str().into(),
        ]
    });
    page.gap();
    page.table(&columns, rows.collect::<Vec<_>>());
}
