//! Figures of all rounds, and the table they make.

use crate::contender::Contender;
use crate::measure::Measure;
use anyhow::Context;
use std::collections::HashMap;
use std::fmt;
use std::path::Path;

/// Where `--write` puts the table.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/benchmarks.md");
const BEGIN: &str = "<!-- proxy table: written by the benchmark -->\n";
const END: &str = "<!-- end of the proxy table -->\n";

/// All that was measured.
#[derive(Default)]
pub struct Table {
    figures: HashMap<(Contender, Measure), Vec<f64>>,
}

impl Table {
    /// Adds what a contender did in the round it is in.
    pub fn add(&mut self, contender: Contender, measure: Measure, value: f64) {
        self.figures
            .entry((contender, measure))
            .or_default()
            .push(value);
    }

    /// Replaces the table in docs/benchmarks.md.
    ///
    /// # Errors
    /// When the page or its marks are not there.
    pub fn write(&self) -> anyhow::Result<()> {
        let page = Path::new(PAGE);
        let text = std::fs::read_to_string(page).context(PAGE)?;
        let (before, rest) = text.split_once(BEGIN).context("no begin mark")?;
        let (_, after) = rest.split_once(END).context("no end mark")?;
        std::fs::write(page, format!("{before}{BEGIN}\n{self}\n{END}{after}")).context(PAGE)
    }

    fn of(&self, contender: Contender, measure: Measure) -> &[f64] {
        self.figures
            .get(&(contender, measure))
            .map_or(&[], Vec::as_slice)
    }

    /// A median with its range, as `56,173 (-4 +2 %)`.
    fn cell(&self, contender: Contender, measure: Measure) -> String {
        let values = self.of(contender, measure);
        let Some(median) = median(values) else {
            return String::new();
        };
        let (least, most) = range(values);
        let percent = |value: f64| (value / median - 1.0) * 100.0;
        let shown = measure.show(median);
        if values.len() < 2 || median == 0.0 {
            return shown;
        }
        format!("{shown} ({:.0} +{:.0} %)", percent(least), percent(most))
    }

    /// lbd's share of HAProxy's, round by round.
    fn ratios(&self, measure: Measure) -> Vec<f64> {
        let haproxy = self.of(Contender::Haproxy, measure);
        let lbd = self.of(Contender::Lbd, measure);
        lbd.iter().zip(haproxy).map(|(l, h)| l / h).collect()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| | no proxy | HAProxy, no splice | HAProxy | lbd | ratio | of rounds | floor | goal |"
        )?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|")?;
        for measure in Measure::ALL {
            write!(f, "| {measure} |")?;
            for contender in [
                Contender::Direct,
                Contender::HaproxyCopy,
                Contender::Haproxy,
                Contender::Lbd,
            ] {
                write!(f, " {} |", self.cell(contender, measure))?;
            }
            let ratios = self.ratios(measure);
            match median(&ratios) {
                Some(ratio) => {
                    let (least, most) = range(&ratios);
                    write!(f, " **{ratio:.2}** | {least:.2}-{most:.2} |")?;
                }
                None => write!(f, " | |")?,
            }
            match measure.wanted() {
                Some(wanted) => writeln!(f, " {} | {} |", wanted.floor, wanted.goal)?,
                None => writeln!(f, " | |")?,
            }
        }
        Ok(())
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        n if n % 2 == 0 => Some((sorted[middle - 1] + sorted[middle]) / 2.0),
        _ => Some(sorted[middle]),
    }
}

fn range(values: &[f64]) -> (f64, f64) {
    values.iter().fold(
        (f64::INFINITY, f64::NEG_INFINITY),
        |(least, most), value| (least.min(*value), most.max(*value)),
    )
}
