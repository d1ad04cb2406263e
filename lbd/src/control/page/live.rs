//! Who looks at the page, and the one producer of what they get: a picture a second while
//! somebody looks, sent to whoever has seen another, and a sign of life when nothing changed.

use super::super::events::{Following, Lasts, Lines};
use super::super::{Ask, NoAnswer, ask};
use super::{Glance, answer, document, render};
use hyper::Response;
use lbcore::api::{Counts, Rates};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::MissedTickBehavior;

/// People and their screens on walls; each costs a connection and a few queued pictures.
pub const LISTENERS: usize = 16;

/// Pictures that wait for one listener. Who lets more pile up is dropped, and connects again when
/// it can.
const UNREAD: usize = 4;

/// At most one picture in this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Periods without news until a sign of life: 5 s; the page calls itself stale after 12.
const BEAT_AFTER: u32 = 5;

/// The daemon answers in milliseconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// Counters this close together make no rate worth showing.
const SHORTEST_SPAN: Duration = Duration::from_millis(800);

/// Over a longer time the rate would say nothing about now.
const LONGEST_SPAN: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug)]
pub struct Hub {
    asks: mpsc::Sender<Ask>,
    hostname: String,
    state: Mutex<State>,
    somebody: Notify,
}

#[derive(Debug, Default)]
struct State {
    listeners: Vec<Listener>,
    counted: Option<(Instant, Counts)>,
    rates: Rates,
}

#[derive(Debug)]
struct Listener {
    lines: mpsc::Sender<String>,
    saw: Arc<str>,
    /// Gone: the listener has nothing more to expect.
    _until: watch::Sender<()>,
}

impl Hub {
    /// Nobody looks yet.
    pub fn new(asks: mpsc::Sender<Ask>) -> Hub {
        // Purely decoration: a page without it is as good.
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Hub {
            asks,
            hostname: hostname.trim().to_owned(),
            state: Mutex::default(),
            somebody: Notify::new(),
        }
    }

    /// `/`: the page as it is now.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub(in crate::control) async fn page(&self) -> Result<Response<Lines>, NoAnswer> {
        let main = self.look().await?;
        let now = SystemTime::now();
        Ok(document(render::page(&self.hostname, &main, millis(now))))
    }

    /// `/events`: the picture now, and those to come; `None`: too many look already.
    ///
    /// # Errors
    /// The daemon does not answer.
    pub(in crate::control) async fn events(&self) -> Result<Option<Response<Lines>>, NoAnswer> {
        if !self.has_room() {
            return Ok(None);
        }
        let main = self.look().await?;
        let Some(following) = self.listen(&main) else {
            return Ok(None);
        };
        let first = format!("retry: 2000\n\n{}", event("page", &main));
        let body = Lines::open(first, Some(following.lines));
        let mut response = answer("text/event-stream", body);
        response.extensions_mut().insert(Lasts(following.cut));
        Ok(Some(response))
    }

    /// Produces pictures while somebody looks, until the daemon is gone.
    pub async fn run(&self) {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut quiet = 0;
        loop {
            while self.nobody_looks() {
                self.somebody.notified().await;
                ticks.reset();
            }
            ticks.tick().await;
            // A daemon that does not answer says nothing: the pages call themselves stale.
            match self.look().await {
                Ok(main) => {
                    quiet += 1;
                    let beat = quiet >= BEAT_AFTER;
                    if self.tell(&main, beat) || beat {
                        quiet = 0;
                    }
                }
                Err(NoAnswer::Late) => {}
                Err(NoAnswer::Gone) => return,
            }
        }
    }

    /// The page's `<main>` now.
    async fn look(&self) -> Result<Arc<str>, NoAnswer> {
        let glance = ask(&self.asks, ANSWER_TIMEOUT, |reply| Ask::Glance { reply }).await?;
        let rates = self.state().rates(&glance, Instant::now());
        Ok(render::main(&glance, &rates).into())
    }

    fn has_room(&self) -> bool {
        let mut state = self.state();
        state.listeners.retain(|l| !l.lines.is_closed());
        state.listeners.len() < LISTENERS
    }

    fn nobody_looks(&self) -> bool {
        let mut state = self.state();
        state.listeners.retain(|l| !l.lines.is_closed());
        state.listeners.is_empty()
    }

    fn listen(&self, main: &Arc<str>) -> Option<Following> {
        if !self.has_room() {
            return None;
        }
        let (lines, to_come) = mpsc::channel(UNREAD);
        let (until, cut) = watch::channel(());
        self.state().listeners.push(Listener {
            lines,
            saw: main.clone(),
            _until: until,
        });
        self.somebody.notify_one();
        Some(Following {
            lines: to_come,
            cut,
        })
    }

    /// Sends `main` to whoever has seen another one, a sign of life to the others if it is time
    /// for one, and drops who does not read. Returns whether there was news.
    fn tell(&self, main: &Arc<str>, beat: bool) -> bool {
        let mut news = false;
        self.state().listeners.retain_mut(|listener| {
            let line = if *listener.saw != **main {
                listener.saw = main.clone();
                news = true;
                event("page", main)
            } else if beat {
                event("beat", "")
            } else {
                return true;
            };
            listener.lines.try_send(line).is_ok()
        });
        news
    }

    /// A panic while it was held cannot have left it half changed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What flows each second now, by the counters of the last look.
    fn rates(&mut self, glance: &Glance, now: Instant) -> Rates {
        let counts = Counts::of(&glance.status);
        let span = self.counted.as_ref().map(|(at, _)| now - *at);
        match (span, &self.counted) {
            (Some(span), _) if span < SHORTEST_SPAN => return self.rates.clone(),
            (Some(span), Some((_, before))) if span <= LONGEST_SPAN => {
                self.rates = counts.since(before, span);
            }
            _ => self.rates = Rates::default(),
        }
        self.counted = Some((now, counts));
        self.rates.clone()
    }
}

/// One server-sent event. Its id is lbd's clock, by which the page knows how old things are.
fn event(kind: &str, data: &str) -> String {
    let mut text = format!("event: {kind}\nid: {}\n", millis(SystemTime::now()));
    for line in data.split('\n') {
        text.push_str("data: ");
        text.push_str(line);
        text.push('\n');
    }
    text.push('\n');
    text
}

fn millis(at: SystemTime) -> u128 {
    at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis())
}
