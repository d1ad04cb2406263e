//! `keepalived.conf` as a tree of statements, each with its lines. See keepalived.conf(5).

use super::super::plan::Origin;
use super::super::{ImportError, Lines};
use std::collections::BTreeMap;

/// keepalived's own blocks are four deep.
const MAX_DEPTH: usize = 16;

/// Parameters within parameters; keepalived puts them in until there are none.
const MAX_SUBSTITUTIONS: usize = 64;

/// What one line may grow to by parameters.
const MAX_LINE: usize = 4096;

/// `words` or `words { block }`.
#[derive(Debug)]
pub(super) struct Node {
    pub lines: Lines,
    pub words: Vec<String>,
    pub block: Option<Vec<Node>>,
}

impl Node {
    /// The keyword.
    pub(super) fn name(&self) -> &str {
        self.word(0)
    }

    /// A word, or nothing.
    pub(super) fn word(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn origin(&self) -> Origin {
        Origin::new(self.lines, &self.words)
    }

    /// What stands in its block.
    pub(super) fn children(&self) -> &[Node] {
        self.block.as_deref().unwrap_or_default()
    }
}

/// What a line that is no statement was.
#[derive(Debug)]
pub(super) struct Skipped {
    pub origin: Origin,
    pub why: &'static str,
}

/// The statements of a file, and the lines that are none.
pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Vec<Skipped>), ImportError> {
    let mut parser = Parser::default();
    for (index, line) in text.lines().enumerate() {
        parser.line(index + 1, line)?;
    }
    match parser.open.last() {
        Some(open) => Err(ImportError::Unclosed(open.lines.first)),
        None => Ok((parser.done, parser.skipped)),
    }
}

#[derive(Default)]
struct Parser {
    /// Blocks that are not closed yet, the outermost first.
    open: Vec<Node>,
    done: Vec<Node>,
    skipped: Vec<Skipped>,
    parameters: BTreeMap<String, String>,
    /// The line continues a definition of several lines.
    in_definition: bool,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str) -> Result<(), ImportError> {
        let continued = line.trim_end().ends_with('\\');
        if std::mem::replace(&mut self.in_definition, false) {
            self.in_definition = continued;
            self.skip(
                number,
                line,
                "part of a parameter of several lines, which is not put in",
            );
            return Ok(());
        }
        let mut line = line.trim_start().to_owned();
        if line.starts_with('@') {
            let why = "left out: only for one config-id; take the @word away where it holds";
            self.skip(number, &line, why);
            return Ok(());
        }
        if let Some((name, value)) = definition(&line) {
            self.in_definition = continued;
            match continued {
                true => {
                    let why = "a parameter of several lines is not put in: write its lines out";
                    self.skip(number, &line, why);
                }
                false => {
                    self.parameters
                        .insert(name.to_owned(), value.trim().to_owned());
                }
            }
            return Ok(());
        }
        if !self.parameters.is_empty() {
            line = self.substituted(&line);
        }
        self.statements(number, &line)
    }

    fn skip(&mut self, number: usize, line: &str, why: &'static str) {
        let words: Vec<&str> = line.split_whitespace().collect();
        if !words.is_empty() {
            let origin = Origin::new(Lines::one(number), &words);
            self.skipped.push(Skipped { origin, why });
        }
    }

    /// The line with `$NAME` and `${NAME}` replaced by their values.
    fn substituted(&self, line: &str) -> String {
        let mut line = line.to_owned();
        let mut from = 0;
        for _ in 0..MAX_SUBSTITUTIONS {
            let Some(at) = line[from..].find('$').map(|at| from + at) else {
                break;
            };
            let rest = &line[at + 1..];
            let (name, end) = match rest.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(close) => (&inner[..close], at + 1 + close + 2),
                    None => (inner, line.len()),
                },
                None => {
                    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let len = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
                    (&rest[..len], at + 1 + len)
                }
            };
            match self.parameters.get(name) {
                Some(value) if line.len() + value.len() <= MAX_LINE => {
                    line.replace_range(at..end, value);
                    from = at;
                }
                _ => from = at + 1,
            }
        }
        line
    }

    fn statements(&mut self, number: usize, line: &str) -> Result<(), ImportError> {
        let mut words = Vec::new();
        for token in tokens(number, line)? {
            match token {
                Token::Word(word) => words.push(word),
                Token::Open => self.open_block(number, &mut words)?,
                Token::Close => {
                    self.leaf(number, &mut words);
                    let Some(mut node) = self.open.pop() else {
                        return Err(ImportError::Unopened(number));
                    };
                    node.lines.last = number;
                    self.here().push(node);
                }
            }
        }
        self.leaf(number, &mut words);
        Ok(())
    }

    /// The statements of the innermost open block.
    fn here(&mut self) -> &mut Vec<Node> {
        match self.open.last_mut() {
            Some(node) => node.block.get_or_insert_default(),
            None => &mut self.done,
        }
    }

    fn leaf(&mut self, number: usize, words: &mut Vec<String>) {
        let included = |name: &String| {
            let rest = name.strip_prefix("include");
            rest.is_some_and(|rest| ["", "a", "b", "m", "r", "w"].contains(&rest))
        };
        if words.first().is_some_and(included) {
            self.skipped.push(Skipped {
                origin: Origin::new(Lines::one(number), words),
                why: "not read: put what that file has in here, or import it, too",
            });
            words.clear();
        }
        if !words.is_empty() {
            let node = Node {
                lines: Lines::one(number),
                words: std::mem::take(words),
                block: None,
            };
            self.here().push(node);
        }
    }

    fn open_block(&mut self, number: usize, words: &mut Vec<String>) -> Result<(), ImportError> {
        if self.open.len() == MAX_DEPTH {
            return Err(ImportError::TooDeep(number));
        }
        // The brace may stand on the line after its statement.
        let before = match words.is_empty() {
            true => self.here().pop_if(|node| node.block.is_none()),
            false => None,
        };
        let mut node = before.unwrap_or_else(|| Node {
            lines: Lines::one(number),
            words: std::mem::take(words),
            block: None,
        });
        node.block = Some(Vec::new());
        self.open.push(node);
        Ok(())
    }
}

/// `$NAME=VALUE`
fn definition(line: &str) -> Option<(&str, &str)> {
    let (name, value) = line.strip_prefix('$')?.split_once('=')?;
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    (!name.is_empty() && name.chars().all(is_name)).then_some((name, value))
}

enum Token {
    Word(String),
    Open,
    Close,
}

fn tokens(number: usize, line: &str) -> Result<Vec<Token>, ImportError> {
    let mut tokens = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' | '!' => break,
            '{' | '}' => {
                tokens.extend(word.take().map(Token::Word));
                tokens.push(if c == '{' { Token::Open } else { Token::Close });
            }
            // A parameter that nobody defined stays as it is.
            '$' if chars.peek() == Some(&'{') => {
                let word = word.get_or_insert_default();
                word.push(c);
                for c in chars.by_ref() {
                    word.push(c);
                    if c == '}' {
                        break;
                    }
                }
            }
            '"' | '\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        None => return Err(ImportError::Quote(number)),
                        Some(end) if end == c => break,
                        Some('\\') => word.extend(chars.next()),
                        Some(inner) => word.push(inner),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            c if c.is_whitespace() => tokens.extend(word.take().map(Token::Word)),
            c => word.get_or_insert_default().push(c),
        }
    }
    tokens.extend(word.map(Token::Word));
    Ok(tokens)
}
