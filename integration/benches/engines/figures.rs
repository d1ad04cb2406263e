//! Figures of all rounds, and the page they make.

use crate::machine;
use crate::plot;
use crate::rows::{self, Row};
use anyhow::Context;
use std::fmt;
use std::path::Path;

/// Below it are the pages that `--write` renews.
const TOP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
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

    /// Replaces the tables in docs/benchmarks.md, the plot beside it, and what README.md says of speed.
    ///
    /// # Errors
    /// When a page or its marks are not there.
    pub fn write(&self, command: &str, quietness: &str) -> anyhow::Result<()> {
        let made = format!(
            "`{command}`, {} {quietness}.\n\n{self}",
            machine::describe()
        );
        replace(&Path::new(TOP).join("docs/benchmarks.md"), &made)?;
        if let Some(plot) = plot::draw(self) {
            std::fs::write(Path::new(TOP).join("docs/pictures/engines.svg"), plot)?;
        }
        if let Some(summary) = self.summary() {
            replace(&Path::new(TOP).join("README.md"), &summary)?;
        }
        Ok(())
    }

    /// What README.md says of speed; nothing where a figure is missing.
    fn summary(&self) -> Option<String> {
        let shown = |row: &'static Row| Some(row.show(self.median(row)?));
        Some(format!(
            "On {}, one core and the shortest frames, in and out by the same veth: a program that sends \
             everything back unseen carries {}, lbd's carries {} with 1,000 flows, {} with a million and {} where \
             no packet belongs to a flow seen before; nft's direct routing carries {}. The program costs {} a \
             packet. The raw sockets of `af_packet` carry {}. [docs/benchmarks.md](docs/benchmarks.md) says how this \
             was measured, what was hoped for, and what was missed.\n",
            machine::processor(),
            shown(&rows::BARE_1K)?,
            shown(&rows::NATIVE_1K)?,
            shown(&rows::NATIVE_1M)?,
            shown(&rows::NATIVE_NEW)?,
            shown(&rows::NFT_1K)?,
            shown(&rows::PROGRAM_1K)?,
            shown(&rows::LBD_PACKET)?,
        ))
    }
}

/// Puts `made` between the marks of a page.
fn replace(page: &Path, made: &str) -> anyhow::Result<()> {
    let name = page.display();
    let text = std::fs::read_to_string(page).with_context(|| name.to_string())?;
    let (before, rest) = text
        .split_once(BEGIN)
        .with_context(|| format!("{name}: no begin mark"))?;
    let (_, after) = rest
        .split_once(END)
        .with_context(|| format!("{name}: no end mark"))?;
    std::fs::write(page, format!("{before}{BEGIN}\n{made}\n{END}{after}"))?;
    Ok(())
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
