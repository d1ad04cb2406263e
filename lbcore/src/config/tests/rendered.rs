//! Typical mistakes, as their maker sees them.

use super::{HEAD, WEB, web};
use crate::config::{MAX_BYTES, check, offline_check, render};
use rstest::rstest;

/// A file with one slip of the pen: what is written instead of what.
fn slip(right: &str, wrong: &str) -> String {
    let good = web();
    assert!(good.contains(right), "{right}");
    good.replacen(right, wrong, 1)
}

#[rstest]
#[case("misspelt_key", slip("port = 80", "port = 80\nschedular = \"rr\""))]
#[case(
    "misspelt_word",
    slip("port = 80", "port = 80\nscheduler = \"magelv\"")
)]
#[case(
    "key_of_another_section",
    slip("type = \"tcp\"", "type = \"tcp\"\ninterfaces = [\"eth0\"]")
)]
#[case("text_without_quotes", slip("\"web\"", "web"))]
#[case(
    "list_not_closed",
    slip("\"192.0.2.10\"", "[\"192.0.2.10\", \"2001:db8::10\"")
)]
#[case("quote_not_closed", slip("\"192.0.2.21\"", "\"192.0.2.21"))]
#[case(
    "duration_without_unit",
    slip("type = \"tcp\"", "type = \"tcp\"\ninterval = 2")
)]
#[case("one_bracket", slip("[[service.real]]", "[service.real]"))]
#[case(
    "port_of_a_real",
    slip("\"192.0.2.21\"", "\"192.0.2.21\"\nport = 8080")
)]
#[case("port_in_the_vip", slip("\"192.0.2.10\"", "\"192.0.2.10:80\""))]
#[case("real_is_vip", slip("\"192.0.2.22\"", "\"192.0.2.10\""))]
#[case("same_endpoint", format!("{}{}", web(), WEB.replace("\"web\"", "\"shop\"")))]
#[case(
    "multicast_mac",
    slip("\"192.0.2.21\"", "\"192.0.2.21\"\nmac = \"01:00:5e:00:00:21\"")
)]
#[case(
    "not_yet",
    slip(
        "port = 80",
        "port = 80\nfragments = \"track\"\nmax_new_flows_per_source = 9"
    )
)]
#[case("no_interface", WEB.to_owned())]
#[case("nothing_but_a_header", format!("{HEAD}[[service]]\n[[service.real]]\n"))]
#[case("several_at_once", slip("80", "99999").replace("rs2", "rs 2").replace("tcp", "tpc").replace("eth0", "eth/0"))]
fn mistakes(#[case] name: &str, #[case] text: String) {
    let report = offline_check("lbd.toml", text.as_bytes(), false);
    assert!(report.outcome.is_err());
    insta::assert_snapshot!(name, report.text);
}

#[test]
fn a_good_file_with_warnings() {
    let text = format!(
        "{HEAD}{}",
        WEB.replace("[[service.check]]\ntype = \"tcp\"\n", "")
    );
    insta::assert_snapshot!(offline_check("lbd.toml", text.as_bytes(), false).text);
}

#[test]
fn bytes_that_are_no_text() {
    let bytes = [web().as_bytes(), b"description = \"caf\xe9\"\n"].concat();
    insta::assert_snapshot!(offline_check("lbd.toml", &bytes, false).text);
}

/// What stands in the file can neither move the cursor nor colour the words.
#[test]
fn nothing_in_a_file_reaches_the_terminal_as_a_command() {
    let text =
        slip("\"web\"", "\"\\u001b[31m\u{202e}web\u{9b}\"").replace("port", "\"po\\nrt\\u0007\"");
    let report = offline_check("lbd.toml", text.as_bytes(), false).text;
    let harmful = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
    assert!(!report.contains(harmful), "{report:?}");
    let errors = check(&text).unwrap_err();
    assert!(
        errors
            .iter()
            .all(|error| !error.to_string().contains(|c| harmful(c) || c == '\n'))
    );
}

#[test]
fn colours_only_where_asked() {
    let text = slip("80", "0");
    let errors = check(&text).unwrap_err();
    assert!(!render("lbd.toml", &text, &errors, false).contains('\u{1b}'));
    assert!(render("lbd.toml", &text, &errors, true).contains('\u{1b}'));
}

/// A file too large is refused before it is read; a line too long is not quoted.
#[test]
fn large_files_have_short_reports() {
    let ten_mb = "# ten megabytes\n".repeat(10 * 1024 * 1024 / 16);
    let report = offline_check("lbd.toml", ten_mb.as_bytes(), false).text;
    assert!(
        report.contains(&format!("at most {MAX_BYTES} bytes")),
        "{report}"
    );
    let one_line = format!("a = \"{}\"", "x".repeat(MAX_BYTES / 2));
    let report = offline_check("lbd.toml", one_line.as_bytes(), false).text;
    assert!(
        report.contains("lbd.toml:1:1") && report.len() < 1000,
        "{report}"
    );
    let many_lines = "x = 1\n".repeat(100_000);
    let report = offline_check("lbd.toml", many_lines.as_bytes(), false).text;
    assert!(report.ends_with("refused: more than 100 faults\n"));
    assert!(
        report.contains("and 99900 more,") && report.len() < 40_000,
        "{}",
        report.len()
    );
}
