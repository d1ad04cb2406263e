//! What the imports have in common: whatever comes of a text, lbd takes it.
#![allow(clippy::unwrap_used)]

use super::haproxy::Given;
use super::*;
use crate::config;
use proptest::prelude::*;

/// A few names, so that no test asks a server.
pub(super) struct Known;

impl Names for Known {
    fn host(&self, name: &str) -> Option<IpAddr> {
        let known = [
            ("www.example.com", "192.0.2.10"),
            ("web1.example.com", "192.0.2.21"),
            ("web2.example.com", "192.0.2.22"),
            ("app1.internal", "10.20.0.21"),
        ];
        let found = known.iter().find(|(known, _)| *known == name);
        found.and_then(|(_, address)| address.parse().ok())
    }

    fn port(&self, name: &str, udp: bool) -> Option<u16> {
        match (name, udp) {
            ("http", false) => Some(80),
            ("domain", _) => Some(53),
            _ => None,
        }
    }
}

pub(super) fn options() -> Options<'static> {
    Options {
        interface: None,
        names: &Known,
    }
}

/// The result, which lbd takes.
pub(super) fn good(imported: Result<Imported, ImportError>) -> Imported {
    let imported = imported.unwrap();
    let checked = config::check(&imported.toml);
    let checked = checked.unwrap_or_else(|faults| panic!("{faults:#?}\n{}", imported.toml));
    assert_eq!(checked.config.services.len(), imported.services);
    imported
}

/// The findings as lbctl tells them.
pub(super) fn told(imported: &Imported) -> String {
    let lines = imported.findings.iter();
    lines.fold(String::new(), |text, Finding { lines, about, what }| {
        text + &format!("{}: {about}: {what}\n", lines.unwrap())
    })
}

/// The file without the spaces that align it.
pub(super) fn plain(toml: &str) -> String {
    let lines = toml
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.fold(String::new(), |text, line| text + &line + "\n")
}

type Import = fn(&[u8]) -> Result<Imported, ImportError>;

const SOURCES: [(&str, Import); 4] = [
    (include_str!("fixtures/rules.ipvsadm"), |text| {
        ipvsadm::import(text, &options())
    }),
    (include_str!("fixtures/names.ipvsadm"), |text| {
        ipvsadm::import(text, &options())
    }),
    (include_str!("fixtures/keepalived.conf"), |text| {
        keepalived::import(text, &options())
    }),
    (include_str!("fixtures/haproxy.cfg"), |text| {
        let given = Given {
            vips: vec![
                "192.0.2.19".parse().unwrap(),
                "2001:db8::19".parse().unwrap(),
            ],
            trusted: vec!["198.51.100.0/24".parse().unwrap()],
        };
        haproxy::import(text, &options(), &given)
    }),
];

/// A file larger than lbd reads is refused before it is looked at.
#[test]
fn what_is_too_large_is_refused() {
    let large = vec![b'\n'; MAX_BYTES + 1];
    for (_, import) in SOURCES {
        assert_eq!(import(&large), Err(ImportError::TooLarge));
        assert_eq!(import(&large[1..]).map(|imported| imported.services), Ok(0));
    }
}

/// What is said about a source, each with a line the source has.
fn lines_are_the_sources(text: &[u8], imported: &Imported) {
    let count = String::from_utf8_lossy(text).lines().count();
    for finding in &imported.findings {
        let lines = finding.lines.unwrap();
        assert!(1 <= lines.first && lines.first <= lines.last && lines.last <= count);
    }
}

/// Each line of a good file, in turn left out, or doubled: lbd takes the result all the same.
#[test]
fn files_with_a_line_less_or_more_are_taken_or_refused() {
    for (source, import) in SOURCES {
        let lines: Vec<&str> = source.lines().collect();
        for (n, line) in lines.iter().enumerate() {
            let mut less = lines.clone();
            less.remove(n);
            let mut more = lines.clone();
            more.insert(n, line);
            for lines in [less, more] {
                let text = lines.join("\n");
                if let Ok(imported) = import(text.as_bytes()) {
                    lines_are_the_sources(text.as_bytes(), &imported);
                    good(Ok(imported));
                }
            }
        }
    }
}

proptest! {
    /// Words of a source put in any other place: lbd takes what comes of it.
    #[test]
    fn words_in_wrong_places_make_no_bad_file(
        which in 0..SOURCES.len(),
        swaps in prop::collection::vec(any::<(u16, u16)>(), 1..6),
    ) {
        let (source, import) = SOURCES[which];
        let mut lines: Vec<Vec<&str>> = source.lines().map(|l| l.split(' ').collect()).collect();
        let words: Vec<&str> = source.split_whitespace().collect();
        for (place, word) in swaps {
            let line = usize::from(place) % lines.len();
            let at = usize::from(place / 7) % lines[line].len();
            lines[line][at] = words[usize::from(word) % words.len()];
        }
        let lines: Vec<String> = lines.iter().map(|words| words.join(" ")).collect();
        let text = lines.join("\n");
        if let Ok(imported) = import(text.as_bytes()) {
            lines_are_the_sources(text.as_bytes(), &imported);
            good(Ok(imported));
        }
    }

    /// Bytes changed and the end cut off: no panic, and what comes of it lbd takes.
    #[test]
    fn damaged_files_make_no_bad_file(
        which in 0..SOURCES.len(),
        changes in prop::collection::vec(any::<(u16, u8)>(), 0..8),
        length in any::<u16>(),
    ) {
        let (source, import) = SOURCES[which];
        let mut text = source.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = usize::from(at) % text.len();
            text[at] = byte;
        }
        text.truncate(usize::from(length).max(source.len() / 2));
        if let Ok(imported) = import(&text) {
            lines_are_the_sources(&text, &imported);
            good(Ok(imported));
        }
    }

    /// Any text as a name: it stands in the file as a string, and ends none.
    #[test]
    fn strange_names_make_no_bad_file(name in "\\PC{1,40}", port in any::<u16>()) {
        let quoted = name.replace(['\\', '"'], "");
        let text = format!(
            "listen x{quoted}\n mode tcp\n bind 192.0.2.1:{port}\n description \"{quoted}\"\n \
             option httpchk GET \"/{quoted}\"\n server \"{quoted}\" 10.0.0.1:80 check\n"
        );
        if let Ok(imported) = haproxy::import(text.as_bytes(), &options(), &Given::default()) {
            good(Ok(imported));
        }
        let text = format!(
            "virtual_server 192.0.2.1 {port} {{\n snmp_name \"{quoted}\"\n lb_kind DR\n \
             real_server 192.0.2.2 {port} {{\n MISC_CHECK {{\n misc_path \"/x {quoted}\"\n }}\n }}\n }}\n"
        );
        if let Ok(imported) = keepalived::import(text.as_bytes(), &options()) {
            good(Ok(imported));
        }
    }
}
