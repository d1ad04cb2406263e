//! A configuration to show to others: as it was written, without what only its owner should know.

use super::keys::{CHECK, LBD, NETWORK, PROXY, REAL, SERVICE, Shape, TOP};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What stands where something was taken out.
pub const TAKEN_OUT: &str = "(redacted)";

/// A file without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The text: layout and comments as they were, secret values replaced by [`TAKEN_OUT`].
    pub text: String,
    /// What was taken out, as the values they were: they may stand elsewhere, too.
    pub secrets: Vec<String>,
    /// The file is no TOML, so that nobody can say where its values begin: only its keys are left.
    pub keys_only: bool,
}

/// Takes the secrets out of a file. Secret are: header values and bodies of http checks, what udp
/// checks send and expect, a query in a path, what comes after the program in an exec check's
/// command, values of keys this version does not know, and in comments whatever follows a `=`.
pub fn without_secrets(text: &str) -> Shown {
    let (table, faults) = DeTable::parse_recoverable(text);
    if !faults.is_empty() {
        return keys_of(text);
    }
    let mut walk = Walk::default();
    walk.section(table.get_ref(), &TOP);
    walk.comments(text);
    walk.secret.sort_by_key(|(range, _)| range.start);
    let mut shown = String::with_capacity(text.len());
    let mut kept = 0;
    for (range, instead) in walk.secret {
        shown.push_str(&text[kept..range.start]);
        shown.push_str(&instead);
        kept = range.end;
    }
    shown.push_str(&text[kept..]);
    Shown {
        text: shown,
        secrets: walk.values,
        keys_only: false,
    }
}

/// What of each line stands before its value, where that is a key of ours.
fn keys_of(text: &str) -> Shown {
    let shapes = [&TOP, &LBD, &NETWORK, &SERVICE, &CHECK, &REAL, &PROXY];
    let ours = |key: &str| shapes.iter().any(|shape| shape.knows(key.trim()));
    let header = |line: &str| {
        let name = line.trim().trim_matches(['[', ']']);
        line.trim_start().starts_with('[') && name.split('.').all(ours)
    };
    let line = |line: &str| match line.split_once('=') {
        Some((key, _)) if ours(key) => format!("{key}= {TAKEN_OUT}\n"),
        None if header(line) => format!("{line}\n"),
        _ => format!("{TAKEN_OUT}\n"),
    };
    Shown {
        text: text.lines().map(line).collect(),
        secrets: Vec::new(),
        keys_only: true,
    }
}

#[derive(Default)]
struct Walk {
    /// Where, and what comes instead.
    secret: Vec<(Range<usize>, String)>,
    values: Vec<String>,
    /// Keys and values: what starts with # in one of them is no comment.
    written: Vec<Range<usize>>,
}

impl Walk {
    fn section(&mut self, table: &DeTable<'_>, shape: &Shape) {
        let type_of = table.get("type").and_then(|t| t.get_ref().as_str());
        for (key, value) in table {
            self.written.push(key.span());
            let name: &str = key.get_ref();
            let below = match name {
                "lbd" => Some(&LBD),
                "network" => Some(&NETWORK),
                "service" => Some(&SERVICE),
                "check" => Some(&CHECK),
                "real" => Some(&REAL),
                "proxy" => Some(&PROXY),
                _ => None,
            };
            let query = |value: &DeValue<'_>| value.as_str().is_some_and(|v| v.contains('?'));
            match (name, value.get_ref(), below) {
                _ if !shape.knows(name) => self.take_out(value),
                (_, DeValue::Table(table), Some(below)) => self.section(table, below),
                (_, DeValue::Array(array), Some(below)) => {
                    for item in array.iter() {
                        match item.get_ref() {
                            DeValue::Table(table) => self.section(table, below),
                            _ => self.take_out(item),
                        }
                    }
                }
                ("headers" | "send" | "body", ..) => self.take_out(value),
                ("expect", ..) if type_of == Some("udp") => self.take_out(value),
                ("path", path, _) if query(path) => self.take_out(value),
                ("command", DeValue::Array(words), _) => {
                    let mut words = words.iter();
                    self.keep(words.next());
                    words.for_each(|word| self.take_out(word));
                }
                _ => self.keep(Some(value)),
            }
        }
    }

    /// Leaves a value as it is.
    fn keep(&mut self, value: Option<&Spanned<DeValue<'_>>>) {
        let Some(value) = value else { return };
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.written.push(key.span());
                    self.keep(Some(value));
                }
            }
            DeValue::Array(array) => array.iter().for_each(|value| self.keep(Some(value))),
            _ => self.written.push(value.span()),
        }
    }

    /// Takes out every single value of it; keys stay.
    fn take_out(&mut self, value: &Spanned<DeValue<'_>>) {
        match value.get_ref() {
            DeValue::Table(table) => {
                for (key, value) in table {
                    self.written.push(key.span());
                    self.take_out(value);
                }
            }
            DeValue::Array(array) => array.iter().for_each(|value| self.take_out(value)),
            single => {
                self.written.push(value.span());
                self.secret.push((value.span(), format!("\"{TAKEN_OUT}\"")));
                self.values.extend(single.as_str().map(str::to_owned));
            }
        }
    }

    /// Values in comments: a line that was commented out.
    fn comments(&mut self, text: &str) {
        self.written.sort_by_key(|range| range.start);
        let written = |at: usize| {
            let next = self.written.partition_point(|range| range.start <= at);
            next.checked_sub(1)
                .is_some_and(|before| self.written[before].contains(&at))
        };
        let mut after = 0;
        for (at, _) in text.match_indices('#') {
            if at < after || written(at) {
                continue;
            }
            let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
            after = end;
            if let Some(sign) = text[at..end].find('=') {
                self.secret.push((at + sign + 1..end, TAKEN_OUT.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FILE: &str = r#"# The shop. token = "in a comment"
[lbd]
admin_group = "ops"   # who = may

[network]
interface = "eth#0"

[[service]]
name = "web"
vip = ["192.0.2.10", "2001:db8::10"]
port = 443
passwort = { a = "mistyped key", b = [1, "two"] }
labels = { team = "a#b" }

[[service.check]]
type = "http"
path = "/health?key=in-the-query"
headers = { Authorization = "Bearer s3cr3t", Host = "internal" }
expect = "200-399"

[[service.check]]
type = "udp"
send = "community"
expect = 'answer'

[[service.check]]
type = "exec"
command = ["/usr/lib/check", "--password", "hunter22"]

[[service.real]]
address = "192.0.2.21"
"#;

    #[test]
    fn secrets_go_and_everything_else_stays_as_it_was_written() {
        let shown = without_secrets(FILE);
        assert!(!shown.keys_only);
        let expected = FILE
            .replace(" \"in a comment\"", "(redacted)")
            .replace("who = may", "who =(redacted)")
            .replace("\"mistyped key\"", "\"(redacted)\"")
            .replace("[1, \"two\"]", "[\"(redacted)\", \"(redacted)\"]")
            .replace("\"/health?key=in-the-query\"", "\"(redacted)\"")
            .replace("\"Bearer s3cr3t\"", "\"(redacted)\"")
            .replace("\"internal\"", "\"(redacted)\"")
            .replace("\"community\"", "\"(redacted)\"")
            .replace("'answer'", "\"(redacted)\"")
            .replace(
                "\"--password\", \"hunter22\"",
                "\"(redacted)\", \"(redacted)\"",
            );
        assert_eq!(shown.text, expected);
        assert!(shown.secrets.contains(&"Bearer s3cr3t".to_owned()));
        assert!(shown.secrets.contains(&"hunter22".to_owned()));
        assert!(shown.text.parse::<toml::Table>().is_ok(), "still TOML");
    }

    #[test]
    fn of_a_broken_file_only_keys_are_left() {
        let broken = "[[service.check]]\ntype = \"http\nheaders = { Authorization = \"s3cr3t\" }\ns3cr3t\n# s3cr3t\n";
        let shown = without_secrets(broken);
        assert!(shown.keys_only);
        assert!(!shown.text.contains("s3cr3t"), "{}", shown.text);
        assert!(
            shown
                .text
                .starts_with("[[service.check]]\ntype = (redacted)\n")
        );
    }

    proptest! {
        #[test]
        fn any_text_is_taken(text in "[\\[\\]a-z#=\"'\\n {},.0-9ü]{0,200}") {
            without_secrets(&text);
        }

        #[test]
        fn a_header_never_survives(value in "[a-zA-Z0-9#=\\[\\] ]{8,30}") {
            let file = format!("[[service]]\n[[service.check]]\nheaders = {{ X = {value:?} }} # end\n");
            let shown = without_secrets(&file);
            prop_assert!(!shown.text.contains(&value), "{}", shown.text);
            prop_assert!(shown.text.ends_with("# end\n"));
        }
    }
}
