//! The file as TOML: sections, keys and values, each with its place in the text.
//!
//! The sections are read key by key from `toml`'s spanned document rather than by serde's derive:
//! a derived reader stops at the first fault, and a file's faults are to be told all at once.

use super::faults::{Fault, Faults};
use super::keys::Shape;
use super::value::{quote, type_name};
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Values in one list. Lists are compared item by item, and no service has more addresses or
/// ports one by one.
const MAX_LIST: usize = 1024;

/// A table of the file.
pub(super) struct Section<'t> {
    pub(super) faults: &'t Faults<'t>,
    /// The header, or the whole of an inline table.
    pub(super) span: Range<usize>,
    /// The keys that lead here.
    pub(super) path: String,
    /// The position of its file's first byte.
    base: usize,
    table: &'t DeTable<'t>,
}

/// A place in a file that begins at `base`, among all files.
fn place(base: usize, span: Range<usize>) -> Range<usize> {
    base + span.start..base + span.end
}

impl<'t> Section<'t> {
    /// All of a file.
    pub(super) fn whole(
        faults: &'t Faults<'t>,
        file: usize,
        table: &'t DeTable<'t>,
        shape: &Shape,
    ) -> Self {
        Section::new(faults, faults.base(file), table, 0..0, String::new(), shape)
    }

    /// Takes a table for a section of this shape; keys it cannot have are faults.
    fn new(
        faults: &'t Faults<'t>,
        base: usize,
        table: &'t DeTable<'t>,
        span: Range<usize>,
        path: String,
        shape: &Shape,
    ) -> Self {
        let section = Section {
            faults,
            span: place(base, span),
            path,
            base,
            table,
        };
        for (key, value) in table.iter() {
            let name: &str = key.get_ref();
            if let Some((_, harmless)) = shape.later.iter().find(|(later, _)| *later == name) {
                if scalar(value.get_ref()).as_deref() != Some(*harmless) {
                    let message = format!("`{name}` is not supported by this version yet");
                    let fault = Fault::new(message).help("leave it out");
                    faults.error(section.place(key.span()), &section.path_of(name), fault);
                }
            } else if shape.key(name).is_none() {
                let fault = if faults.full() {
                    Fault::new("unknown key")
                } else {
                    shape.unknown(name)
                };
                faults.error(
                    section.place(key.span()),
                    &section.path_of(&quote_path(name)),
                    fault,
                );
            }
        }
        section
    }

    /// The path of one of its keys.
    pub(super) fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    /// Whether the key is there, whatever it says.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.get(key).is_some()
    }

    /// The place of the key itself; of the section where the key is not there.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.table
            .get_key_value(key)
            .map_or(self.span.clone(), |(key, _)| self.place(key.span()))
    }

    /// A key's value, if it is there and right; if it is there and wrong, that is a fault.
    pub(super) fn get<T>(
        &self,
        key: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        self.read_one(key, self.table.get(key)?, read)
    }

    /// A key's value, or its default.
    pub(super) fn get_or<T>(
        &self,
        key: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
        default: T,
    ) -> T {
        self.get(key, read).map_or(default, Spanned::into_inner)
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &self,
        key: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        self.require(key);
        self.get(key, read)
    }

    /// A key that takes one value or a list of at least one; without doubles.
    pub(super) fn one_or_more<T: PartialEq>(
        &self,
        key: &str,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Vec<Spanned<T>> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let DeValue::Array(items) = value.get_ref() else {
            return self.read_one(key, value, read).into_iter().collect();
        };
        if items.is_empty() {
            self.faults.error(
                self.place(value.span()),
                &self.path_of(key),
                "the list is empty",
            );
        }
        if items.len() > MAX_LIST {
            let fault = Fault::new(format!("a list of {} is too long", items.len()));
            let fault = fault.help(format!("at most {MAX_LIST}"));
            self.faults
                .error(self.place(value.span()), &self.path_of(key), fault);
            return Vec::new();
        }
        let mut values: Vec<Spanned<T>> = Vec::new();
        for item in items.iter() {
            let Some(value) = self.read_one(key, item, &read) else {
                continue;
            };
            if values
                .iter()
                .any(|earlier| earlier.get_ref() == value.get_ref())
            {
                self.faults
                    .error(value.span(), &self.path_of(key), "stands twice in the list");
            } else {
                values.push(value);
            }
        }
        values
    }

    /// Says so if the key is not there.
    pub(super) fn require(&self, key: &str) {
        if !self.has(key) {
            let fault = format!("`{key}` is missing");
            self.faults.missing(self.span.clone(), &self.path, fault);
        }
    }

    /// The single table under a key.
    pub(super) fn table(&self, key: &str, shape: &Shape) -> Option<Section<'t>> {
        let value = self.table.get(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            let fault = Fault::new(format!("`{key}` is a table, not {}", type_name(value)));
            let fault = fault.help(format!("write `{}`", shape.header));
            self.faults
                .error(self.key_span(key), &self.path_of(key), fault);
            return None;
        };
        Some(Section::new(
            self.faults,
            self.base,
            table,
            value.span(),
            self.path_of(key),
            shape,
        ))
    }

    /// The tables under a key that may stand any number of times.
    pub(super) fn tables(&self, key: &str, shape: &Shape) -> Vec<Section<'t>> {
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let refuse = |span, value| {
            let fault = Fault::new(format!(
                "`{key}` is a list of tables, not {}",
                type_name(value)
            ));
            let fault = fault.help(format!("write `{}`, with two brackets", shape.header));
            self.faults.error(span, &self.path_of(key), fault);
        };
        let DeValue::Array(items) = value.get_ref() else {
            refuse(self.key_span(key), value);
            return Vec::new();
        };
        let mut sections = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let DeValue::Table(table) = item.get_ref() else {
                refuse(self.place(item.span()), item);
                continue;
            };
            let path = format!("{}[{}]", self.path_of(key), label(table, index));
            sections.push(Section::new(
                self.faults,
                self.base,
                table,
                item.span(),
                path,
                shape,
            ));
        }
        sections
    }

    fn place(&self, span: Range<usize>) -> Range<usize> {
        place(self.base, span)
    }

    fn read_one<T>(
        &self,
        key: &str,
        value: &Spanned<DeValue<'t>>,
        read: impl Fn(&DeValue<'t>) -> Result<T, Fault>,
    ) -> Option<Spanned<T>> {
        let place = self.place(value.span());
        match read(value.get_ref()) {
            Ok(read) => Some(Spanned::new(place, read)),
            Err(fault) => {
                self.faults.error(place, &self.path_of(key), fault);
                None
            }
        }
    }
}

/// What a table of a list is called in paths: its name or address where it has one.
fn label(table: &DeTable<'_>, index: usize) -> String {
    ["name", "address"]
        .into_iter()
        .find_map(|key| table.get(key)?.get_ref().as_str().map(quote_path))
        .unwrap_or_else(|| format!("#{}", index + 1))
}

/// Text of the file as a part of a path: escaped and short, without quotes.
fn quote_path(text: &str) -> String {
    quote(text).trim_matches('`').to_owned()
}

/// A simple value as plain text, to compare with a default.
fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        _ => None,
    }
}
