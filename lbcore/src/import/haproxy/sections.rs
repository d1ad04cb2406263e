//! `haproxy.cfg` as sections of lines of words. See "Configuration file format" and "Quoting and
//! escaping" in HAProxy's configuration manual.

use super::super::plan::Origin;
use super::super::{ImportError, Lines};

/// A line: its words, without comments and quotes.
#[derive(Debug)]
pub(super) struct Line {
    pub number: usize,
    pub words: Vec<String>,
}

impl Line {
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    /// From a word on.
    pub(super) fn rest(&self, from: usize) -> &[String] {
        self.words.get(from..).unwrap_or_default()
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(Lines::one(self.number), &self.words)
    }
}

/// A section: its header and its lines.
#[derive(Debug)]
pub(super) struct Section {
    pub header: Line,
    pub lines: Vec<Line>,
}

impl Section {
    pub(super) fn kind(&self) -> &str {
        self.header.word(0)
    }

    pub(super) fn name(&self) -> &str {
        match self.header.word(1) {
            "from" => "",
            name => name,
        }
    }

    /// The `defaults` it names by `from`.
    pub(super) fn from(&self) -> Option<&str> {
        let at = self.header.words.iter().position(|word| word == "from")?;
        self.header.words.get(at + 1).map(String::as_str)
    }

    /// All of it.
    pub(super) fn origin(&self) -> Origin {
        let last = self.lines.last().unwrap_or(&self.header).number;
        let lines = Lines {
            first: self.header.number,
            last,
        };
        Origin::new(lines, &self.header.words)
    }
}

const KINDS: [&str; 19] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "peers",
    "mailers",
    "resolvers",
    "userlist",
    "cache",
    "program",
    "http-errors",
    "ring",
    "fcgi-app",
    "log-forward",
    "crt-store",
    "traces",
    "acme",
    "log-profile",
];

/// The sections, and the lines before the first.
pub(super) fn parse(text: &str) -> Result<(Vec<Section>, Vec<Line>), ImportError> {
    let (mut sections, mut before): (Vec<Section>, Vec<Line>) = Default::default();
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        let words = words(number, line)?;
        let Some(first) = words.first() else {
            continue;
        };
        let is_header = KINDS.contains(&first.as_str());
        let line = Line { number, words };
        match sections.last_mut() {
            _ if is_header => sections.push(Section {
                header: line,
                lines: Vec::new(),
            }),
            Some(section) => section.lines.push(line),
            None => before.push(line),
        }
    }
    Ok((sections, before))
}

fn words(number: usize, line: &str) -> Result<Vec<String>, ImportError> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' if quote == Some('\'') => quote = None,
            c if quote == Some('\'') => word.get_or_insert_default().push(c),
            '"' if quote == Some('"') => quote = None,
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            '\\' => {
                let escaped = match chars.next() {
                    Some('n') => Some('\n'),
                    Some('r') => Some('\r'),
                    Some('t') => Some('\t'),
                    other => other,
                };
                word.get_or_insert_default().extend(escaped);
            }
            '#' if quote.is_none() => break,
            c if c.is_whitespace() && quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(ImportError::Quote(number));
    }
    words.extend(word);
    Ok(words)
}
