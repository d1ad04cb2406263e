//! The keys of the sections, and what is said of one that is none.

mod lists;
mod typed;

pub(super) use lists::{CHECK, INCLUDED, LBD, NETWORK, PROXY, REAL, SERVICE, TOP};
pub use typed::TypedSection;

use super::faults::Fault;
use super::kind::Kind;
use super::value::quote;

/// A key of a section.
#[derive(Clone, Copy)]
pub struct Key {
    /// As it is written.
    pub name: &'static str,
    /// What stands behind it.
    pub(super) kind: Kind,
    /// What it says, in a few words.
    pub about: &'static str,
}

/// How the value of a key is typed on a command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Typed {
    /// As it stands.
    Text,
    /// A number.
    Number,
    /// `true` or `false`.
    Flag,
    /// One or several, joined by commas.
    List,
    /// Pairs, `key=value`, joined by commas.
    Map,
    /// A section of its own, key by key.
    Section,
    /// Any number of sections, each in short.
    Sections,
}

impl Key {
    /// How its value is typed.
    pub fn typed(&self) -> Typed {
        match self.kind {
            Kind::Integer(..) => Typed::Number,
            Kind::Bool => Typed::Flag,
            Kind::List(_) | Kind::OneOrMore(_) | Kind::Expect => Typed::List,
            Kind::Texts => Typed::Map,
            Kind::Table(_) => Typed::Section,
            Kind::Tables(_) => Typed::Sections,
            Kind::Text
            | Kind::Duration
            | Kind::Path
            | Kind::Words(_)
            | Kind::Address
            | Kind::Network
            | Kind::Listen
            | Kind::Mac => Typed::Text,
        }
    }
}

/// A kind of section and its keys.
pub(super) struct Shape {
    /// As written in the file.
    pub(super) header: &'static str,
    /// Keys this version reads.
    pub(super) keys: &'static [Key],
    /// Keys of versions to come, each with the value that asks for nothing (`""`: none does).
    pub(super) later: &'static [(&'static str, &'static str)],
}

/// Sections a stray key may have been meant for, most likely first.
const SECTIONS: [&Shape; 6] = [&SERVICE, &REAL, &CHECK, &PROXY, &NETWORK, &LBD];

/// Words of other balancers for our keys.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("algorithm", "scheduler"),
    ("strategy", "scheduler"),
    ("lb_algo", "scheduler"),
    ("method", "mode"),
    ("forwarding", "mode"),
    ("lb_kind", "mode"),
    ("frontend", "vip"),
    ("address", "vip"),
    ("ip", "vip"),
    ("ip", "address"),
    ("vserver", "service"),
    ("listener", "service"),
    ("virtual_server", "service"),
    ("backend", "real"),
    ("upstream", "real"),
    ("endpoint", "real"),
    ("destination", "real"),
    ("server", "real"),
    ("real_server", "real"),
    ("monitor", "check"),
    ("health_check", "check"),
    ("healthcheck", "check"),
    ("delay_loop", "interval"),
    ("sorry_server", "sorry"),
];

impl Shape {
    /// Its key called so.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|key| key.name)
    }

    /// Whether this section has such a key, in this version or a later one.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.key(key).is_some() || self.later.iter().any(|(later, _)| *later == key)
    }

    /// The fault of a key this section does not have.
    pub(super) fn unknown(&self, key: &str) -> Fault {
        if self.header == INCLUDED.header && TOP.knows(key) {
            let fault = Fault::new(format!("`{key}` stands in the main file only"));
            return fault.help("an included file has [[service]] and what is below, nothing else");
        }
        let fault = Fault::new(format!("unknown key {} in {}", quote(key), self.header));
        let translated = OTHER_WORDS
            .iter()
            .find(|(other, ours)| *other == key && self.knows(ours))
            .map(|(_, ours)| *ours);
        let names: Vec<&str> = self.names().collect();
        if let Some(name) = translated.or_else(|| closest(key, &names)) {
            return fault.help(format!("did you mean `{name}`?"));
        }
        match SECTIONS.iter().find(|section| section.knows(key)) {
            Some(section) if key == "check" || key == "real" => fault.help(format!(
                "write `[[service.{key}]]`, below its `{}`",
                section.header
            )),
            Some(section) => fault.help(format!("`{key}` is a key of `{}`", section.header)),
            None => fault.help(format!("the keys here are: {}", names.join(", "))),
        }
    }
}

/// The word a mistyped one most likely stands for.
pub(super) fn closest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    /// Longer than any word of ours: comparing would only cost time.
    const MAX_TYPED: usize = 40;
    if typed.len() > MAX_TYPED {
        return None;
    }
    let allowed = (typed.len() / 3).max(1);
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    words
        .iter()
        .map(|word| (strsim::osa_distance(&typed, word), *word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
