//! The sheet of text a command prints.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, Table, presets,
};
use lbcore::api::printable;
use std::time::SystemTime;

/// How to draw.
#[derive(Clone, Debug)]
pub struct Look {
    /// More columns.
    pub wide: bool,
    /// Headers above tables.
    pub headers: bool,
    /// With colours.
    pub color: bool,
    /// Columns of the terminal; `None`: as wide as it gets.
    pub width: Option<u16>,
    /// What times are counted back from.
    pub now: SystemTime,
}

/// What a colour stands for. The words say the same: colour only finds them sooner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// On its way, or not all of it.
    Uneasy,
    /// Somebody should do something.
    Bad,
    /// Of no interest now.
    Quiet,
    /// Neither.
    Plain,
}

impl Tone {
    fn color(self) -> Option<(Color, &'static str)> {
        match self {
            Tone::Good => Some((Color::DarkGreen, "\x1b[32m")),
            Tone::Uneasy => Some((Color::DarkYellow, "\x1b[33m")),
            Tone::Bad => Some((Color::DarkRed, "\x1b[1;31m")),
            Tone::Quiet => Some((Color::DarkGrey, "\x1b[90m")),
            Tone::Plain => None,
        }
    }
}

/// One column of a table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its header.
    pub title: &'static str,
    /// Numbers stand right.
    pub right: bool,
}

/// A column of words.
pub const fn words(title: &'static str) -> Column {
    Column {
        title,
        right: false,
    }
}

/// A column of numbers.
pub const fn numbers(title: &'static str) -> Column {
    Column { title, right: true }
}

/// One field of a table.
#[derive(Clone, Debug)]
pub struct Field {
    text: String,
    tone: Tone,
}

impl Field {
    /// With a tone.
    pub fn toned(text: impl Into<String>, tone: Tone) -> Self {
        Field {
            text: text.into(),
            tone,
        }
    }

    /// Its tone.
    pub fn tone(&self) -> Tone {
        self.tone
    }

    /// With the same tone and other words.
    pub fn with_text(self, text: impl Into<String>) -> Self {
        Field::toned(text, self.tone)
    }
}

impl<T: Into<String>> From<T> for Field {
    fn from(text: T) -> Self {
        Field::toned(text, Tone::Plain)
    }
}

/// The sheet.
#[derive(Debug)]
pub struct Page {
    /// How to draw.
    pub look: Look,
    text: String,
}

impl Page {
    /// An empty sheet.
    pub fn new(look: Look) -> Self {
        Page {
            look,
            text: String::new(),
        }
    }

    /// What was written.
    pub fn into_text(self) -> String {
        self.text
    }

    /// One line.
    pub fn line(&mut self, text: &str) {
        self.toned_line(Tone::Plain, text);
    }

    /// One line in a tone.
    pub fn toned_line(&mut self, tone: Tone, text: &str) {
        let safe = printable(text);
        match tone.color().filter(|_| self.look.color) {
            Some((_, escape)) => self.text.push_str(&format!("{escape}{safe}\x1b[0m\n")),
            None => self.text.push_str(&format!("{safe}\n")),
        }
    }

    /// An empty line between two parts.
    pub fn gap(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
    }

    /// `key  value` lines, values below each other.
    pub fn pairs<F: Into<Field>>(&mut self, pairs: impl IntoIterator<Item = (&'static str, F)>) {
        let mut table = Table::new();
        for (key, value) in pairs {
            let key = Field::toned(key, Tone::Quiet);
            table.add_row([self.cell(key), self.cell(value.into())]);
        }
        for line in self.lines(table, &[words(""), words("")]) {
            self.put(&line);
        }
    }

    /// A table; its last column wraps where the terminal ends.
    pub fn table(&mut self, columns: &[Column], rows: impl IntoIterator<Item = Vec<Field>>) {
        let mut table = self.headed(columns);
        for row in rows {
            table.add_row(row.into_iter().map(|field| self.cell(field)));
        }
        for line in self.lines(table, columns) {
            self.put(&line);
        }
    }

    /// A table in groups: each a line of its own, and rows below it in columns that all groups
    /// share.
    pub fn groups(&mut self, columns: &[Column], groups: Vec<(Field, Vec<Vec<Field>>)>) {
        let mut table = self.headed(columns);
        let mut headings = Vec::new();
        for (heading, rows) in groups {
            table.add_row([HEADING]);
            headings.push(heading);
            for row in rows {
                table.add_row(row.into_iter().map(|field| self.cell(field)));
            }
        }
        let mut headings = headings.into_iter();
        for line in self.lines(table, columns) {
            match line.trim_end() {
                HEADING => {
                    let heading = headings.next();
                    heading
                        .into_iter()
                        .for_each(|h| self.toned_line(h.tone, &h.text));
                }
                line => self.put(line),
            }
        }
    }

    fn headed(&self, columns: &[Column]) -> Table {
        let mut table = Table::new();
        if self.look.headers {
            let titles = columns
                .iter()
                .map(|column| Field::toned(column.title, Tone::Quiet));
            table.set_header(titles.map(|title| self.cell(title)));
        }
        table
    }

    fn put(&mut self, line: &str) {
        self.text.push_str(line.trim_end());
        self.text.push('\n');
    }

    fn cell(&self, field: Field) -> Cell {
        let cell = Cell::new(printable(&field.text));
        match field.tone.color() {
            Some((color, _)) if field.tone == Tone::Bad => {
                cell.fg(color).add_attribute(Attribute::Bold)
            }
            Some((color, _)) => cell.fg(color),
            None => cell,
        }
    }

    fn lines(&self, mut table: Table, columns: &[Column]) -> Vec<String> {
        table.load_style(presets::NOTHING).force_no_tty();
        if self.look.color {
            table.enforce_styling();
        }
        for (made, column) in table.column_iter_mut().zip(columns) {
            made.set_padding((0, 2));
            made.set_constraint(ColumnConstraint::ContentWidth);
            if column.right {
                made.set_cell_alignment(CellAlignment::Right);
            }
        }
        if let Some(last) = columns
            .len()
            .checked_sub(1)
            .and_then(|last| table.column_mut(last))
        {
            last.set_padding((0, 0)).remove_constraint();
        }
        match self.look.width.filter(|&width| width >= narrowest(&table)) {
            Some(width) => table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(width),
            None => table.set_content_arrangement(ContentArrangement::Disabled),
        };
        table.lines().collect()
    }
}

/// Stands in a table where a heading will be. No field can hold it: [`printable`] escapes it.
const HEADING: &str = "\u{1}";

/// The last column wraps where it has this much room; with less, a line is broken by the terminal
/// rather than into a word, or a letter, each.
const ROOM_TO_WRAP: u16 = 18;

/// The least width of a terminal in which the last column of `table` wraps.
fn narrowest(table: &Table) -> u16 {
    let widths = table.column_max_content_widths();
    let (_, others) = widths.split_last().unwrap_or((&0, &[]));
    let padded = others.iter().map(|width| width.saturating_add(2));
    padded.fold(ROOM_TO_WRAP, u16::saturating_add)
}
