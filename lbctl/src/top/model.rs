//! What `top` knows, and what becomes of it with each key and each picture. Pure: time and answers
//! come in as values, wishes go out as values.

use super::plan::{Action, Wish, consequences};
use super::rows::{Key, Order, Row, rows};
use super::trend::Trend;
use crate::failure::Failure;
use crate::render::change;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use lbcore::api::{ChangeView, Counts, Rates, SavedState, StatusView};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, SystemTime};

/// Lines of the action log that are kept.
const LOGGED: usize = 50;

/// A filter or a weight is not longer.
const LONGEST_INPUT: usize = 60;

/// See the module.
#[derive(Debug, Default)]
pub struct Model {
    /// The last picture.
    pub status: Option<StatusView>,
    /// Between the last two.
    pub rates: Rates,
    /// Bits a second of each line.
    pub trends: HashMap<Key, Trend>,
    /// Of all services.
    pub totals: Totals,
    /// lbd does not answer: since when, and why.
    pub lost: Option<(SystemTime, String)>,
    /// What the keys mean now.
    pub mode: Mode,
    /// Words all lines have.
    pub filter: String,
    /// The lines' order.
    pub order: Order,
    /// What was done, the latest last.
    pub log: VecDeque<Entry>,
    /// Where the cursor stands.
    pub chosen: Option<Key>,
    counted: Option<(Duration, Counts)>,
}

/// All services together, lately.
#[derive(Debug, Default)]
pub struct Totals {
    /// Packets a second.
    pub packets: Trend,
    /// Bits a second.
    pub bits: Trend,
    /// New flows a second.
    pub new_flows: Trend,
}

/// What the keys mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Look around.
    #[default]
    Look,
    /// Letters go into the filter.
    Filter,
    /// Digits become the weight of a real.
    Weight {
        /// Name of its service.
        service: String,
        /// Its name.
        real: String,
        /// What was typed.
        typed: String,
    },
    /// Yes or no.
    Confirm {
        /// What is asked.
        action: Action,
        /// What it will do.
        words: Vec<String>,
    },
    /// The keys, explained.
    Help,
}

/// A line of the action log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: SystemTime,
    /// Whether it was done.
    pub ok: bool,
    /// What.
    pub words: String,
}

/// What is to be done after a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Then {
    /// Nothing but drawing.
    Draw,
    /// Ask lbd for this.
    Do(Action),
    /// End.
    Quit,
}

impl Model {
    /// A new picture, taken at `at` of a clock that only goes forward.
    pub fn heard(&mut self, status: StatusView, at: Duration, now: SystemTime) {
        let counts = Counts::of(&status);
        if let Some((before, earlier)) = &self.counted {
            self.rates = counts.since(earlier, at.saturating_sub(*before));
        }
        self.counted = Some((at, counts));
        self.lost = None;
        if let Some(total) = self.rates.total() {
            self.totals.packets.push(total.packets.unwrap_or_default());
            self.totals.bits.push(total.bits);
            self.totals.new_flows.push(total.new_flows);
        }
        let mut trends = HashMap::new();
        for row in rows(&status, &self.rates, "", Order::File) {
            let key = row.key();
            let mut trend = self.trends.remove(&key).unwrap_or_default();
            if let Some(rate) = row.rate(&self.rates) {
                trend.push(rate.bits);
            }
            trends.insert(key, trend);
        }
        // Those that are gone went with the old map.
        self.trends = trends;
        self.status = Some(status);
        self.keep_cursor();
        // What it would do may be something else by now.
        if let Mode::Confirm { action, .. } = self.mode.clone() {
            self.confirm(action.service, action.real, action.wish, now);
        }
    }

    /// lbd did not answer.
    pub fn lost(&mut self, why: String, now: SystemTime) {
        let since = self.lost.take().map_or(now, |(since, _)| since);
        self.lost = Some((since, why));
        // The counters may begin anew, and a rate over a gap says nothing.
        self.counted = None;
        self.rates = Rates::default();
    }

    /// What became of an action.
    pub fn done(&mut self, action: &Action, result: Result<ChangeView, Failure>, now: SystemTime) {
        let (ok, words) = match result {
            Ok(view) => {
                let not_saved = view.saved.state == SavedState::No;
                let mut words = match (view.changes.as_slice(), view.saved.state) {
                    ([], SavedState::Unchanged) => "it was so already".to_owned(),
                    ([], _) => "it runs so already".to_owned(),
                    (changes, _) => changes.join(", "),
                };
                if (not_saved || view.changes.is_empty())
                    && let Some(saved) = change::saved(&view.saved, false)
                {
                    words = format!("{words}; {saved}");
                }
                (!not_saved, words)
            }
            Err(why @ (Failure::Refused(_) | Failure::Unreachable { .. })) => {
                (false, format!("FAILED, nothing was changed: {why}"))
            }
            // It may have been done before the answer was lost.
            Err(why) => (false, format!("look whether it was done: {why}")),
        };
        self.note(ok, format!("{action}: {words}"), now);
    }

    /// The lines to show.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let shown = |status| rows(status, &self.rates, &self.filter, self.order);
        self.status.as_ref().map(shown).unwrap_or_default()
    }

    /// Which of the lines the cursor is on.
    pub fn cursor(&self, rows: &[Row<'_>]) -> Option<usize> {
        let chosen = self.chosen.as_ref()?;
        rows.iter().position(|row| row.key() == *chosen)
    }

    /// A key was pressed.
    pub fn press(&mut self, key: KeyEvent, now: SystemTime) -> Then {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        if control && matches!(key.code, KeyCode::Char('c' | 'd')) {
            return Then::Quit;
        }
        match self.mode.clone() {
            Mode::Look => self.look(key.code, now),
            Mode::Filter => self.typing_filter(key.code),
            Mode::Weight {
                service,
                real,
                typed,
            } => self.typing_weight(key.code, service, real, typed, now),
            Mode::Confirm { action, .. } => self.confirming(key.code, action, now),
            Mode::Help => {
                self.mode = Mode::Look;
                Then::Draw
            }
        }
    }

    fn look(&mut self, key: KeyCode, now: SystemTime) -> Then {
        match key {
            KeyCode::Char('q') => return Then::Quit,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Esc => {
                self.filter.clear();
                self.keep_cursor();
            }
            KeyCode::Char('s') => self.order = self.order.next(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-10),
            KeyCode::PageDown => self.go(10),
            KeyCode::Home => self.go(isize::MIN),
            KeyCode::End => self.go(isize::MAX),
            KeyCode::Char('d') => self.ask(Wish::Drain, now),
            KeyCode::Char('e') => self.ask(Wish::Enable, now),
            KeyCode::Char('x') => self.ask(Wish::Disable, now),
            KeyCode::Char('w') => match self.chosen_real() {
                Some((service, real)) => {
                    let typed = String::new();
                    self.mode = Mode::Weight {
                        service,
                        real,
                        typed,
                    };
                }
                None => self.no_real_chosen(now),
            },
            _ => {}
        }
        Then::Draw
    }

    fn typing_filter(&mut self, key: KeyCode) -> Then {
        match key {
            KeyCode::Enter => self.mode = Mode::Look,
            KeyCode::Esc => {
                self.filter.clear();
                self.mode = Mode::Look;
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(c) if self.filter.len() < LONGEST_INPUT => self.filter.push(c),
            _ => {}
        }
        self.keep_cursor();
        Then::Draw
    }

    fn typing_weight(
        &mut self,
        key: KeyCode,
        service: String,
        real: String,
        mut typed: String,
        now: SystemTime,
    ) -> Then {
        match key {
            KeyCode::Esc => {
                self.mode = Mode::Look;
                return Then::Draw;
            }
            KeyCode::Enter => {
                match typed.parse() {
                    Ok(weight @ 0..=256) => self.confirm(service, real, Wish::Weight(weight), now),
                    _ => {
                        self.mode = Mode::Look;
                        self.note(
                            false,
                            "a weight is 0 to 256: nothing was changed".into(),
                            now,
                        );
                    }
                }
                return Then::Draw;
            }
            KeyCode::Backspace => drop(typed.pop()),
            KeyCode::Char(c) if c.is_ascii_digit() && typed.len() < 3 => typed.push(c),
            _ => {}
        }
        self.mode = Mode::Weight {
            service,
            real,
            typed,
        };
        Then::Draw
    }

    fn confirming(&mut self, key: KeyCode, action: Action, now: SystemTime) -> Then {
        match key {
            KeyCode::Char('y') => {
                self.mode = Mode::Look;
                Then::Do(action)
            }
            KeyCode::Char('n' | 'q') | KeyCode::Esc => {
                self.mode = Mode::Look;
                self.note(true, format!("{action}: left as it is"), now);
                Then::Draw
            }
            // Neither yes nor no: asked again.
            _ => Then::Draw,
        }
    }

    fn ask(&mut self, wish: Wish, now: SystemTime) {
        match self.chosen_real() {
            Some((service, real)) => self.confirm(service, real, wish, now),
            None => self.no_real_chosen(now),
        }
    }

    /// Asks whether it shall be done, with what it will do.
    fn confirm(&mut self, service: String, real: String, wish: Wish, now: SystemTime) {
        let services = self.status.iter().flat_map(|s| &s.services);
        let found = services.clone().find(|s| s.name == service);
        let pair = found.and_then(|s| Some((s, s.reals.iter().find(|r| r.name == real)?)));
        let Some((view, target)) = pair else {
            self.mode = Mode::Look;
            self.note(false, format!("{service}/{real} is gone meanwhile"), now);
            return;
        };
        let words = consequences(view, target, wish);
        let action = Action {
            service,
            real,
            wish,
        };
        self.mode = Mode::Confirm { action, words };
    }

    fn no_real_chosen(&mut self, now: SystemTime) {
        let words = "choose a real server of the configuration first: the arrow keys move";
        self.note(false, words.to_owned(), now);
    }

    /// Names of the service and the real under the cursor. One that is removed already is none:
    /// its name may be another's.
    fn chosen_real(&self) -> Option<(String, String)> {
        let rows = self.rows();
        let row = rows[self.cursor(&rows)?];
        let real = row.real.filter(|real| !real.removed)?;
        Some((row.service.name.clone(), real.name.clone()))
    }

    /// Moves the cursor by this many lines, to the ends at most.
    fn go(&mut self, lines: isize) {
        let rows = self.rows();
        let Some(last) = rows.len().checked_sub(1) else {
            return;
        };
        let to = match self.cursor(&rows) {
            Some(at) => at.saturating_add_signed(lines).min(last),
            None => 0,
        };
        self.chosen = Some(rows[to].key());
    }

    /// Puts the cursor on a line that is shown.
    fn keep_cursor(&mut self) {
        let rows = self.rows();
        if self.cursor(&rows).is_none() {
            // Most keys are about reals.
            let first = rows.iter().find(|row| row.real.is_some());
            self.chosen = first.or(rows.first()).map(Row::key);
        }
    }

    fn note(&mut self, ok: bool, words: String, at: SystemTime) {
        if self.log.len() == LOGGED {
            self.log.pop_front();
        }
        self.log.push_back(Entry { at, ok, words });
    }
}
