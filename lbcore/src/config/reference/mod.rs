//! Every key of the file for people and editors: what lbd.toml(5) and the JSON schema are made from.
//!
//! The names and what they take are those the file is checked with ([`super::keys`]); the words and
//! the defaults are those of the commented samples in `config/`. Nothing is written down twice.

mod sample;
mod schema;

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use schema::schema;

use super::keys::{CHECK, LBD, NETWORK, PROXY, REAL, SERVICE, Shape, TOP};
use super::kind::Kind;
use super::validate::OWNERS;
use sample::{Entry, Sample};

/// The samples. What one has in common with those before it is told by them.
const SAMPLES: [&str; 2] = [
    include_str!("../../../../config/lbd.toml"),
    include_str!("../../../../config/tproxy.toml"),
];

/// The sections, in the order of the sample.
const SHAPES: [&Shape; 7] = [&TOP, &LBD, &NETWORK, &SERVICE, &CHECK, &REAL, &PROXY];

/// One section of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SectionDoc {
    /// Its header, such as `[[service.real]]`, or what it is called.
    pub header: &'static str,
    /// What it is, in a few sentences; may be empty.
    pub intro: String,
    /// Its keys, without those that are sections themselves.
    pub keys: Vec<KeyDoc>,
}

/// One key of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyDoc {
    /// The key.
    pub name: &'static str,
    /// The sort of value it takes, in words.
    pub takes: String,
    /// The types of checks that have it; empty if all do, and outside of checks.
    pub owners: &'static [&'static str],
    /// What the samples say of it: more than once where types of checks differ.
    pub notes: Vec<Note>,
}

/// What a sample says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The types of checks it is about; empty for all.
    pub of: Vec<String>,
    /// What it does.
    pub text: String,
    /// Its default as TOML, where it is a plain value; else the text says what it is.
    pub default: Option<String>,
    /// It has to be there.
    pub required: bool,
}

/// Every section with every key.
pub fn sections() -> Vec<SectionDoc> {
    let samples = SAMPLES.map(|text| Sample::read(text, &SHAPES));
    let section = |shape: &'static Shape| SectionDoc {
        header: shape.header,
        intro: samples
            .iter()
            .find_map(|sample| sample.intro(shape))
            .unwrap_or_default(),
        keys: shape
            .keys
            .iter()
            .filter(|known| !matches!(known.kind, Kind::Table(_) | Kind::Tables(_)))
            .map(|known| key(&samples, shape, known.name, &known.kind))
            .collect(),
    };
    SHAPES.into_iter().map(section).collect()
}

fn key(samples: &[Sample<'_>], shape: &Shape, name: &'static str, kind: &Kind) -> KeyDoc {
    let entries = samples
        .iter()
        .map(|sample| sample.entries(shape, name))
        .find(|entries| !entries.is_empty())
        .unwrap_or_default();
    let owners = owners(shape, name);
    let notes = entries
        .iter()
        .enumerate()
        .map(|(at, entry)| Note {
            of: about(&entries, at, name, owners),
            text: entry.words.clone(),
            default: entry.default(),
            required: entry.required(),
        })
        .collect();
    KeyDoc {
        name,
        takes: kind.words(),
        owners,
        notes,
    }
}

/// The types of checks that have this key; empty where all do.
fn owners(shape: &Shape, name: &str) -> &'static [&'static str] {
    OWNERS
        .iter()
        .find(|(key, _)| shape.header == CHECK.header && *key == name)
        .map_or(&[], |(_, owners)| owners)
}

/// The types of checks that one of several entries of a key is about: that of its example, and those
/// that have none of their own.
fn about(entries: &[Entry<'_>], at: usize, name: &str, owners: &[&str]) -> Vec<String> {
    let own = entries[at].check;
    if entries.len() == 1 || own.is_empty() {
        return Vec::new();
    }
    if name == "type" || at > 0 {
        return vec![own.to_owned()];
    }
    let others: Vec<&str> = entries[1..].iter().map(|entry| entry.check).collect();
    let left = owners.iter().filter(|owner| !others.contains(owner));
    left.map(|owner| (*owner).to_owned()).collect()
}
