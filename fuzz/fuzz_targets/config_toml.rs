//! Any text as a configuration: a good one, or faults that can be shown.
#![no_main]

use lbcore::config::offline_check;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let report = offline_check("lbd.toml", data, false);
    assert!(!report.text.is_empty());
    if let Err(errors) = report.outcome {
        assert!(!errors.is_empty());
        assert!(errors.iter().all(|e| e.line >= 1 && e.column >= 1));
    }
});
