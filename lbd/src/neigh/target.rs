//! One address and what is known of the way to it: which MAC frames get, and what to do about it.

use super::Wanted;
use super::kernel::Sighting;
use crate::live::event::Reach;
use lbcore::net::MacAddr;
use rtnetlink::packet_route::neighbour::NeighbourState;
use std::io;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::Instant;

/// The last MAC stays in use this long while nobody answers: the kernel asks three times, a
/// second apart, before it gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);

/// An address is asked for anew at most this often, however many of its checks fail.
const RESOLVE_GAP: Duration = Duration::from_secs(1);

/// An entry that is missing this long on an interface that stood still meanwhile was taken away
/// by another tool; before, news of the interface may still come.
const FOREIGN_AFTER: Duration = Duration::from_millis(500);

/// The two messages of one deletion are read within this.
const JUST_NOW: Duration = Duration::from_millis(200);

/// What the kernel should be asked to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Nothing,
    /// Ask the new MAC whether it has the address, before frames go there.
    Confirm,
    /// Resolve, and keep resolved.
    Manage,
}

pub(super) struct Target {
    pub(super) wanted: Wanted,
    /// The interface, or why there is none, in words. `None`: not judged yet.
    pub(super) place: Option<Result<u32, String>>,
    /// What was told last.
    pub(super) told: Option<Reach>,
    seen: Option<Sighting>,
    known: Option<MacAddr>,
    silent_since: Option<Instant>,
    vanished: Option<Instant>,
    resolved: Option<Instant>,
    /// Since when no way leads to where it is.
    lost: Option<Instant>,
    /// It was asked for as long as patience lasts, and nobody answered.
    in_vain: bool,
    /// The kernel had no room for its entry when it was last asked to resolve it.
    no_room: bool,
}

impl Target {
    /// `told`: what was told of the same address before.
    pub(super) fn new(wanted: Wanted, told: Option<Reach>) -> Self {
        Target {
            wanted,
            place: None,
            told,
            seen: None,
            known: None,
            silent_since: None,
            vanished: None,
            resolved: None,
            lost: None,
            in_vain: false,
            no_room: false,
        }
    }

    /// Whether a judgement of the place is the one before.
    pub(super) fn is_at(&mut self, place: &Result<u32, String>) -> bool {
        let same = self.place.as_ref() == Some(place);
        if same {
            self.lost = None;
        }
        same
    }

    /// Whether it stays where it is for now, though no way leads there any more. While the interface
    /// is down (`resting`) nothing can be sent, and what was true before is the likeliest to be true
    /// after; when it comes back, its addresses and routes come one after another.
    pub(super) fn holds_on(&mut self, resting: bool, now: Instant) -> bool {
        if resting {
            self.lost = None;
            return true;
        }
        let since = *self.lost.get_or_insert(now);
        now < since + PATIENCE
    }

    /// Takes another judgement of the place; nothing known elsewhere holds here.
    pub(super) fn move_to(&mut self, place: Result<u32, String>) {
        *self = Target::new(self.wanted.clone(), self.told.take());
        self.place = Some(place);
    }

    /// The interface whose neighbour entry matters here; none for a pinned MAC.
    pub(super) fn watched(&self) -> Option<u32> {
        match (&self.place, self.wanted.mac) {
            (Some(Ok(ifindex)), None) => Some(*ifindex),
            _ => None,
        }
    }

    /// Names the kernel's entry that matters here.
    pub(super) fn key(&self) -> Option<(u32, IpAddr)> {
        Some((self.watched()?, self.wanted.address))
    }

    /// Takes what the kernel says of the entry. A MAC that the kernel merely heard of (`STALE`: a
    /// gratuitous ARP, which anybody can send) replaces one in use only when it has answered.
    pub(super) fn observe(&mut self, entry: Sighting, now: Instant) -> Step {
        let (state, mac) = (entry.state, entry.mac);
        let proven = entry.fixed() || state == NeighbourState::Reachable;
        let silent = entry.silent();
        self.seen = Some(entry);
        let Some(mac) = mac.filter(|_| !silent) else {
            self.silent_since.get_or_insert(now);
            return Step::Nothing;
        };
        let known_before = self.known;
        if proven || self.known.is_none_or(|known| known == mac) {
            self.known = Some(mac);
            self.silent_since = None;
        }
        let doubtful = !proven && known_before != Some(mac) && state != NeighbourState::Probe;
        if doubtful {
            Step::Confirm
        } else {
            Step::Nothing
        }
    }

    /// The entry is gone. The kernel tells of a deletion as of a failure first; entries that
    /// failed by themselves it keeps for much longer before it clears them away.
    pub(super) fn vanish(&mut self, now: Instant) {
        let worked = self.silent_since.is_none_or(|since| now < since + JUST_NOW);
        self.silent_since.get_or_insert(now);
        if self.seen.take().is_some_and(|entry| entry.ours) && worked {
            self.vanished = Some(now);
        }
    }

    /// What a look around finds to do. While the interface is down nothing can be asked, and
    /// silence means nothing.
    pub(super) fn tend(&mut self, ready: bool, now: Instant) -> Step {
        if self.watched().is_none() {
            return Step::Nothing;
        }
        if !ready {
            self.silent_since = self.silent_since.map(|_| now);
            return Step::Nothing;
        }
        if self
            .silent_since
            .is_some_and(|since| now >= since + PATIENCE)
        {
            // Where nobody can be asked, the last MAC is the likeliest.
            if !self.no_room {
                self.known = None;
            }
            self.in_vain = true;
        }
        match &self.seen {
            Some(entry) if entry.fixed() => Step::Nothing,
            Some(entry) if entry.state == NeighbourState::Incomplete => Step::Nothing,
            Some(entry) if entry.silent() => Step::Manage,
            // Where the kernel knows no management, an entry that ages is poked.
            Some(entry) if entry.managed || entry.state != NeighbourState::Stale => Step::Nothing,
            _ => Step::Manage,
        }
    }

    /// Whether another tool took the entry away, told once: on an interface that has been ready
    /// and unchanged since `still_since`.
    pub(super) fn robbed(&mut self, still_since: Instant, now: Instant) -> bool {
        let Some(at) = self.vanished else {
            return false;
        };
        if now < at + FOREIGN_AFTER {
            return false;
        }
        self.vanished = None;
        still_since + FOREIGN_AFTER < at
    }

    /// Whether the address should be asked for anew, now that a check of it failed.
    pub(super) fn suspect(&mut self, now: Instant) -> bool {
        if self.resolved.is_some_and(|last| now < last + RESOLVE_GAP)
            || self.seen.as_ref().is_some_and(Sighting::fixed)
        {
            return false;
        }
        self.resolved = Some(now);
        true
    }

    /// Takes what became of asking the kernel to resolve it.
    pub(super) fn asked(&mut self, result: &io::Result<()>, now: Instant) {
        let errno = result.as_ref().err().and_then(io::Error::raw_os_error);
        let no_room = errno == Some(libc::ENOBUFS);
        if std::mem::replace(&mut self.no_room, no_room) && !no_room {
            // Only from now on silence is the real's.
            self.silent_since = self.silent_since.map(|_| now);
            self.in_vain = false;
        }
    }

    /// How the address is reached; `None` while that is being found out: what was true before is
    /// the likeliest to be true then.
    pub(super) fn reach(&self) -> Option<Reach> {
        Some(
            match (self.place.as_ref()?, self.wanted.mac.or(self.known)) {
                (Err(words), _) => Reach::Unreachable(words.clone()),
                (Ok(ifindex), Some(mac)) => Reach::Neighbor {
                    ifindex: *ifindex,
                    mac,
                },
                (Ok(_), None) if !self.in_vain => return None,
                (Ok(ifindex), None) => Reach::Unresolved {
                    ifindex: *ifindex,
                    no_room: self.no_room,
                },
            },
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use NeighbourState::{Delay, Failed, Incomplete, Permanent, Probe, Reachable, Stale};

    const OLD: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x21);
    const NEW: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x99);

    fn target(mac: Option<MacAddr>) -> Target {
        let address = "192.0.2.21".parse().expect("an address");
        let mut target = Target::new(
            Wanted {
                address,
                interface: None,
                mac,
            },
            None,
        );
        target.move_to(Ok(2));
        target
    }

    fn seen(state: NeighbourState, mac: Option<MacAddr>) -> Sighting {
        let address = "192.0.2.21".parse().expect("an address");
        Sighting {
            ifindex: 2,
            address,
            state,
            mac,
            managed: true,
            ours: true,
        }
    }

    fn at(target: &Target) -> Option<MacAddr> {
        match target.reach() {
            Some(Reach::Neighbor { ifindex: 2, mac }) => Some(mac),
            Some(Reach::Unresolved { ifindex: 2, .. }) | None => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_full_table_is_no_silence_of_the_real() {
        let start = Instant::now();
        let mut target = target(None);
        assert_eq!(target.tend(true, start), Step::Manage);
        let full = || Err(io::Error::from_raw_os_error(libc::ENOBUFS));
        let unresolved = |no_room| {
            let ifindex = 2;
            Some(Reach::Unresolved { ifindex, no_room })
        };
        target.asked(&full(), start);
        target.vanish(start);
        target.tend(true, start + PATIENCE);
        assert_eq!(target.reach(), unresolved(true));
        target.asked(&Ok(()), start + PATIENCE);
        assert_eq!(target.reach(), None, "it is being asked for");
        target.tend(true, start + 2 * PATIENCE);
        assert_eq!(target.reach(), unresolved(false));
        // A MAC that was known stays, for nobody can say that it is gone.
        target.observe(seen(Reachable, Some(OLD)), start);
        target.vanish(start);
        target.asked(&full(), start);
        target.tend(true, start + 2 * PATIENCE);
        assert_eq!(at(&target), Some(OLD));
    }

    #[test]
    fn a_mac_is_kept_while_it_ages_and_for_a_while_in_silence() {
        let start = Instant::now();
        let mut target = target(None);
        assert_eq!(target.reach(), None, "nobody was asked yet");
        assert_eq!(target.tend(true, start), Step::Manage);
        assert_eq!(target.observe(seen(Incomplete, None), start), Step::Nothing);
        assert_eq!(
            target.observe(seen(Reachable, Some(OLD)), start),
            Step::Nothing
        );
        for state in [Stale, Delay, Probe] {
            assert_eq!(target.observe(seen(state, Some(OLD)), start), Step::Nothing);
            assert_eq!(at(&target), Some(OLD));
        }
        target.observe(seen(Failed, None), start);
        assert_eq!(
            target.tend(true, start + PATIENCE / 2),
            Step::Manage,
            "asked again"
        );
        assert_eq!(at(&target), Some(OLD), "still");
        target.observe(seen(Incomplete, None), start + PATIENCE / 2);
        assert_eq!(target.tend(true, start + PATIENCE), Step::Nothing);
        let (ifindex, no_room) = (2, false);
        assert_eq!(target.reach(), Some(Reach::Unresolved { ifindex, no_room }));
        target.observe(seen(Reachable, Some(NEW)), start + PATIENCE);
        assert_eq!(at(&target), Some(NEW));
    }

    #[test]
    fn a_mac_heard_of_replaces_one_in_use_only_when_it_answers() {
        let start = Instant::now();
        let mut target = target(None);
        assert_eq!(target.observe(seen(Stale, Some(OLD)), start), Step::Confirm);
        assert_eq!(at(&target), Some(OLD), "better than none");
        target.observe(seen(Reachable, Some(OLD)), start);

        assert_eq!(target.observe(seen(Stale, Some(NEW)), start), Step::Confirm);
        assert_eq!(target.observe(seen(Probe, Some(NEW)), start), Step::Nothing);
        assert_eq!(at(&target), Some(OLD), "not yet");
        target.observe(seen(Reachable, Some(NEW)), start);
        assert_eq!(at(&target), Some(NEW));
    }

    #[test]
    fn silence_means_nothing_while_the_interface_is_down() {
        let start = Instant::now();
        let mut target = target(None);
        target.observe(seen(Reachable, Some(OLD)), start);
        target.vanish(start);
        let up = start + 10 * PATIENCE;
        assert_eq!(target.tend(false, up), Step::Nothing);
        assert_eq!(at(&target), Some(OLD));
        assert_eq!(target.tend(true, up + PATIENCE / 2), Step::Manage);
        assert_eq!(at(&target), Some(OLD), "patience begins with the interface");
        target.tend(true, up + PATIENCE);
        assert_eq!(at(&target), None);
    }

    #[test]
    fn a_pin_wins_and_nobody_is_asked() {
        let mut target = target(Some(NEW));
        assert_eq!(at(&target), Some(NEW));
        assert_eq!(target.watched(), None);
        assert_eq!(target.tend(true, Instant::now()), Step::Nothing);
        target.move_to(Err("192.0.2.21 is not on-link".into()));
        assert!(
            matches!(target.reach(), Some(Reach::Unreachable(_))),
            "on-link it must be"
        );
    }

    #[test]
    fn an_operators_own_entry_is_used_and_left_alone() {
        let now = Instant::now();
        let mut target = target(None);
        let own = Sighting {
            managed: false,
            ours: false,
            ..seen(Permanent, Some(OLD))
        };
        assert_eq!(target.observe(own, now), Step::Nothing);
        assert_eq!(at(&target), Some(OLD));
        assert_eq!(target.tend(true, now), Step::Nothing);
        assert!(!target.suspect(now));
    }

    #[test]
    fn failed_checks_ask_anew_once_a_second() {
        let now = Instant::now();
        let mut target = target(None);
        assert!(target.suspect(now));
        assert!(!target.suspect(now + RESOLVE_GAP / 2));
        assert!(target.suspect(now + RESOLVE_GAP));
    }

    #[test]
    fn an_entry_taken_away_is_told_from_one_that_went_with_its_interface() {
        let start = Instant::now();
        let gone = start + 10 * FOREIGN_AFTER;
        for (still_since, robbed) in [(start, true), (gone, false), (gone + FOREIGN_AFTER, false)] {
            let mut target = target(None);
            target.observe(seen(Reachable, Some(OLD)), start);
            target.observe(seen(Failed, None), gone);
            target.vanish(gone);
            assert!(!target.robbed(still_since, gone), "too early to tell");
            assert_eq!(target.robbed(still_since, gone + FOREIGN_AFTER), robbed);
            assert!(
                !target.robbed(still_since, gone + FOREIGN_AFTER),
                "told once"
            );
        }
        let mut target = target(None);
        target.observe(seen(Failed, None), start);
        target.vanish(gone);
        assert!(
            !target.robbed(start, gone + FOREIGN_AFTER),
            "the kernel clears away what failed"
        );
    }
}
