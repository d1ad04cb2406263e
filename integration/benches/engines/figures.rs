//! Figures of all rounds, and the page they make.

use crate::machine;
use crate::plot;
use crate::rows::Row;
use anyhow::Context;
use std::fmt;
use std::path::Path;

/// Where `--write` puts the tables and the plot.
const DOCS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs");
const BEGIN: &str = "<!-- engines: written by the benchmark -->\n";
const END: &str = "<!-- end of the engines -->\n";

/// All that was measured, in the order in which it was.
#[derive(Default)]
pub struct Figures {
    rows: Vec<(&'static Row, Vec<f64>)>,
    /// What could not be measured, and why.
    left_out: Vec<String>,
    /// How each lbd was run, in its own words.
    engines: Vec<String>,
}

impl Figures {
    /// Adds what was measured in the round it is in, and prints it.
    pub fn note(&mut self, row: &'static Row, value: f64) {
        println!("  {}: {}", row.what, row.show(value));
        match self
            .rows
            .iter_mut()
            .find(|(known, _)| std::ptr::eq(*known, row))
        {
            Some((_, values)) => values.push(value),
            None => self.rows.push((row, vec![value])),
        }
    }

    /// Says what could not be measured here, and why.
    pub fn leave_out(&mut self, what: &str, why: &str) {
        let line = format!("{what}: not measured, {why}");
        println!("  {line}");
        self.left_out.push(line);
    }

    /// Says how an lbd was run.
    pub fn engine(&mut self, words: String) {
        println!("  {words}");
        if !self.engines.contains(&words) {
            self.engines.push(words);
        }
    }

    /// The median of a row's rounds.
    pub fn median(&self, row: &'static Row) -> Option<f64> {
        let (_, values) = self
            .rows
            .iter()
            .find(|(known, _)| std::ptr::eq(*known, row))?;
        Some(quantile(values, 0.5))
    }

    /// Replaces the tables in docs/benchmarks.md, and the plot beside it.
    ///
    /// # Errors
    /// When the page or its marks are not there.
    pub fn write(&self, command: &str) -> anyhow::Result<()> {
        let page = Path::new(DOCS).join("benchmarks.md");
        let text = std::fs::read_to_string(&page).context("docs/benchmarks.md")?;
        let (before, rest) = text.split_once(BEGIN).context("no begin mark")?;
        let (_, after) = rest.split_once(END).context("no end mark")?;
        let made = format!("`{command}`, {}\n\n{self}", machine::describe());
        std::fs::write(&page, format!("{before}{BEGIN}\n{made}\n{END}{after}"))?;
        if let Some(plot) = plot::draw(self) {
            std::fs::write(Path::new(DOCS).join("pictures/engines.svg"), plot)?;
        }
        Ok(())
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| | median | of rounds | floor | goal | reached |")?;
        writeln!(f, "|---|---|---|---|---|---|")?;
        for wanted in [true, false] {
            for (row, values) in &self.rows {
                if row.wanted.is_some() != wanted {
                    continue;
                }
                let median = quantile(values, 0.5);
                let spread = match values.len() {
                    1 => String::new(),
                    _ => format!(
                        "{} to {}",
                        row.show(quantile(values, 0.0)),
                        row.show(quantile(values, 1.0))
                    ),
                };
                let (floor, goal) = row
                    .wanted
                    .map(|wanted| (row.show(wanted.floor), row.show(wanted.goal)))
                    .unwrap_or_default();
                writeln!(
                    f,
                    "| {} | {} | {spread} | {floor} | {goal} | {} |",
                    row.what,
                    row.show(median),
                    row.judge(median)
                )?;
            }
        }
        for line in &self.left_out {
            writeln!(f, "\n{line}.")?;
        }
        if !self.engines.is_empty() {
            writeln!(f, "\nHow lbd ran, as `lbctl status` says it:\n")?;
            for words in &self.engines {
                writeln!(f, "- {words}")?;
            }
        }
        Ok(())
    }
}

/// The value below which `part` of all lie; the mean of the two in the middle where there is no
/// middle one.
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = part * (sorted.len().saturating_sub(1)) as f64;
    let at = |place: f64| sorted.get(place as usize).copied().unwrap_or(f64::NAN);
    (at(place.floor()) + at(place.ceil())) / 2.0
}
