//! Any text with any changes: a good configuration that reads as it was written, or an error. The
//! input is the text, a zero byte, and the changes as JSON.
#![no_main]

use lbcore::config::{Edit, Sources, edit};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some(zero) = data.iter().position(|byte| *byte == 0) else {
        return;
    };
    let (text, edits) = (&data[..zero], &data[zero + 1..]);
    let (Ok(text), Ok(edits)) = (
        std::str::from_utf8(text),
        serde_json::from_slice::<Vec<Edit>>(edits),
    ) else {
        return;
    };
    if let Ok(edited) = edit(&Sources::one("lbd.toml", text), &edits) {
        assert_eq!(edited.sources.check().as_ref(), Ok(&edited.checked));
        let again = edit(&edited.sources, &[]).map(|again| again.sources);
        assert_eq!(again.as_ref(), Ok(&edited.sources));
    }
});
