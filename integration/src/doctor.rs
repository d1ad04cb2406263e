//! What `lbctl doctor` says.

use crate::daemon::{Answer, Daemon};
use serde_json::Value;

/// Exit code and answer of `lbctl doctor`.
///
/// # Panics
/// When the two say different things.
pub fn doctor(lbd: &Daemon, args: &[&str]) -> (i32, Value) {
    let mut line = vec!["doctor", "-o", "json"];
    line.extend(args);
    let answer: Answer = lbd.ctl(&line);
    let code = answer.code();
    let view: Value = serde_json::from_str(&answer.stdout())
        .unwrap_or_else(|e| panic!("{e}: {}{}", answer.stdout(), answer.stderr()));
    let clean = view["clean"].as_bool().expect("clean");
    assert_eq!(
        code,
        i32::from(!clean),
        "the exit code says the same: {view}"
    );
    (code, view)
}

/// Code, severity and subject of what is wrong; notes are left out.
///
/// # Panics
/// When a finding lacks words.
pub fn wrong(view: &Value) -> Vec<[&str; 3]> {
    let findings = view["findings"].as_array().expect("findings");
    for finding in findings {
        for key in ["code", "severity", "seen", "why", "fix"] {
            assert!(
                finding[key].as_str().is_some_and(|t| !t.is_empty()),
                "{finding}"
            );
        }
    }
    findings
        .iter()
        .filter(|f| f["severity"] != "note")
        .map(|f| ["code", "severity", "about"].map(|key| f[key].as_str().expect("text")))
        .collect()
}

/// Whether there is a finding of that code.
///
/// # Panics
/// When it is no answer of the doctor.
pub fn has(view: &Value, code: &str) -> bool {
    let mut findings = view["findings"].as_array().expect("findings").iter();
    findings.any(|finding| finding["code"] == code)
}

/// How one check went, and what was seen.
///
/// # Panics
/// When there was none.
pub fn check<'a>(view: &'a Value, name: &str) -> (&'a str, &'a str) {
    let mut checks = view["checks"].as_array().expect("checks").iter();
    let check = checks.find(|check| check["check"] == name);
    let check = check.unwrap_or_else(|| panic!("no check {name}: {view}"));
    let text = |key: &str| check[key].as_str().expect("text");
    (text("result"), text("seen"))
}

/// What mends the first finding of that code.
///
/// # Panics
/// When there is none.
pub fn fix<'a>(view: &'a Value, code: &str) -> &'a str {
    let mut findings = view["findings"].as_array().expect("findings").iter();
    let finding = findings.find(|finding| finding["code"] == code);
    let finding = finding.unwrap_or_else(|| panic!("no finding {code}: {view}"));
    finding["fix"].as_str().expect("a fix")
}
