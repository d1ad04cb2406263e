//! What happened lately: the last transitions of each real, the last events of all, and who
//! follows them. It lives in memory, as long as this process: the log has what was before.

use crate::control::{EventStream, Following};
use lbcore::api::{ApiError, ErrorCode, EventView, Happening, StateChange, TransitionView};
use lbcore::api::{Envelope, Timestamp};
use lbcore::id::{RealId, ServiceId};
use lbcore::service::ServiceState;
use std::collections::{HashMap, VecDeque};
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};
use tracing::warn;

/// Transitions kept of each real: a restart of it with its ups and downs, and the one before.
pub(super) const HISTORY: usize = 10;

/// Events kept: some 300 KiB, and with 100 reals that all restart every night a day of them.
pub(super) const EVENTS: usize = 1000;

/// Followers at once: people, and a program or two. They hold connections of the control socket,
/// which has 64.
pub(super) const FOLLOWERS: usize = 8;

/// Events that wait for one follower: as many as one snapshot is likely to bring. Who lets more
/// pile up is cut off, rather than served with gaps.
const UNREAD: usize = 256;

/// What happened lately.
#[derive(Debug, Default)]
pub struct Journal {
    last: u64,
    /// One line each, as it is sent.
    lines: VecDeque<String>,
    history: HashMap<RealId, VecDeque<TransitionView>>,
    services: HashMap<ServiceId, ServiceState>,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    lines: mpsc::Sender<String>,
    /// Gone: the follower has nothing more to expect.
    _until: watch::Sender<()>,
}

impl Journal {
    /// Keeps one event and tells the followers.
    pub fn note(&mut self, what: Happening) {
        self.last += 1;
        let event = EventView {
            seq: self.last,
            at: Timestamp(SystemTime::now()),
            what,
        };
        let line = match serde_json::to_string(&Envelope::new(event)) {
            Ok(line) => line + "\n",
            Err(error) => {
                warn!(%error, "an event cannot be written as JSON");
                return;
            }
        };
        self.followers
            .retain(|follower| follower.lines.try_send(line.clone()).is_ok());
        if self.lines.len() == EVENTS {
            self.lines.pop_front();
        }
        self.lines.push_back(line);
    }

    /// A real of `service` is in another state.
    pub fn transition(&mut self, id: RealId, service: &str, real: &str, change: StateChange) {
        let history = self.history.entry(id).or_default();
        history.truncate(HISTORY - 1);
        history.push_front(TransitionView {
            at: Timestamp(SystemTime::now()),
            change: change.clone(),
        });
        self.note(Happening::Real {
            service: service.to_owned(),
            real: real.to_owned(),
            change,
        });
    }

    /// The state of a service in the next snapshot, which may be another one.
    pub fn service(
        &mut self,
        id: ServiceId,
        name: &str,
        to: ServiceState,
        reason: impl FnOnce() -> String,
    ) {
        let from = self.services.insert(id, to);
        if from != Some(to) {
            let (service, reason) = (name.to_owned(), reason());
            self.note(Happening::Service {
                service,
                from,
                to,
                reason,
            });
        }
    }

    /// The last transitions of a real, the latest first.
    pub fn history(&self, id: RealId) -> Vec<TransitionView> {
        self.history
            .get(&id)
            .map(|history| history.iter().cloned().collect())
            .unwrap_or_default()
    }

    /// Forgets reals and services that are gone: their ids will be others'.
    pub fn retain(&mut self, real: impl Fn(&RealId) -> bool, service: impl Fn(&ServiceId) -> bool) {
        self.history.retain(|id, _| real(id));
        self.services.retain(|id, _| service(id));
    }

    /// The last `count` events, the latest last.
    pub fn latest(&self, count: usize) -> Vec<EventView> {
        let from = self.lines.len().saturating_sub(count);
        let lines = self.lines.range(from..);
        // What we wrote can be read.
        lines
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The last events, and those to come if somebody wants to follow them.
    ///
    /// # Errors
    /// Too many follow.
    pub fn stream(&mut self, follow: bool) -> Result<EventStream, ApiError> {
        let past = self.lines.iter().map(String::as_str).collect();
        let following = match follow {
            true => Some(self.follow()?),
            false => None,
        };
        Ok(EventStream { past, following })
    }

    fn follow(&mut self) -> Result<Following, ApiError> {
        self.followers.retain(|f| !f.lines.is_closed());
        if self.followers.len() == FOLLOWERS {
            let words = format!("{FOLLOWERS} follow the events already");
            let error = ApiError::new(ErrorCode::Unavailable, words);
            return Err(error.hint("end one of them, or look without following"));
        }
        let (lines, to_come) = mpsc::channel(UNREAD);
        let (until, cut) = watch::channel(());
        self.followers.push(Follower {
            lines,
            _until: until,
        });
        Ok(Following {
            lines: to_come,
            cut,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use lbcore::service::RealState;

    fn restored(kind: &str) -> Happening {
        Happening::Restored { kind: kind.into() }
    }

    fn seqs(text: &str) -> Vec<u64> {
        let seq = |line: &str| serde_json::from_str::<EventView>(line).unwrap().seq;
        text.lines().map(seq).collect()
    }

    #[test]
    fn the_last_events_are_kept_and_numbered() {
        let mut journal = Journal::default();
        for _ in 0..EVENTS + 5 {
            journal.note(restored("nft"));
        }
        let stream = journal.stream(false).unwrap();
        assert!(stream.following.is_none());
        let kept: Vec<u64> = (6..=EVENTS as u64 + 5).collect();
        assert_eq!(seqs(&stream.past), kept);
        let latest = |count| -> Vec<u64> {
            let events = journal.latest(count).into_iter();
            events.map(|e| e.seq).collect()
        };
        assert_eq!(latest(2), [EVENTS as u64 + 4, EVENTS as u64 + 5]);
        assert_eq!(latest(EVENTS + 1), kept);
    }

    #[test]
    fn the_last_ten_transitions_of_each_real_the_latest_first() {
        let mut journal = Journal::default();
        for n in 0..25 {
            let change = StateChange {
                from: Some(RealState::Up),
                to: RealState::Down,
                reason: n.to_string(),
            };
            journal.transition(RealId(n % 2), "web", "rs", change);
        }
        let reasons = |id| -> Vec<u16> {
            let history = journal.history(RealId(id)).into_iter();
            history.map(|t| t.change.reason.parse().unwrap()).collect()
        };
        assert_eq!(reasons(0), [24, 22, 20, 18, 16, 14, 12, 10, 8, 6]);
        assert_eq!(reasons(1).len(), HISTORY);
        assert!(reasons(7).is_empty());
        journal.retain(|id| *id == RealId(1), |_| false);
        assert!(journal.history(RealId(0)).is_empty());
        assert_eq!(journal.history(RealId(1)).len(), HISTORY);
    }

    #[test]
    fn a_service_is_told_when_its_state_is_another() {
        let mut journal = Journal::default();
        for state in [ServiceState::Up, ServiceState::Up, ServiceState::Down] {
            journal.service(ServiceId(1), "web", state, || "reason".into());
        }
        let past = journal.stream(false).unwrap().past;
        assert_eq!(seqs(&past), [1, 2]);
        assert!(past.contains(r#""from":"up","to":"down""#), "{past}");
    }

    #[test]
    fn a_follower_hears_what_comes_without_a_gap() {
        let mut journal = Journal::default();
        journal.note(restored("a"));
        let mut stream = journal.stream(true).unwrap();
        journal.note(restored("b"));
        let following = stream.following.as_mut().unwrap();
        let next = following.lines.try_recv().unwrap();
        assert_eq!((seqs(&stream.past), seqs(&next)), (vec![1], vec![2]));
        drop(journal);
        assert!(following.lines.blocking_recv().is_none());
        assert!(following.cut.has_changed().is_err());
    }

    #[test]
    fn who_does_not_read_is_cut_off_and_the_others_go_on() {
        let mut journal = Journal::default();
        let slow = journal.stream(true).unwrap().following.unwrap();
        let mut quick = journal.stream(true).unwrap().following.unwrap();
        for n in 1..=UNREAD as u64 + 1 {
            journal.note(restored("nft"));
            assert_eq!(seqs(&quick.lines.try_recv().unwrap()), [n]);
        }
        assert!(slow.cut.has_changed().is_err());
        assert!(quick.cut.has_changed().is_ok());
        assert_eq!(journal.followers.len(), 1);
    }

    #[test]
    fn followers_are_bounded_and_places_come_back() {
        let mut journal = Journal::default();
        let follow = |journal: &mut Journal| journal.stream(true);
        let mut all: Vec<_> = (0..FOLLOWERS)
            .map(|_| follow(&mut journal).unwrap())
            .collect();
        let refused = follow(&mut journal).unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unavailable);
        assert!(journal.stream(false).is_ok());
        all.pop();
        assert!(follow(&mut journal).is_ok());
    }
}
