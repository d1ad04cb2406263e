//! Which probe is due when: spread from the start, kept apart by jitter, so that many targets are
//! a steady trickle and never a burst.

use super::{Random, Tempo};
use crate::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often one check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pace {
    /// While settled and up.
    pub interval: Duration,
    /// While in transition or not judged yet.
    pub fast_interval: Duration,
    /// While settled and down.
    pub down_interval: Duration,
}

/// Probes this close to each other, in milliseconds, count as a crowd.
const CROWD_MS: u64 = 10;

/// Every check has one entry: either its next probe is due at some tick, or a probe is under way
/// (taken and not yet done), so one check never has two probes at once.
#[derive(Clone, Debug)]
pub struct Timetable<K> {
    entries: BTreeMap<K, Entry>,
    queue: BTreeMap<Tick, Vec<K>>,
    random: Random,
    added: u32,
}

#[derive(Clone, Debug)]
struct Entry {
    pace: Pace,
    tempo: Tempo,
    /// `None` while a probe is under way.
    due: Option<Tick>,
}

impl<K: Ord + Copy> Timetable<K> {
    /// An empty timetable that takes its jitter from `random`.
    pub fn new(random: Random) -> Self {
        Timetable {
            entries: BTreeMap::new(),
            queue: BTreeMap::new(),
            random,
            added: 0,
        }
    }

    /// A new check: its first probe is due within one interval from now, well apart from those of
    /// others that come with it. Replaces an entry of the same key.
    pub fn add(&mut self, key: K, pace: Pace, now: Tick) {
        self.remove(key);
        // Multiples of the golden ratio, modulo 1 (here: 2^32), fill any interval evenly, however
        // many there will be.
        let phase = u64::from(self.added.wrapping_mul(0x9e37_79b9));
        self.added = self.added.wrapping_add(1);
        let offset = (u128::from(millis(pace.interval)) * u128::from(phase)) >> 32;
        let due = Tick(
            now.0
                .saturating_add(u64::try_from(offset).unwrap_or(u64::MAX)),
        );
        self.entries.insert(
            key,
            Entry {
                pace,
                tempo: Tempo::Steady,
                due: Some(due),
            },
        );
        self.enqueue(key, due);
    }

    /// Forgets a check; a probe of it that is under way may be `done` without harm.
    pub fn remove(&mut self, key: K) {
        if let Some(Entry { due: Some(due), .. }) = self.entries.remove(&key) {
            self.dequeue(key, due);
        }
    }

    /// Another pace from now on. What is left of the wait shrinks or grows in proportion, so that
    /// those who stay are still as well apart as they were.
    pub fn retime(&mut self, key: K, pace: Pace, now: Tick) {
        let Some(entry) = self.entries.get_mut(&key) else {
            return;
        };
        let (old, new) = (entry.pace.wait(entry.tempo), pace.wait(entry.tempo));
        entry.pace = pace;
        if let Some(due) = entry.due.filter(|_| old != new) {
            let left = u128::from(due.since(now)) * u128::from(new) / u128::from(old.max(1));
            let moved = Tick(
                now.0
                    .saturating_add(u64::try_from(left).unwrap_or(u64::MAX)),
            );
            entry.due = Some(moved);
            self.dequeue(key, due);
            self.enqueue(key, moved);
        }
    }

    /// When the next probe is due; `None` when nothing waits.
    pub fn next_due(&self) -> Option<Tick> {
        self.queue.first_key_value().map(|(due, _)| *due)
    }

    /// Takes the probe that has been due longest; it is under way until [`Timetable::done`].
    pub fn take_due(&mut self, now: Tick) -> Option<K> {
        let due = self.next_due().filter(|due| *due <= now)?;
        let key = *self.queue.get(&due)?.first()?;
        self.dequeue(key, due);
        if let Some(entry) = self.entries.get_mut(&key) {
            entry.due = None;
        }
        Some(key)
    }

    /// The probe has ended: the next one follows at `tempo`, counted from now, give or take 10 %.
    pub fn done(&mut self, key: K, tempo: Tempo, now: Tick) {
        let Some(pace) = self
            .entries
            .get(&key)
            .filter(|e| e.due.is_none())
            .map(|e| e.pace)
        else {
            return;
        };
        let due = self.quieter(now, pace.wait(tempo));
        self.entries.insert(
            key,
            Entry {
                pace,
                tempo,
                due: Some(due),
            },
        );
        self.enqueue(key, due);
    }

    /// Makes a check's next probe due now. False: a probe of it is under way, or there is no such
    /// check.
    pub fn hurry(&mut self, key: K, now: Tick) -> bool {
        let Some(Entry { due: Some(due), .. }) = self.entries.get_mut(&key) else {
            return false;
        };
        let before = std::mem::replace(due, now);
        self.dequeue(key, before);
        self.enqueue(key, now);
        true
    }

    /// How many checks there are, waiting or under way.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Of two random times the one with fewer probes around it. Jitter alone would bunch targets
    /// as chance does; the choice of two keeps the fullest moment near the mean (Mitzenmacher,
    /// "The power of two choices in randomized load balancing", 2001).
    fn quieter(&mut self, now: Tick, wait: u64) -> Tick {
        let (one, other) = (self.jittered(now, wait), self.jittered(now, wait));
        if self.crowd(other) < self.crowd(one) {
            other
        } else {
            one
        }
    }

    fn jittered(&mut self, now: Tick, wait: u64) -> Tick {
        let tenth = wait / 10;
        Tick(
            now.0
                .saturating_add(wait - tenth)
                .saturating_add(self.random.up_to(2 * tenth)),
        )
    }

    fn crowd(&self, due: Tick) -> usize {
        let from = Tick(due.0.saturating_sub(CROWD_MS / 2));
        let to = Tick(due.0.saturating_add(CROWD_MS / 2));
        self.queue.range(from..to).map(|(_, keys)| keys.len()).sum()
    }

    fn enqueue(&mut self, key: K, due: Tick) {
        self.queue.entry(due).or_default().push(key);
    }

    fn dequeue(&mut self, key: K, due: Tick) {
        if let Some(keys) = self.queue.get_mut(&due) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.queue.remove(&due);
            }
        }
    }
}

impl Pace {
    /// In milliseconds; never 0, so that no check runs in circles.
    fn wait(&self, tempo: Tempo) -> u64 {
        millis(match tempo {
            Tempo::Steady => self.interval,
            Tempo::Fast => self.fast_interval,
            Tempo::Down => self.down_interval,
        })
        .max(1)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
