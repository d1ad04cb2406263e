//! The rules of who serves: a real's state from what is known of it, and the order of who gets new
//! flows. Nothing here knows of packets.

use super::table::{FlowFate, WhyNot};
use crate::config::{Admin, OnDead, Service};
use crate::net::MacAddr;
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What checks say of a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// The service has no checks.
    Unchecked,
    /// Not judged yet.
    Checking,
    /// All checks pass.
    Up,
    /// A check's answer asks for no new flows.
    Draining,
    /// A check failed often enough: refused, or without an answer.
    Down,
    /// A check's answer says that it shall not serve (http 503): down, but never a failure.
    Declined,
}

/// What the host says of the way to a real.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Way {
    /// Nothing yet.
    Unknown,
    /// Its MAC is known.
    Known {
        /// Interface it is reached by.
        ifindex: u32,
        /// Its MAC.
        mac: MacAddr,
    },
    /// On the network, but it does not answer now; `last` is where it last was.
    Silent {
        /// Interface and MAC it last answered with.
        last: Option<(u32, MacAddr)>,
        /// In words.
        reason: String,
    },
    /// Direct routing cannot get there, in words.
    Unreachable(String),
    /// Not asked: it is dialled by this host's routes (mode tproxy).
    Routed,
}

/// A real's state, in `status`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RealState {
    /// Not judged yet: no flows.
    Checking,
    /// Serves.
    Up,
    /// Does not serve.
    Down,
    /// No new flows.
    Draining,
    /// Switched off by the operator.
    Disabled,
    /// Serves, and nobody checks it.
    Unchecked,
}

impl RealState {
    /// Every state, for metrics.
    pub const ALL: [RealState; 6] = [
        RealState::Checking,
        RealState::Up,
        RealState::Down,
        RealState::Draining,
        RealState::Disabled,
        RealState::Unchecked,
    ];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            RealState::Checking => "checking",
            RealState::Up => "up",
            RealState::Down => "down",
            RealState::Draining => "draining",
            RealState::Disabled => "disabled",
            RealState::Unchecked => "unchecked",
        }
    }

    /// Whether a real in this state drains, is dead or gone. One that merely gets no new flows (a
    /// backup, weight 0, not judged yet) does not leave those it has.
    pub fn leaves(self) -> bool {
        matches!(
            self,
            RealState::Down | RealState::Draining | RealState::Disabled
        )
    }

    /// Whether a real in this state may serve.
    pub fn serves(self) -> bool {
        matches!(self, RealState::Up | RealState::Unchecked)
    }
}

impl fmt::Display for RealState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// A service's state, in `status`'s words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Every real that should serve does.
    Up,
    /// Some do not.
    Degraded,
    /// Checks failed for so many that the last good set goes on regardless.
    Panic,
    /// Nobody serves.
    Down,
}

impl ServiceState {
    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            ServiceState::Up => "up",
            ServiceState::Degraded => "degraded",
            ServiceState::Panic => "panic",
            ServiceState::Down => "down",
        }
    }

    /// Whether new flows find somebody.
    pub fn serves(self) -> bool {
        self != ServiceState::Down
    }
}

impl fmt::Display for ServiceState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// Which rung of the ladder new flows stand on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// Reals that are up.
    Reals,
    /// Backups that are up.
    Backups,
    /// The sorry server.
    Sorry,
    /// The last good set, because checks failed.
    LastGood,
    /// Nobody.
    Nobody,
}

/// What is known of one real before it is judged.
#[derive(Clone, Debug)]
pub(super) struct Known<'a> {
    pub service_admin: Admin,
    pub admin: Admin,
    pub lingering: bool,
    pub health: Health,
    pub health_reason: &'a str,
    pub way: &'a Way,
}

/// A real's state and the reason in words.
pub(super) fn state(known: &Known<'_>) -> (RealState, String) {
    let by_operator = |what: &str| match known.admin {
        Admin::Enabled => format!("service {what} by the operator"),
        Admin::Drain | Admin::Disabled => format!("{what} by the operator"),
    };
    if known.admin == Admin::Disabled || known.service_admin == Admin::Disabled {
        return (RealState::Disabled, by_operator("disabled"));
    }
    if let Way::Unreachable(why) = known.way {
        return (RealState::Down, why.clone());
    }
    if known.lingering {
        return (
            RealState::Draining,
            "removed from the configuration".to_owned(),
        );
    }
    if known.admin == Admin::Drain || known.service_admin == Admin::Drain {
        return (RealState::Draining, by_operator("drained"));
    }
    match (known.health, known.way) {
        (Health::Down | Health::Declined, _) => (RealState::Down, known.health_reason.to_owned()),
        (_, Way::Silent { reason, .. }) => (RealState::Down, reason.clone()),
        (_, Way::Unknown) => (RealState::Checking, "asking for its MAC address".to_owned()),
        (Health::Draining, _) => (RealState::Draining, known.health_reason.to_owned()),
        (Health::Checking, _) => (
            RealState::Checking,
            "waiting for its first check".to_owned(),
        ),
        (Health::Up, _) => (RealState::Up, known.health_reason.to_owned()),
        (Health::Unchecked, Way::Known { .. } | Way::Unreachable(_) | Way::Routed) => {
            (RealState::Unchecked, "no check configured".to_owned())
        }
    }
}

/// Whether a real is down because it *failed* (refused or silent), which alone may end in panic.
pub(super) fn failed(state: RealState, health: Health, way: &Way) -> bool {
    let declined = health == Health::Declined && !matches!(way, Way::Silent { .. });
    state == RealState::Down && !declined && !matches!(way, Way::Unreachable(_))
}

/// A judged real, as the ladder needs it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rung {
    pub state: RealState,
    pub weight: u16,
    pub backup: bool,
    pub sorry: bool,
    pub has_path: bool,
    pub failed: bool,
    pub last_good: bool,
    pub ejected: bool,
}

/// Who gets new flows: reals that are up, else backups that are up, else the sorry server, else
/// (if checks failed) the last good set, else nobody. With fewer than `min_healthy` up because of
/// failures the last good set goes on *beside* the ones that are up.
///
/// Returns the rung and, for each real, why it is not a candidate.
pub(super) fn ladder(rungs: &[Rung], min_healthy: u32) -> (Serving, Vec<Option<WhyNot>>) {
    let own = |r: &Rung| !r.backup && !r.sorry;
    let able = |r: &Rung| r.weight > 0 && r.has_path;
    let up = |r: &Rung| r.state.serves() && able(r);
    let count = |f: &dyn Fn(&Rung) -> bool| rungs.iter().filter(|r| f(r)).count();

    let ups = count(&|r| own(r) && up(r));
    let failures = count(&|r| own(r) && r.failed && r.weight > 0);
    let wanted = min_healthy as usize;
    let short = ups < wanted && failures > 0;
    let backups = count(&|r| r.backup && up(r));
    let sorry = count(&|r| r.sorry && up(r));
    let saved = count(&|r| own(r) && r.last_good && r.failed && able(r));

    let serving = if ups > 0 && !(short && saved > 0) {
        Serving::Reals
    } else if ups == 0 && backups > 0 {
        Serving::Backups
    } else if ups == 0 && sorry > 0 {
        Serving::Sorry
    } else if short && saved > 0 {
        Serving::LastGood
    } else {
        Serving::Nobody
    };
    let why_not = rungs.iter().map(|r| why_not(r, serving)).collect();
    (serving, why_not)
}

fn why_not(r: &Rung, serving: Serving) -> Option<WhyNot> {
    if r.sorry && serving != Serving::Sorry {
        return Some(WhyNot::Sorry);
    }
    if serving == Serving::LastGood && !r.backup && r.failed {
        return match (r.last_good, r.weight, r.has_path) {
            (false, _, _) => Some(WhyNot::NotLastGood),
            (_, 0, _) => Some(WhyNot::WeightZero),
            (_, _, false) => Some(WhyNot::NoPath),
            _ => None,
        };
    }
    if !r.state.serves() {
        return Some(WhyNot::State(r.state));
    }
    if r.weight == 0 {
        return Some(WhyNot::WeightZero);
    }
    if !r.has_path {
        return Some(WhyNot::NoPath);
    }
    if r.backup && serving != Serving::Backups {
        return Some(WhyNot::Backup);
    }
    // Only where others serve: `health::Ejections` ejects one in ten at most.
    if r.ejected && serving == Serving::Reals {
        return Some(WhyNot::Ejected);
    }
    None
}

/// Whether no packet to a real can be answered, as far as anybody knows, whatever the operator wants of it.
pub fn is_dead(health: Health, way: &Way) -> bool {
    health == Health::Down || matches!(way, Way::Silent { .. })
}

/// What becomes of the flows a real already has, and when that changes by itself. `dead_since`: a real that
/// drains may be dead, too, and then its flows go as those of the dead.
pub(super) fn fate(
    service: &Service,
    state: RealState,
    since: Tick,
    dead_since: Option<Tick>,
    now: Tick,
) -> (FlowFate, Option<Tick>) {
    let after_death = match service.on_dead {
        OnDead::Rehash => FlowFate::Rehash,
        OnDead::Keep => FlowFate::Keep,
        OnDead::Drop => FlowFate::Drop,
    };
    let end = match state {
        RealState::Up | RealState::Unchecked | RealState::Checking => None,
        RealState::Disabled => return (after_death, None),
        RealState::Down => Some(since + service.dead_grace),
        RealState::Draining => {
            let timeout = Some(service.drain_timeout).filter(|timeout| !timeout.is_zero());
            let drained = timeout.map(|timeout| since + timeout);
            let dead = dead_since.map(|since| since + service.dead_grace);
            [drained, dead].into_iter().flatten().min()
        }
    };
    match end {
        Some(end) if now >= end => (after_death, None),
        end => (FlowFate::Keep, end),
    }
}

/// The word for the whole service.
pub(super) fn service_state(serving: Serving, rungs: &[Rung]) -> ServiceState {
    match serving {
        Serving::Nobody => ServiceState::Down,
        Serving::LastGood => ServiceState::Panic,
        Serving::Backups | Serving::Sorry => ServiceState::Degraded,
        Serving::Reals => {
            let missing = rungs
                .iter()
                .any(|r| !r.sorry && matches!(r.state, RealState::Down | RealState::Checking));
            if missing {
                ServiceState::Degraded
            } else {
                ServiceState::Up
            }
        }
    }
}
