//! Values with other values inside: lists and inline tables, written anew item by item, so that
//! comments and layout between the items stay.

use super::Keys;
use super::align::{Step, align};
use super::literal::{self, ordered};
use super::model::of_value;
use super::trivia::{comments, indent, newline, skip};
use serde_json::Value;
use std::ops::Range;
use toml_edit::{InlineTable, Value as Toml};

/// The bytes of a value.
pub(super) fn span(value: &Toml) -> Range<usize> {
    // A document that was read has all spans.
    value.span().unwrap_or_default()
}

/// The text of `value` made to say `wanted`.
pub(super) fn rewritten(text: &str, value: &Toml, wanted: &Value) -> String {
    if of_value(value) == *wanted {
        return text[span(value)].to_owned();
    }
    match (value, wanted) {
        (Toml::Array(items), Value::Array(wanted)) => {
            let old: Vec<Value> = items.iter().map(of_value).collect();
            let parts = Parts::of(text, span(value), items.iter().map(span));
            let mut out = Rebuilt::new(text, &parts);
            for step in align(&old, wanted) {
                match step {
                    Step::Keep(at, new) => {
                        let body = items
                            .get(at)
                            .map(|item| rewritten(text, item, &wanted[new]));
                        out.keep(at, &body.unwrap_or_default());
                    }
                    Step::Remove(at) => out.remove(at),
                    Step::Insert(new) => out.insert(&literal::value(&wanted[new])),
                }
            }
            out.finish()
        }
        (Toml::InlineTable(table), Value::Object(wanted)) => {
            rewritten_table(text, span(value), table, wanted)
        }
        _ => literal::value(wanted),
    }
}

fn rewritten_table(text: &str, whole: Range<usize>, table: &InlineTable, wanted: &Keys) -> String {
    let mut leaves = Vec::new();
    leaves_of(table, Some(wanted), &mut leaves);
    leaves.sort_by_key(|(value, _)| span(value).start);
    let parts = Parts::of(text, whole, leaves.iter().map(|(value, _)| span(value)));
    let mut out = Rebuilt::new(text, &parts);
    for (at, (value, wanted)) in leaves.iter().enumerate() {
        match wanted {
            Some(wanted) => {
                let key = &text[parts.items[at].body.start..span(value).start];
                out.keep(at, &format!("{key}{}", rewritten(text, value, wanted)));
            }
            None => out.remove(at),
        }
    }
    for new in missing(table, wanted, "") {
        out.insert(&new);
    }
    out.finish()
}

/// The values of a table, those of its dotted keys included, each with what is wanted of it.
fn leaves_of<'v, 'w>(
    table: &'v InlineTable,
    wanted: Option<&'w Keys>,
    leaves: &mut Vec<(&'v Toml, Option<&'w Value>)>,
) {
    for (key, value) in table.iter() {
        let wanted = wanted.and_then(|wanted| wanted.get(key));
        match value {
            Toml::InlineTable(inner) if inner.is_dotted() => {
                leaves_of(inner, wanted.and_then(Value::as_object), leaves);
            }
            value => leaves.push((value, wanted)),
        }
    }
}

/// The pairs that a table does not have yet.
fn missing(table: &InlineTable, wanted: &Keys, prefix: &str) -> Vec<String> {
    let mut new = Vec::new();
    for (name, value) in ordered("", wanted) {
        let key = format!("{prefix}{}", literal::key(name));
        match (table.get(name), value) {
            (Some(Toml::InlineTable(inner)), Value::Object(wanted)) if inner.is_dotted() => {
                new.extend(missing(inner, wanted, &format!("{key}.")));
            }
            (Some(Toml::InlineTable(inner)), _) if inner.is_dotted() => {
                new.push(format!("{key} = {}", literal::value(value)));
            }
            (Some(_), _) => {}
            (None, _) => new.push(format!("{key} = {}", literal::value(value))),
        }
    }
    new
}

/// A list or an inline table, taken apart.
struct Parts {
    whole: Range<usize>,
    items: Vec<Part>,
    /// What stands before the closing bracket.
    tail: Range<usize>,
    /// A comma comes after the last item.
    trailing_comma: bool,
}

struct Part {
    /// White space and comments before it.
    lead: Range<usize>,
    /// The item itself.
    body: Range<usize>,
    /// White space and comments between it and its comma.
    trail: Range<usize>,
}

impl Parts {
    fn of(text: &str, whole: Range<usize>, values: impl Iterator<Item = Range<usize>>) -> Self {
        let mut at = whole.start + 1;
        let mut trailing_comma = false;
        let mut items = Vec::new();
        for value in values {
            let start = skip(text, at);
            let end = value.end.max(start);
            let after = skip(text, end);
            trailing_comma = text[after..].starts_with(',');
            let trail = end..if trailing_comma { after } else { end };
            items.push(Part {
                lead: at..start,
                body: start..end,
                trail,
            });
            at = if trailing_comma { after + 1 } else { end };
        }
        let tail = at..(whole.end - 1).max(at);
        Parts {
            whole,
            items,
            tail,
            trailing_comma,
        }
    }
}

/// A list or an inline table as it is put together again.
struct Rebuilt<'t> {
    text: &'t str,
    parts: &'t Parts,
    out: String,
    items: usize,
    /// Comments of removed items, which go before the next one.
    carried: String,
    tail: &'t str,
}

impl<'t> Rebuilt<'t> {
    fn new(text: &'t str, parts: &'t Parts) -> Self {
        let mut out = String::new();
        out.push_str(&text[parts.whole.start..parts.whole.start + 1]);
        Rebuilt {
            text,
            parts,
            out,
            items: 0,
            carried: String::new(),
            tail: &text[parts.tail.clone()],
        }
    }

    fn keep(&mut self, at: usize, body: &str) {
        let Part { lead, trail, .. } = &self.parts.items[at];
        let (lead, trail) = (&self.text[lead.clone()], &self.text[trail.clone()]);
        let lead = match lead.is_empty() && self.items > 0 {
            true => " ",
            false => lead,
        };
        self.item(lead, &format!("{body}{trail}"));
    }

    fn remove(&mut self, at: usize) {
        let Part { lead, body, trail } = &self.parts.items[at];
        let lead = &self.text[lead.clone()];
        let next = self.parts.items.get(at + 1);
        let next = next.map_or(self.tail, |next| &self.text[next.lead.clone()]);
        if next.lines().next().is_some_and(|line| line.contains('#')) {
            // The comment at the end of its line takes its place.
            self.carry(lead);
        } else if lead.contains('#') {
            let lines = lead.rfind('\n').map_or(lead.len(), |newline| newline + 1);
            self.carry(&lead[..lines]);
        }
        let rest = &self.text[body.start..trail.end];
        for comment in comments(rest) {
            let newline = newline(self.text);
            self.carry(&format!(" {}{newline}", &rest[comment]));
        }
    }

    fn carry(&mut self, trivia: &str) {
        let trivia = after(&self.carried, trivia);
        self.carried.push_str(trivia);
    }

    fn insert(&mut self, body: &str) {
        let last = self.parts.items.last();
        let lead_of_last = last.map_or("", |last| &self.text[last.lead.clone()]);
        let mut lead = match (lead_of_last.rfind('\n'), last) {
            (Some(newline), _) => {
                let crlf = lead_of_last[..newline].ends_with('\r');
                lead_of_last[newline - usize::from(crlf)..].to_owned()
            }
            (None, None) if self.tail.contains('\n') => {
                let start = self.parts.whole.start;
                format!("{}{}  ", newline(self.text), indent(self.text, start))
            }
            _ if self.items == 0 => lead_of_last.to_owned(),
            _ => " ".to_owned(),
        };
        if self.tail.contains('#') {
            // The comment after the last item is that item's, and ends with its line.
            let cut = self.tail.rfind('\n').unwrap_or_default();
            let cut = cut - usize::from(self.tail[..cut].ends_with('\r'));
            let (comment, rest) = self.tail.split_at(cut);
            self.tail = rest;
            if !lead.contains('\n') {
                lead.insert_str(0, newline(self.text));
            }
            lead.insert_str(0, comment);
        }
        if last.is_none() && self.items == 0 && self.out == "{" && lead.is_empty() {
            lead = " ".to_owned();
            self.tail = " ";
        }
        self.item(&lead, body);
    }

    fn item(&mut self, lead: &str, body: &str) {
        if self.items > 0 {
            self.out.push(',');
        }
        self.items += 1;
        self.out.push_str(&self.carried);
        self.out.push_str(after(&self.carried, lead));
        self.carried.clear();
        self.out.push_str(body);
    }

    fn finish(mut self) -> String {
        if self.items > 0 && self.parts.trailing_comma {
            self.out.push(',');
        }
        self.out.push_str(&self.carried);
        self.out.push_str(after(&self.carried, self.tail));
        self.out
            .push_str(&self.text[self.parts.whole.end - 1..self.parts.whole.end]);
        self.out
    }
}

/// White space and comments to follow on `before` without a second line end or indentation.
fn after<'t>(before: &str, trivia: &'t str) -> &'t str {
    match before.chars().last() {
        None => trivia,
        Some('\n') => trivia
            .strip_prefix('\r')
            .unwrap_or(trivia)
            .trim_start_matches('\n'),
        Some(_) => trivia.trim_start_matches([' ', '\t']),
    }
}
