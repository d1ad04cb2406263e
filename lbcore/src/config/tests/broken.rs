//! T24: files that are wrong, each refused at the place where it is wrong, and none panics.

use super::web;
use crate::config::{MAX_BYTES, Severity, check, check_bytes, offline_check, parse};
use proptest::prelude::*;

/// Marks in a file the place where the fault is to be told.
const HERE: char = '§';

/// A good file's sections and lines.
const SECTIONS: [(&str, &[&str]); 5] = [
    ("[lbd]", &["watch = true"]),
    ("[network]", &["interface = \"eth0\""]),
    (
        "[[service]]",
        &["name = \"web\"", "vip = \"192.0.2.10\"", "port = 443"],
    ),
    ("[[service.check]]", &["type = \"http\""]),
    ("[[service.real]]", &["address = \"192.0.2.21\""]),
];

/// The good file with one line of one section replaced, or added to it.
fn with(section: &str, wrong: &str) -> String {
    let key = |line: &str| line.replace(HERE, "").split(' ').next().map(str::to_owned);
    let mut text = String::new();
    for (header, lines) in SECTIONS {
        text += &format!("{header}\n");
        for line in lines
            .iter()
            .filter(|line| header != section || key(line) != key(wrong))
        {
            text += &format!("{line}\n");
        }
        if header == section {
            text += &format!("{wrong}\n");
        }
    }
    text
}

/// Wrong values of every key: sections, and in them keys with their values, `|` between them.
const VALUES: &str = include_str!("wrong_values.txt");

/// Lines that are wrong in themselves or together, in blocks: the section, and what is to stand
/// in it, with the place marked.
const LINES: &str = include_str!("wrong_lines.txt");

/// Lines an editor does not show as they are.
const CONTROLS: [&str; 2] = ["description = \"bell§\u{7}\"", "description = \"nul§\0\""];

/// [`VALUES`] taken apart: section, key, value.
fn wrong_values() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut section = "";
    let lines = VALUES.lines().filter(|line| !line.is_empty());
    lines.flat_map(move |line| {
        let (key, values) = match line.split_once(" = ") {
            Some(pair) => pair,
            None => {
                section = line;
                ("", "")
            }
        };
        let here = section;
        values
            .split(" | ")
            .filter(|v| !v.is_empty())
            .map(move |value| (here, key, value))
    })
}

/// All cases as texts, each with the byte where its fault is.
fn broken() -> Vec<(String, usize)> {
    let values = wrong_values()
        .map(|(section, key, value)| with(section, &format!("{key} = {HERE}{value}")));
    let lines = LINES.split("\n\n").map(|block| {
        let (section, lines) = block.split_once('\n').expect("a section and its lines");
        with(section, lines)
    });
    let controls = CONTROLS.into_iter().map(|line| with("[[service]]", line));
    let marked = values.chain(lines).chain(controls);
    marked
        .map(|text| {
            let at = text.find(HERE).expect("every case has its mark");
            (text.replace(HERE, ""), at)
        })
        .collect()
}

/// Line and column of a byte, counted the plain way.
fn position(text: &str, at: usize) -> (usize, usize) {
    let before = &text[..at];
    let line = before.rsplit('\n').next().unwrap_or_default();
    (
        before.matches('\n').count() + 1,
        line.trim_start_matches('\u{feff}').chars().count() + 1,
    )
}

#[test]
fn the_file_they_are_made_from_is_good() {
    assert_eq!(
        check(&with("", "")).map(|checked| checked.warnings),
        Ok(vec![])
    );
}

#[test]
fn t24_broken_files_are_refused_at_the_right_place() {
    let cases = broken();
    assert!(cases.len() >= 200, "{}", cases.len());
    let mut wrong = String::new();
    for (text, at) in &cases {
        match parse(text) {
            Ok(_) => wrong += &format!("--- accepted:\n{text}\n"),
            Err(errors) => {
                let first = &errors[0];
                let told = (first.line, first.column);
                if told != position(text, *at) || errors.len() != 1 {
                    let (expected, report) = (
                        position(text, *at),
                        offline_check("f", text.as_bytes(), false).text,
                    );
                    wrong += &format!("--- expected {expected:?}:\n{report}\n");
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// A file cut short inside a quoted value never passes for a whole one.
#[test]
fn t24_half_written_files_are_refused_on_their_last_line() {
    let text = web();
    let mut cuts = 0;
    for (at, _) in text.char_indices() {
        let half = &text[..at];
        let last = half.rsplit('\n').next().unwrap_or_default();
        let outcome = parse(half);
        if last.matches('"').count() == 1 {
            cuts += 1;
            let errors = outcome.expect_err(half);
            assert_eq!(
                (errors.len(), errors[0].line),
                (1, half.matches('\n').count() + 1),
                "{half}"
            );
        }
    }
    assert!(cuts > 50, "{cuts}");
}

#[test]
fn t24_ten_megabytes_and_binaries_are_refused() {
    let ten_mb = "a".repeat(10 * 1024 * 1024);
    assert_eq!(position_of(check(&ten_mb)), (1, 1));
    assert!(check(&" ".repeat(MAX_BYTES)).is_ok() && check(&" ".repeat(MAX_BYTES + 1)).is_err());
    assert_eq!(position_of(check_bytes(b"\x7fELF\x02\x01\x01\0\0")), (1, 8));
    assert_eq!(
        position_of(check_bytes(b"[lbd]\nlog = \"\xff\xfe\"")),
        (2, 8)
    );
    assert_eq!(position_of(check_bytes(&[0; 100])), (1, 1));
}

fn position_of<T: std::fmt::Debug>(
    outcome: Result<T, Vec<crate::config::ConfigError>>,
) -> (usize, usize) {
    let errors = outcome.expect_err("refused");
    assert_eq!(errors.len(), 1, "{errors:?}");
    (errors[0].line, errors[0].column)
}

/// Nesting, long lists and many faults cost no more than their bytes.
#[test]
fn t24_hostile_shapes_are_bounded() {
    let long = |unit: &str| unit.repeat(200_000 / unit.len());
    let ports: String = (1..=60_000).map(|port| format!("{port},")).collect();
    let vips: String = (0..1000).map(|n| format!("\"2001:db8::{n:x}\",")).collect();
    let ports_1000: String = (1..=1000).map(|port| format!("{port},")).collect();
    let texts = [
        long("a=[[[[["),
        long("["),
        long("{a="),
        long("a.b.c.d.e.f."),
        long("[a.b.c]\n"),
        long("[[service]]\n"),
        long("[[service.real]]\n"),
        long("\"\"\""),
        long("x\n"),
        with("[[service]]", &format!("port = [{ports}]")),
        with(
            "[[service]]",
            &format!("vip = [{vips}]\nport = [{ports_1000}]"),
        ),
    ];
    for text in texts {
        let errors = check(&text).expect_err(&text[..10]);
        assert!(errors.len() <= 101, "{}", errors.len());
        assert!(offline_check("f", text.as_bytes(), true).text.len() < 200_000);
    }
}

/// More services and reals than there are ids for.
#[test]
fn ids_are_bounded() {
    let services = |count: usize| -> String {
        (0..count)
            .map(|n| {
                format!(
                    "[[service]]\nname=\"s{n}\"\nvip=\"192.0.2.10\"\nport={}\n",
                    n + 1
                )
            })
            .collect()
    };
    let network = "[network]\ninterface=\"eth0\"\n";
    assert!(parse(&format!("{network}{}", services(4096))).is_ok());
    let errors = parse(&format!("{network}{}", services(4097))).unwrap_err();
    assert_eq!((errors.len(), errors[0].line), (1, 2 + 4096 * 4 + 1));

    let reals = |count: usize| -> String {
        (0..count)
            .map(|n| format!("{{address=\"10.1.{}.{}\"}},", n / 256, n % 256))
            .collect()
    };
    let service = |reals: String| format!("{network}{}real=[{reals}]\n", services(1));
    assert!(parse(&service(reals(65_536))).is_ok());
    let errors = parse(&service(reals(65_536) + "{address=\"10.2.0.0\"}")).unwrap_err();
    assert_eq!((errors.len(), errors[0].line), (1, 3));
}

/// What holds for the findings of any text at all.
fn findings_hold(text: &str) -> Result<(), TestCaseError> {
    let (findings, severity) = match check(text) {
        Ok(checked) => (checked.warnings, Severity::Warning),
        Err(errors) => {
            prop_assert!(!errors.is_empty());
            (errors, Severity::Error)
        }
    };
    prop_assert!(findings.is_sorted_by_key(|finding| finding.span.start));
    for finding in &findings {
        prop_assert_eq!(finding.severity, severity);
        prop_assert!(text.get(finding.span.clone()).is_some(), "{:?}", finding);
        prop_assert_eq!(
            (finding.line, finding.column),
            position(text, finding.span.start)
        );
        prop_assert!(finding.message.len() < 4000);
    }
    let report = offline_check("lbd.toml", text.as_bytes(), false).text;
    prop_assert!(
        !report.contains(|c: char| c.is_control() && c != '\n'),
        "{:?}",
        report
    );
    Ok(())
}

/// Lines as a careless hand may write them: our keys, any values, any order.
fn careless_line() -> impl Strategy<Value = String> {
    let headers = prop::sample::select(SECTIONS.map(|(header, _)| header).to_vec());
    let values: Vec<_> = wrong_values().map(|(_, key, value)| (key, value)).collect();
    let value = prop::sample::select(values);
    let good = prop::sample::select(
        SECTIONS
            .iter()
            .flat_map(|(_, lines)| lines.to_vec())
            .collect::<Vec<_>>(),
    );
    prop_oneof![
        2 => headers.prop_map(str::to_owned),
        3 => good.prop_map(str::to_owned),
        3 => (value.clone(), value).prop_map(|((key, _), (_, value))| format!("{key} = {value}")),
        1 => "[ -~\\n\\r\\t]{0,20}",
    ]
}

proptest! {
    #[test]
    fn t24_any_text(text in "(?s).{0,200}") {
        findings_hold(&text)?;
    }

    #[test]
    fn t24_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let report = offline_check("lbd.toml", &bytes, false);
        prop_assert!(report.outcome.is_ok() || !report.text.is_empty());
    }

    #[test]
    fn t24_careless_files(lines in prop::collection::vec(careless_line(), 0..30)) {
        findings_hold(&lines.join("\n"))?;
    }

    #[test]
    fn t24_a_good_file_damaged(at in any::<prop::sample::Index>(), cut in 0..40_usize, patch in "(?s).{0,8}") {
        let good = include_str!("../../../../config/lbd.toml");
        let from = good.floor_char_boundary(at.index(good.len()));
        let to = good.floor_char_boundary((from + cut).min(good.len()));
        findings_hold(&format!("{}{patch}{}", &good[..from], &good[to..]))?;
    }
}
