//! Reads the comments of a commented sample.
//!
//! A key's words stand behind its value and go on below it, aligned; a key whose default is to be
//! absent is commented out; what a section is stands above its header.

use super::super::keys::Shape;

/// A sample taken apart.
pub(super) struct Sample<'t> {
    entries: Vec<Entry<'t>>,
    intros: Vec<(&'static str, String)>,
}

/// A key of it.
#[derive(Clone)]
pub(super) struct Entry<'t> {
    /// Of its section.
    header: &'static str,
    /// The type of the check it stands in; empty outside of checks.
    pub(super) check: &'t str,
    key: &'t str,
    value: &'t str,
    /// It is an example: without it, something else happens.
    commented: bool,
    /// What it does.
    pub(super) words: String,
}

impl<'t> Sample<'t> {
    /// Takes a sample's text apart.
    pub(super) fn read(text: &'t str, shapes: &[&'static Shape]) -> Self {
        let mut sample = Sample {
            entries: Vec::new(),
            intros: Vec::new(),
        };
        let mut section = shapes[0];
        let mut check = "";
        let mut paragraph: Vec<&str> = Vec::new();
        for line in text.lines() {
            let bare = line.strip_prefix("# ").unwrap_or(line).trim_end();
            let commented = bare.len() != line.trim_end().len();
            let header = bare.split('#').next().unwrap_or_default().trim_end();
            if let Some(next) = shapes.iter().find(|shape| shape.header == header) {
                section = next;
                check = "";
                let intro = std::mem::take(&mut paragraph).join(" ");
                sample.intros.push((next.header, intro));
            } else if let Some((key, value, words)) = assignment(bare, section) {
                if key == "type" {
                    check = value.trim_matches('"');
                }
                paragraph.clear();
                sample.entries.push(Entry {
                    header: section.header,
                    check,
                    key,
                    value,
                    commented,
                    words: words.to_owned(),
                });
            } else if let Some(more) = continuation(line) {
                if let Some(entry) = sample.entries.last_mut() {
                    entry.words.push(' ');
                    entry.words.push_str(more);
                }
            } else if commented && !bare.starts_with('-') {
                paragraph.push(bare);
            } else {
                paragraph.clear();
            }
        }
        sample
    }

    /// What stands above the section's header, where it stands first.
    pub(super) fn intro(&self, shape: &Shape) -> Option<String> {
        self.intros
            .iter()
            .find(|(header, _)| *header == shape.header)
            .map(|(_, intro)| intro.clone())
    }

    /// Where a key stands with words of its own.
    pub(super) fn entries(&self, shape: &Shape, key: &str) -> Vec<Entry<'t>> {
        self.entries
            .iter()
            .filter(|entry| entry.header == shape.header && entry.key == key)
            .filter(|entry| !entry.words.is_empty())
            .cloned()
            .collect()
    }
}

impl Entry<'_> {
    /// The key's default, where it is the value that stands here.
    pub(super) fn default(&self) -> Option<String> {
        let told = self.words.to_ascii_lowercase().contains("default");
        (!self.commented && !told).then(|| self.value.to_owned())
    }

    /// It has to be there.
    pub(super) fn required(&self) -> bool {
        self.words.to_ascii_lowercase().contains("no default")
    }
}

/// `key = value  # words`, of a key of this section.
fn assignment<'t>(line: &'t str, section: &Shape) -> Option<(&'t str, &'t str, &'t str)> {
    let (key, rest) = line.split_once('=')?;
    let key = key.trim_end();
    section.names().find(|name| *name == key)?;
    let mut quoted = false;
    let words = rest.find(|char| {
        quoted ^= char == '"';
        char == '#' && !quoted
    });
    let (value, words) = rest.split_at(words.unwrap_or(rest.len()));
    Some((key, value.trim(), words.trim_start_matches('#').trim()))
}

/// Words that go on from the line above.
fn continuation(line: &str) -> Option<&str> {
    let words = line.starts_with(' ').then(|| line.trim())?;
    words.strip_prefix("# ")
}
