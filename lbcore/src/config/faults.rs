//! Gathers every fault of a file before anybody gives up.

use super::{ConfigError, Severity};
use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::ops::Range;

/// Errors, and warnings, listed of one file. A binary thrown at us has as many faults as lines; nobody reads
/// the hundred-and-first.
pub(super) const MAX_LISTED: usize = 100;

/// What is wrong with a value, before anybody knows where it stands.
#[derive(Debug)]
pub(super) struct Fault {
    message: String,
    help: Option<String>,
}

impl Fault {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Fault {
            message: message.into(),
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Fault::new(message)
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        Fault::new(message)
    }
}

/// Findings of one severity.
#[derive(Default)]
struct List {
    listed: RefCell<Vec<ConfigError>>,
    unlisted: Cell<usize>,
}

impl List {
    fn full(&self) -> bool {
        self.listed.borrow().len() >= MAX_LISTED
    }

    /// In file order, with a last word on how many more there are.
    fn finish(self) -> Vec<ConfigError> {
        let mut listed = self.listed.into_inner();
        listed.sort_by_key(|finding| finding.span.start);
        if let (Some(last), more @ 1..) = (listed.last().cloned(), self.unlisted.get()) {
            let message = format!("and {more} more, which are not listed");
            listed.push(ConfigError {
                path: String::new(),
                message,
                help: None,
                ..last
            });
        }
        listed
    }
}

/// The faults of one text so far.
pub(super) struct Faults<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    errors: List,
    warnings: List,
    /// Lines the TOML reader could not read: what it guessed of them is no mistake of the user's.
    unreadable: RefCell<HashSet<usize>>,
}

impl<'t> Faults<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Faults {
            text,
            line_starts: std::iter::once(0)
                .chain(newlines.map(|(at, _)| at + 1))
                .collect(),
            errors: List::default(),
            warnings: List::default(),
            unreadable: RefCell::default(),
        }
    }

    /// A fault of the TOML itself. Nothing else will be said about its line.
    pub(super) fn syntax(&self, span: Range<usize>, fault: Fault) {
        let line = self.line(span.start);
        self.push(Severity::Error, span, "", fault);
        self.unreadable.borrow_mut().insert(line);
    }

    /// A fault of what a key or value says.
    pub(super) fn error(&self, span: Range<usize>, path: &str, fault: impl Into<Fault>) {
        self.push(Severity::Error, span, path, fault.into());
    }

    /// Something legal that may surprise.
    pub(super) fn warn(&self, span: Range<usize>, path: &str, fault: impl Into<Fault>) {
        self.push(Severity::Warning, span, path, fault.into());
    }

    /// Something that ought to be in the file. Where lines could not be read it may well be
    /// there, so then this says nothing.
    pub(super) fn missing(&self, span: Range<usize>, path: &str, fault: impl Into<Fault>) {
        if self.unreadable.borrow().is_empty() {
            self.error(span, path, fault);
        }
    }

    /// Whether more faults would only be counted: whoever has work to do for a good message can
    /// spare it.
    pub(super) fn full(&self) -> bool {
        self.errors.full()
    }

    /// The line of a byte of the text, from 1.
    pub(super) fn line(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    /// The errors, or if there are none the warnings; both in file order.
    pub(super) fn finish(self) -> Result<Vec<ConfigError>, Vec<ConfigError>> {
        let errors = self.errors.finish();
        if errors.is_empty() {
            Ok(self.warnings.finish())
        } else {
            Err(errors)
        }
    }

    fn push(&self, severity: Severity, span: Range<usize>, path: &str, fault: Fault) {
        let line = self.line(span.start);
        if self.unreadable.borrow().contains(&line) {
            return;
        }
        let list = match severity {
            Severity::Error => &self.errors,
            Severity::Warning => &self.warnings,
        };
        if list.full() {
            list.unlisted.set(list.unlisted.get() + 1);
            return;
        }
        let from = self.line_starts[line - 1];
        let before = self.text.get(from..span.start).unwrap_or_default();
        list.listed.borrow_mut().push(ConfigError {
            severity,
            line,
            column: before.trim_start_matches('\u{feff}').chars().count() + 1,
            span,
            path: path.to_owned(),
            message: fault.message,
            help: fault.help,
        });
    }
}
