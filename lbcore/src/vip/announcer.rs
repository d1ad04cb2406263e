//! One VIP on one interface.
//!
//! ```text
//!            wanted, carrier              nobody answered
//!   Silent ------------------> Probing ------------------> Announced
//!     ^                         |   ^                        |
//!     | not wanted, no carrier  |   | every 30 s             | a lower MAC
//!     | (from anywhere)         v   |                        | goes on and on
//!     +----------------------- Conflict <--------------------+
//!
//!   Owned: the host has the address and its kernel answers (from anywhere, and back)
//! ```

use super::bucket::Bucket;
use super::claims::{Claims, Weight};
use super::compose;
use super::facts::{Answerer, Facts};
use super::news::{News, note};
use super::parse::Heard;
use super::timetable::Timetable;
use super::words::{Hold, Ownership, VipState};
use crate::net::MacAddr;
use crate::time::Tick;
use std::net::IpAddr;
use std::time::Duration;

/// Probes before a VIP is taken, as in RFC 5227.
pub const PROBES: u32 = 3;

/// Between two probes. RFC 5227 spreads its probes over 1 to 2 s and waits 2 s more, for hosts that
/// boot by the thousand on one link; a balancer's start and failover wait for this, and a machine
/// that has the address answers within milliseconds.
pub const PROBE_INTERVAL: Duration = Duration::from_millis(200);

/// After the last probe, before nobody has answered.
pub const PROBE_WAIT: Duration = Duration::from_millis(400);

/// From finding a VIP in use to asking again.
pub const CONFLICT_RETRY: Duration = Duration::from_secs(30);

/// Between two defences of one VIP: two machines that both defend must not flood the link.
pub const DEFENCE_INTERVAL: Duration = Duration::from_secs(1);

/// Answers to ARP or neighbour solicitation a second and VIP. A thousand hosts that come back
/// together are all served within two of their own retries (1 s each).
pub const ANSWERS_PER_SECOND: u64 = 500;

/// Echo replies a second and VIP: plenty for monitoring, useless for a flood.
pub const ECHOES_PER_SECOND: u64 = 200;

/// Between two [`News`] that differ in counts and words only: strangers can trigger them.
pub const NEWS_INTERVAL: Duration = Duration::from_secs(1);

/// Decides what to send for one VIP on one interface.
#[derive(Clone, Debug)]
pub struct Announcer {
    vip: IpAddr,
    facts: Facts,
    phase: Phase,
    claims: Claims,
    defence: Defence,
    answers: Bucket,
    echoes: Bucket,
    told: Option<(News, Tick)>,
    announced: Option<Tick>,
}

#[derive(Clone, Debug)]
enum Phase {
    Silent,
    Probing {
        sent: u32,
        next: Tick,
        after_carrier: bool,
        /// It was found in use before and still counts as that.
        again: bool,
    },
    Announced(Timetable),
    /// Without a timetable nobody wants it announced; the kernel answers all the same.
    Owned(Option<Timetable>),
    Conflict {
        retry: Tick,
    },
}

/// At most one announcement an interval in answer to claims, however many there are.
#[derive(Clone, Copy, Debug, Default)]
struct Defence {
    due: Option<Tick>,
    earliest: Tick,
}

impl Announcer {
    /// Silent until the first [`Announcer::set_facts`].
    pub fn new(vip: IpAddr, facts: Facts, now: Tick, out: &mut Vec<Vec<u8>>) -> Self {
        let mut new = Announcer {
            vip,
            phase: Phase::Silent,
            claims: Claims::default(),
            defence: Defence::default(),
            answers: Bucket::new(ANSWERS_PER_SECOND, now),
            echoes: Bucket::new(ECHOES_PER_SECOND, now),
            told: None,
            announced: None,
            facts: facts.clone(),
        };
        new.set_facts(facts, now, out);
        new
    }

    /// Who answers for the VIP. Asking again after a conflict is still a conflict.
    pub fn state(&self) -> VipState {
        match self.phase {
            Phase::Silent => VipState::Silent,
            Phase::Probing { again: false, .. } => VipState::Probing,
            Phase::Probing { again: true, .. } | Phase::Conflict { .. } => VipState::Conflict,
            Phase::Announced(_) => VipState::Announced,
            Phase::Owned(_) => VipState::Owned,
        }
    }

    /// Takes note of the host and the wishes; frames to send go to `out`.
    pub fn set_facts(&mut self, facts: Facts, now: Tick, out: &mut Vec<Vec<u8>>) {
        let old = std::mem::replace(&mut self.facts, facts);
        let carrier_came = self.facts.carrier && !old.carrier;
        let same_mac = self.facts.mac == old.mac;
        let taken = self.facts.hold == Hold::Take && old.hold != Hold::Take;
        match (self.facts.answerer(), &mut self.phase) {
            (Answerer::Nobody, phase) => *phase = Phase::Silent,

            (Answerer::Kernel { announce: true }, Phase::Owned(Some(_))) if same_mac => {}
            (Answerer::Kernel { announce }, phase) => {
                let timetable = announce.then(|| Timetable::new(now, carrier_came));
                *phase = Phase::Owned(timetable);
            }

            // With a new MAC (a bond's failover, say) the VIP is still ours; neighbours must know.
            (Answerer::Lbd, Phase::Announced(timetable)) => {
                if !same_mac {
                    *timetable = Timetable::new(now, false);
                }
            }
            (Answerer::Lbd, Phase::Probing { .. }) if same_mac => {}
            (Answerer::Lbd, Phase::Conflict { .. }) if same_mac && !taken => {}
            (Answerer::Lbd, phase) => *phase = Phase::probing(now, carrier_came),
        }
        self.tick(now, out);
    }

    /// Does what is due at `now`; frames to send go to `out`.
    pub fn tick(&mut self, now: Tick, out: &mut Vec<Vec<u8>>) {
        if let Phase::Conflict { retry } = self.phase
            && retry <= now
        {
            self.phase = Phase::Probing {
                sent: 0,
                next: now,
                after_carrier: false,
                again: true,
            };
        }
        if let Phase::Probing {
            sent,
            next,
            after_carrier,
            ..
        } = &mut self.phase
            && *next <= now
        {
            if *sent < PROBES {
                *sent += 1;
                *next = now
                    + if *sent < PROBES {
                        PROBE_INTERVAL
                    } else {
                        PROBE_WAIT
                    };
                out.push(compose::probe(self.facts.mac, self.vip));
            } else {
                self.phase = Phase::Announced(Timetable::new(now, *after_carrier));
                self.claims.forget();
            }
        }
        let (Phase::Announced(timetable) | Phase::Owned(Some(timetable))) = &mut self.phase else {
            self.defence.due = None;
            return self.claims.expire(now);
        };
        let (mut announcements, question) = timetable.due(now);
        if self.defence.due.is_some_and(|due| due <= now) {
            self.defence = Defence {
                due: None,
                earliest: now + DEFENCE_INTERVAL,
            };
            announcements += 1;
        }
        if announcements > 0 {
            self.announced = Some(now);
        }
        for _ in 0..announcements {
            out.push(compose::announcement(self.facts.mac, self.vip));
        }
        if question {
            out.push(compose::probe(self.facts.mac, self.vip));
        }
        self.claims.expire(now);
    }

    /// When [`Announcer::tick`] or [`Announcer::news`] has something to do next.
    pub fn deadline(&self) -> Option<Tick> {
        let phase = match &self.phase {
            Phase::Silent | Phase::Owned(None) => None,
            Phase::Probing { next, .. } => Some(*next),
            Phase::Announced(timetable) | Phase::Owned(Some(timetable)) => {
                Some(timetable.deadline())
            }
            Phase::Conflict { retry } => Some(*retry),
        };
        let untold = match &self.told {
            Some((news, _)) if *news == self.current() => None,
            Some((news, at)) if news.state == self.state() => Some(*at + NEWS_INTERVAL),
            _ => Some(Tick::default()),
        };
        [phase, self.defence.due, self.claims.deadline(), untold]
            .into_iter()
            .flatten()
            .min()
    }

    /// Takes note of a frame; answers go to `out`.
    pub fn hear(&mut self, heard: &Heard<'_>, now: Tick, out: &mut Vec<Vec<u8>>) {
        match (*heard, self.vip) {
            (
                Heard::Arp {
                    to,
                    request,
                    sender,
                    sender_ip,
                    target,
                },
                IpAddr::V4(vip),
            ) => {
                if sender == self.facts.mac {
                    return;
                }
                if sender_ip == vip {
                    self.claimed(sender, now);
                } else if request && target == vip {
                    if sender_ip.is_unspecified() {
                        self.rival_asks(sender, now);
                    }
                    if self.may_answer(to, now) {
                        out.push(compose::arp_reply(self.facts.mac, vip, (sender, sender_ip)));
                    }
                }
            }
            (
                Heard::Solicitation {
                    to,
                    from,
                    source,
                    target,
                },
                IpAddr::V6(vip),
            ) => {
                if from == self.facts.mac || target != vip || source == vip {
                    return;
                }
                if source.is_unspecified() {
                    self.rival_asks(from, now);
                }
                if self.may_answer(to, now) {
                    let asker = (from, source);
                    out.push(compose::solicited_advertisement(self.facts.mac, vip, asker));
                }
            }
            (
                Heard::Advertisement {
                    mac,
                    target,
                    overrides,
                },
                IpAddr::V6(vip),
            ) => {
                let asking = matches!(self.phase, Phase::Probing { .. });
                if mac != self.facts.mac && target == vip && (overrides || asking) {
                    self.claimed(mac, now);
                }
            }
            (Heard::Echo(ref echo), vip) => {
                let ours = echo.destination == vip
                    && echo.source != vip
                    && echo.to == self.facts.mac
                    && matches!(self.phase, Phase::Announced(_))
                    && self.facts.ownership == Ownership::None
                    && self.facts.healthy;
                if ours && self.echoes.take(now) {
                    out.extend(compose::echo_reply(self.facts.mac, echo));
                }
            }
            _ => {}
        }
        self.tick(now, out);
    }

    /// Whether a question in a frame to `to` is for us, and its answer within bounds. A question to
    /// another machine's MAC reached us by flooding only.
    fn may_answer(&mut self, to: MacAddr, now: Tick) -> bool {
        matches!(self.phase, Phase::Announced(_))
            && (to == self.facts.mac || to.is_multicast())
            && self.answers.take(now)
    }

    /// Another machine asks whether somebody has the VIP, as we do: the lower MAC goes on.
    fn rival_asks(&mut self, mac: MacAddr, now: Tick) {
        if matches!(self.phase, Phase::Probing { .. }) && mac < self.facts.mac {
            self.yield_to(mac, now);
        }
    }

    /// Another machine says that it has the VIP.
    fn claimed(&mut self, mac: MacAddr, now: Tick) {
        match self.phase {
            Phase::Silent => {}
            Phase::Conflict { .. } => self.claims.seen(mac, now),
            Phase::Probing { .. } => self.yield_to(mac, now),
            Phase::Announced(_) | Phase::Owned(_) => {
                self.claims.against(mac, now);
                // A real's kernel that talks for the VIP is a mistake to be told, never a rival.
                let rival = matches!(self.phase, Phase::Announced(_))
                    && mac < self.facts.mac
                    && !self.facts.reals.contains_key(&mac);
                if rival && self.claims.weigh(mac, now) == Weight::Steady {
                    self.phase = Phase::Conflict {
                        retry: now + CONFLICT_RETRY,
                    };
                } else if self.defence.due.is_none() {
                    self.defence.due = Some(self.defence.earliest.max(now));
                }
            }
        }
    }

    /// The VIP is in use.
    fn yield_to(&mut self, mac: MacAddr, now: Tick) {
        if self.state() == VipState::Conflict {
            self.claims.seen(mac, now);
        } else {
            self.claims.against(mac, now);
        }
        self.phase = Phase::Conflict {
            retry: now + CONFLICT_RETRY,
        };
    }

    /// What changed since the last call: a state at once, words and counts at most once a
    /// [`NEWS_INTERVAL`].
    pub fn news(&mut self, now: Tick) -> Option<News> {
        let current = self.current();
        let due = match &self.told {
            Some((told, _)) if *told == current => false,
            Some((told, at)) if told.state == current.state => *at + NEWS_INTERVAL <= now,
            _ => true,
        };
        due.then(|| {
            self.told = Some((current.clone(), now));
            current
        })
    }

    /// What there is to tell, told or not.
    pub(super) fn current(&self) -> News {
        let claimed_by = match self.phase {
            Phase::Silent => None,
            _ => self.claims.claimant(),
        };
        let state = self.state();
        News {
            state,
            note: note(self.vip, state, &self.facts, claimed_by),
            claimed_by,
            conflicts: self.claims.count(),
            announced: self.announced,
        }
    }
}

impl Phase {
    fn probing(now: Tick, after_carrier: bool) -> Self {
        Phase::Probing {
            sent: 0,
            next: now,
            after_carrier,
            again: false,
        }
    }
}
