//! A file made to say something: the walk over its sections.

use super::Keys;
use super::align::{Step, align};
use super::inline::{rewritten, span};
use super::literal::{self, Brackets, Look, is_section, ordered};
use super::model::of;
use super::splice::Splices;
use super::trivia::{comments, indent, is_comment, line_end, line_start, newline};
use serde_json::Value;
use std::ops::Range;
use toml_edit::{ArrayOfTables, Document, Item, Key, Table};

/// `text`, which `document` was read from, made to say `wanted`.
pub(super) fn fitted(text: &str, document: &Document<&str>, wanted: &Keys) -> String {
    let mut fit = Fit {
        text,
        newline: newline(text),
        headers: Vec::new(),
        ends: Vec::new(),
        splices: Splices::default(),
    };
    fit.note(document.as_table());
    fit.headers.sort_unstable();
    fit.ends.sort_unstable();
    fit.table("", "", document.as_table(), wanted);
    fit.splices.apply(text)
}

struct Fit<'t> {
    text: &'t str,
    newline: &'static str,
    /// Where headers begin.
    headers: Vec<usize>,
    /// Where headers and values end: no comment reaches over one.
    ends: Vec<usize>,
    splices: Splices,
}

/// A line `key = value` of a section: the bytes of both. Dotted keys have several to a table.
struct Leaf {
    key: Range<usize>,
    value: Range<usize>,
}

impl<'t> Fit<'t> {
    /// Notes where everything below a table begins and ends.
    fn note(&mut self, table: &Table) {
        if let Some(header) = header(table) {
            self.headers.push(header.start);
            self.ends.push(header.end);
        }
        for (_, item) in table.iter() {
            match item {
                Item::None => {}
                Item::Value(value) => self.ends.push(span(value).end),
                Item::Table(table) => self.note(table),
                Item::ArrayOfTables(tables) => tables.iter().for_each(|table| self.note(table)),
            }
        }
    }

    /// Makes a section say `wanted`. `prefix` is what dotted keys to it begin with.
    fn table(&mut self, path: &str, prefix: &str, table: &Table, wanted: &Keys) {
        let mut missing: Vec<&String> = Vec::new();
        for (name, value) in ordered(path, wanted) {
            match table.get_key_value(name) {
                None => missing.push(name),
                Some((_, item)) if of(item) == *value => {}
                Some((key, item)) => {
                    if !self.item(path, prefix, (key, item), value) {
                        self.remove(key, item);
                        missing.push(name);
                    }
                }
            }
        }
        let names: Vec<&str> = table.iter().map(|(name, _)| name).collect();
        for name in names.into_iter().filter(|name| !wanted.contains_key(*name)) {
            if let Some((key, item)) = table.get_key_value(name) {
                self.remove(key, item);
            }
        }
        let mut lines = String::new();
        for name in missing {
            let value = &wanted[name];
            match prefix.is_empty() && is_section(path, name, value) {
                true => self.add_sections(path, name, table, value),
                false => lines.push_str(&self.line(prefix, name, table, value)),
            }
        }
        if !lines.is_empty() {
            self.splices.lines(self.direct_end(table), lines);
        }
    }

    /// Makes an item that says something else say `value`. False: it is of another kind.
    fn item(
        &mut self,
        path: &str,
        prefix: &str,
        (key, item): (&Key, &Item),
        value: &Value,
    ) -> bool {
        let below = match path {
            "" => key.get().to_owned(),
            _ => format!("{path}.{}", key.get()),
        };
        match (item, value) {
            (Item::Value(old), value) => {
                let place = span(old);
                let new = rewritten(self.text, old, value);
                self.keep_comments(place.clone(), &new);
                self.splices.replace(place, new);
            }
            (Item::Table(table), Value::Object(wanted)) => {
                let prefix = match table.is_dotted() {
                    true => format!("{prefix}{}.", literal::key(key.get())),
                    false => String::new(),
                };
                self.table(&below, &prefix, table, wanted);
            }
            (Item::ArrayOfTables(tables), Value::Array(wanted))
                if !wanted.is_empty() && wanted.iter().all(Value::is_object) =>
            {
                self.list(&below, tables, wanted);
            }
            _ => return false,
        }
        true
    }

    /// Comments of an old value that the new one has no place for get lines of their own.
    fn keep_comments(&mut self, old: Range<usize>, new: &str) {
        let before = &self.text[old.clone()];
        let mut kept: Vec<&str> = comments(new).into_iter().map(|at| &new[at]).collect();
        let mut lost = String::new();
        let line = line_start(self.text, old.start);
        let indent = &self.text[line..];
        let indent = &indent[..indent.len() - indent.trim_start_matches([' ', '\t']).len()];
        for comment in comments(before) {
            let comment = &before[comment];
            match kept.iter().position(|kept| *kept == comment) {
                Some(at) => {
                    kept.swap_remove(at);
                }
                None => lost.push_str(&format!("{indent}{comment}{}", self.newline)),
            }
        }
        if !lost.is_empty() {
            self.splices.lines(line, lost);
        }
    }

    fn list(&mut self, path: &str, tables: &ArrayOfTables, wanted: &[Value]) {
        let old: Vec<Value> = tables
            .iter()
            .map(|t| Value::Object(super::model::meaning(t)))
            .collect();
        let mut before = None;
        for step in align(&old, wanted) {
            match step {
                Step::Keep(at, new) => {
                    if let (Some(table), Some(wanted)) = (tables.get(at), wanted[new].as_object()) {
                        self.table(path, "", table, wanted);
                    }
                    before = Some(at);
                }
                Step::Remove(at) => {
                    if let Some(table) = tables.get(at) {
                        self.remove_section(table);
                    }
                    before = Some(at);
                }
                Step::Insert(new) => {
                    let sibling = tables.get(before.unwrap_or_default());
                    let at = match (before, sibling) {
                        (Some(_), Some(sibling)) => self.end_for(path, sibling),
                        (None, Some(first)) => header(first).map_or(0, |h| self.attached(h.start)),
                        (_, None) => self.text.len(),
                    };
                    let Some(keys) = wanted[new].as_object() else {
                        continue;
                    };
                    let look = self.look(sibling);
                    let text = literal::section(path, keys, Brackets::Two, &look);
                    self.splices.sections(at, text);
                }
            }
        }
    }

    /// Where a section comes that follows on `sibling`: a service goes to the end of the file where
    /// only comments would come after it.
    fn end_for(&self, path: &str, sibling: &Table) -> usize {
        let end = self.end_of_all(sibling);
        let last = self.headers.last().is_none_or(|header| *header < end);
        match path == "service" && last {
            true => self.text.len(),
            false => end,
        }
    }

    /// The sections of a key that a section does not have yet.
    fn add_sections(&mut self, path: &str, name: &str, table: &Table, value: &Value) {
        let at = match (path, name) {
            ("", _) => self.text.len(),
            // Checks come before reals.
            (_, "check") => self.end_of(table),
            _ => self.end_of_all(table),
        };
        let path = if path.is_empty() {
            name.to_owned()
        } else {
            format!("{path}.{name}")
        };
        let look = self.look(Some(table));
        let mut texts = Vec::new();
        match value {
            Value::Array(items) => {
                for keys in items.iter().filter_map(Value::as_object) {
                    texts.push(literal::section(&path, keys, Brackets::Two, &look));
                }
            }
            Value::Object(keys) => texts.push(literal::section(&path, keys, Brackets::One, &look)),
            _ => {}
        }
        for text in texts {
            self.splices.sections(at, text);
        }
    }

    /// A new line of a section, its `=` below those of its neighbours where they are aligned.
    fn line(&self, prefix: &str, name: &str, table: &Table, value: &Value) -> String {
        let leaves = leaves(table);
        let first = leaves.first().map(|leaf| leaf.key.start);
        let own = header(table).map(|header| header.start);
        let indent = first.or(own).map_or("", |at| indent(self.text, at));
        let key = format!("{prefix}{}", literal::key(name));
        let column = |leaf: &Leaf| {
            let equals = self.text[leaf.key.end..leaf.value.start].find('=')?;
            Some(leaf.key.end + equals - line_start(self.text, leaf.key.start))
        };
        let columns: Vec<Option<usize>> = leaves.iter().map(column).collect();
        let width = match columns.as_slice() {
            [Some(first), rest @ ..]
                if !rest.is_empty() && rest.iter().all(|c| *c == Some(*first)) =>
            {
                first.saturating_sub(indent.len() + 1)
            }
            _ => 0,
        };
        let value = literal::value(value);
        format!("{indent}{key:width$} = {value}{}", self.newline)
    }

    fn remove(&mut self, key: &Key, item: &Item) {
        match item {
            Item::None => {}
            Item::Value(value) => {
                let key = key.span().unwrap_or_default();
                self.remove_line(&Leaf {
                    key,
                    value: span(value),
                });
            }
            Item::Table(table) if table.is_dotted() => {
                leaves(table).iter().for_each(|leaf| self.remove_line(leaf));
            }
            Item::Table(table) => self.remove_section(table),
            Item::ArrayOfTables(tables) => {
                tables.iter().for_each(|table| self.remove_section(table))
            }
        }
    }

    /// Takes a line out; its comments stay, as lines of their own.
    fn remove_line(&mut self, leaf: &Leaf) {
        let start = line_start(self.text, leaf.key.start);
        let end = line_end(self.text, leaf.value.end);
        let rest = &self.text[leaf.value.start..end];
        let indent = indent(self.text, leaf.key.start);
        let left: String = comments(rest)
            .into_iter()
            .map(|comment| format!("{indent}{}{}", &rest[comment], self.newline))
            .collect();
        self.splices.replace(start..end, left);
    }

    /// Takes a section out with the sections below it, and with the comments that stand directly
    /// above and below.
    fn remove_section(&mut self, table: &Table) {
        if let Some(header) = header(table) {
            self.splices
                .gone(self.attached(header.start)..self.end_of(table));
        }
        for (_, item) in table.iter() {
            match item {
                Item::Table(below) if !below.is_dotted() => self.remove_section(below),
                Item::ArrayOfTables(below) => below.iter().for_each(|t| self.remove_section(t)),
                _ => {}
            }
        }
    }

    fn look(&self, sibling: Option<&Table>) -> Look<'t> {
        let header = sibling.and_then(header).map(|header| header.start);
        let leaf = sibling.and_then(|table| Some(leaves(table).first()?.key.start));
        let text = self.text;
        Look {
            newline: self.newline,
            header: header.map_or("", |at| indent(text, at)),
            line: leaf.or(header).map_or("", |at| indent(text, at)),
        }
    }

    /// Where the line after a section's last own line begins.
    fn direct_end(&self, table: &Table) -> usize {
        let leaves = leaves(table);
        let last = leaves.iter().map(|leaf| leaf.value.end).max();
        let last = last.or(header(table).map(|header| header.end));
        last.map_or(0, |at| line_end(self.text, at))
    }

    /// The same, with comments that stand directly below.
    fn end_of(&self, table: &Table) -> usize {
        let mut end = self.direct_end(table);
        let from = header(table).map_or(0, |header| header.start);
        let next = self.headers.partition_point(|header| *header <= from);
        let limit = self
            .headers
            .get(next)
            .map_or(self.text.len(), |next| self.attached(*next));
        while end < limit && is_comment(&self.text[end..line_end(self.text, end)]) {
            end = line_end(self.text, end);
        }
        end
    }

    /// The end of a section and of all sections below it.
    fn end_of_all(&self, table: &Table) -> usize {
        let mut end = self.end_of(table);
        for (_, item) in table.iter() {
            match item {
                Item::Table(below) if !below.is_dotted() => end = end.max(self.end_of_all(below)),
                Item::ArrayOfTables(below) => {
                    end = below
                        .iter()
                        .map(|t| self.end_of_all(t))
                        .fold(end, usize::max);
                }
                _ => {}
            }
        }
        end
    }

    /// Where a header begins, with the comments that stand directly above it.
    fn attached(&self, header: usize) -> usize {
        let before = self.ends.partition_point(|end| *end <= header);
        let floor = before
            .checked_sub(1)
            .map_or(0, |at| line_end(self.text, self.ends[at]));
        let mut start = line_start(self.text, header);
        while start > floor {
            let above = line_start(self.text, start - 1);
            if above < floor || !is_comment(&self.text[above..start]) {
                break;
            }
            start = above;
        }
        start
    }
}

/// The header of a section that has one of its own.
fn header(table: &Table) -> Option<Range<usize>> {
    let own = !table.is_dotted() && !table.is_implicit();
    // The file itself has an empty span.
    table.span().filter(|span| own && !span.is_empty())
}

/// The lines of a section, in no order but its own.
fn leaves(table: &Table) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    for (name, item) in table.iter() {
        match item {
            Item::Value(value) => {
                let key = table.key(name).and_then(Key::span).unwrap_or_default();
                leaves.push(Leaf {
                    key,
                    value: span(value),
                });
            }
            Item::Table(below) if below.is_dotted() => leaves.extend(self::leaves(below)),
            _ => {}
        }
    }
    leaves
}
