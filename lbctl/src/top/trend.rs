//! What rates were lately.

use std::collections::VecDeque;

/// Samples kept: two minutes at one a second.
const KEPT: usize = 120;

/// The last values, the latest last.
#[derive(Clone, Debug, Default)]
pub struct Trend(VecDeque<f64>);

impl Trend {
    /// Adds the latest.
    pub fn push(&mut self, value: f64) {
        if self.0.len() == KEPT {
            self.0.pop_front();
        }
        self.0.push_back(value);
    }

    /// The last `width` values as bars, scaled by the highest of them; nothing is a low line.
    pub fn bars(&self, width: usize) -> String {
        const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let shown = self.0.iter().skip(self.0.len().saturating_sub(width));
        let highest = shown.clone().copied().fold(0.0, f64::max);
        let bar = |value: &f64| match highest {
            0.0 => BARS[0],
            _ => BARS[((value / highest * 7.0).round() as usize).min(7)],
        };
        let bars: String = shown.map(bar).collect();
        format!("{bars:>width$}")
    }

    /// The last `width` values as whole numbers.
    pub fn last(&self, width: usize) -> Vec<u64> {
        let shown = self.0.iter().skip(self.0.len().saturating_sub(width));
        shown.map(|value| value.round() as u64).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_stand_right_and_the_highest_is_full() {
        let mut trend = Trend::default();
        assert_eq!(trend.bars(3), "   ");
        for value in [0.0, 0.0, 5.0, 10.0] {
            trend.push(value);
        }
        assert_eq!(trend.bars(6), "  ▁▁▅█");
        assert_eq!(trend.bars(2), "▅█");
        assert_eq!(trend.last(2), [5, 10]);
        for _ in 0..KEPT {
            trend.push(0.0);
        }
        assert_eq!(trend.bars(2), "▁▁");
        assert_eq!(trend.last(1000).len(), KEPT);
    }
}
