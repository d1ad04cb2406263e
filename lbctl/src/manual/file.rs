//! lbd.toml(5).

use super::{Page, paragraphs};
use clap_mangen::roff::{Roff, bold, italic, roman};
use lbcore::config::reference::{self, KeyDoc, Note, SectionDoc};
use std::io;

/// The smallest file that does something.
const EXAMPLE: &str = include_str!("../../../config/dr-minimal.toml");

const DESCRIPTION: &[&str] = &[
    "lbd.toml says which virtual services lbd serves, by which real servers, and how those are \
     checked. It is TOML. Unknown keys are mistakes; lbctl config check shows every mistake of a \
     file at once, each with its line, and a file with one mistake changes nothing.",
    "lbctl reload puts a changed file in force; flows keep their real servers. What is in [lbd] and \
     [network] is read at start only, where reload says so.",
    "A duration is a string of numbers with units, such as \"500ms\", \"2s\", \"15m\" or \"1h 30m\".",
];

/// The page.
///
/// # Errors
/// None that is known: it is written into memory.
pub fn file(date: &str) -> io::Result<Page> {
    let mut roff = Roff::new();
    let source = concat!("lbd ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["lbd.toml", "5", date, source, "lbd"]);
    paragraphs(
        &mut roff,
        "NAME",
        &["lbd.toml - configuration of lbd, a layer-4 load balancer"],
    );
    paragraphs(&mut roff, "DESCRIPTION", DESCRIPTION);
    let sections = reference::sections();
    for section in sections.iter().filter(|section| !section.keys.is_empty()) {
        describe(&mut roff, section);
    }
    roff.control("SH", ["EXAMPLE"]);
    roff.control("nf", []);
    for line in EXAMPLE.lines().filter(|line| !line.starts_with("#:")) {
        match line {
            "" => roff.control("sp", []),
            line => roff.text([roman(line)]),
        };
    }
    roff.control("fi", []);
    paragraphs(
        &mut roff,
        "FILES",
        &[
            "/etc/lbd/lbd.toml: what lbd reads without --config.",
            "/usr/share/doc/lbd/examples: commented samples.",
            "/usr/share/lbd/lbd.schema.json: the JSON schema, for editors.",
        ],
    );
    paragraphs(
        &mut roff,
        "SEE ALSO",
        &["lbd(8), lbctl(1), lbctl-config-check(1)"],
    );
    let mut text = Vec::new();
    roff.to_writer(&mut text)?;
    Ok(Page {
        file: "lbd.toml.5".into(),
        text,
    })
}

fn describe(roff: &mut Roff, section: &SectionDoc) {
    roff.control("SH", [section.header]);
    if !section.intro.is_empty() {
        roff.text([roman(section.intro.as_str())]);
    }
    for key in &section.keys {
        roff.control("TP", []);
        roff.text([bold(key.name), roman("  "), italic(key.takes.as_str())]);
        roff.text([roman(notes(key))]);
    }
}

/// What is to be said of a key, as one paragraph.
fn notes(key: &KeyDoc) -> String {
    let mut text: Vec<String> = key.notes.iter().map(note).collect();
    let told = key.notes.iter().any(|note| !note.of.is_empty());
    if !key.owners.is_empty() && !told {
        text.push(format!("Of checks of type {}.", key.owners.join(", ")));
    }
    text.join(" ")
}

fn note(note: &Note) -> String {
    let mut text = String::new();
    if !note.of.is_empty() {
        text = format!("{}: ", note.of.join(", "));
    }
    text += &note.text;
    if !text.ends_with('.') {
        text.push('.');
    }
    if let Some(default) = &note.default {
        text += &format!(" Default: {default}.");
    }
    text
}
