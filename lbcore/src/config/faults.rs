//! Gathers every fault of a configuration's files before anybody gives up.
//!
//! While it is gathered, a place is a position in all files together, one behind the other: so it
//! says which file it is in, and in which order two stand.

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

    /// On one line.
    pub(super) fn in_words(self) -> String {
        match self.help {
            Some(help) => format!("{} ({help})", self.message),
            None => self.message,
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
        listed.sort_by_key(|finding| (finding.file, finding.span.start));
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

/// The faults of some texts so far.
pub(super) struct Faults<'t> {
    files: Vec<File<'t>>,
    /// Where lines begin, in all files.
    line_starts: Vec<usize>,
    errors: List,
    warnings: List,
    /// Lines the TOML reader could not read, counted through all files: what it guessed of them is
    /// no mistake of the user's.
    unreadable: RefCell<HashSet<usize>>,
}

struct File<'t> {
    name: &'t str,
    text: &'t str,
    /// The position of its first byte.
    base: usize,
    /// How many lines the files before it have.
    lines_before: usize,
}

impl<'t> Faults<'t> {
    /// Of the files with these names and texts, the main one first.
    pub(super) fn new(texts: &[(&'t str, &'t str)]) -> Self {
        let mut files = Vec::new();
        let (mut base, mut line_starts) = (0, Vec::new());
        for &(name, text) in texts {
            let lines_before = line_starts.len();
            let newlines = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            line_starts.push(base);
            line_starts.extend(newlines.map(|(at, _)| base + at + 1));
            files.push(File {
                name,
                text,
                base,
                lines_before,
            });
            // Its end is a place, too, and not the beginning of the next one.
            base += text.len() + 1;
        }
        Faults {
            files,
            line_starts,
            errors: List::default(),
            warnings: List::default(),
            unreadable: RefCell::default(),
        }
    }

    /// The position of the first byte of a file.
    pub(super) fn base(&self, file: usize) -> usize {
        self.files[file].base
    }

    /// A fault of the TOML itself. Nothing else will be said about its line.
    pub(super) fn syntax(&self, span: Range<usize>, fault: Fault) {
        let line = self.line_of_all(span.start);
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

    /// The line of a place for a message: `line 12`, and of which file where there are several.
    pub(super) fn line_in_words(&self, at: usize) -> String {
        let file = self.file(at);
        let File {
            name, lines_before, ..
        } = &self.files[file];
        let line = self.line_of_all(at) - lines_before;
        match self.files.len() {
            1 => format!("line {line}"),
            _ => format!("line {line} of {name}"),
        }
    }

    /// The line of a place counted through all files, from 1.
    pub(super) fn line_of_all(&self, at: usize) -> usize {
        self.line_starts.partition_point(|start| *start <= at)
    }

    fn file(&self, at: usize) -> usize {
        let after = self.files.partition_point(|file| file.base <= at);
        after.saturating_sub(1)
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
        let line = self.line_of_all(span.start);
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
        let at = self.file(span.start);
        let file = &self.files[at];
        let local = |at: usize| at.saturating_sub(file.base).min(file.text.len());
        let from = local(self.line_starts[line - 1]);
        let span = local(span.start)..local(span.end);
        let before = file.text.get(from..span.start).unwrap_or_default();
        list.listed.borrow_mut().push(ConfigError {
            severity,
            file: at,
            line: line - file.lines_before,
            column: before.trim_start_matches('\u{feff}').chars().count() + 1,
            span,
            path: path.to_owned(),
            message: fault.message,
            help: fault.help,
        });
    }
}
