//! The rings and schedulers of the last snapshot, and with `track = "changes"` the rings before it.

use crate::config::Track;
use crate::id::{RealId, ServiceId};
use crate::net::{Addr, HashKey};
use crate::sched::{Candidate, Identity, Kind, Ring, Scheduler};
use crate::service::PastRing;
use crate::time::Tick;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Rings and schedulers of the last snapshot: one is built again only when its candidates changed.
#[derive(Clone, Debug, Default)]
pub struct Rings(BTreeMap<ServiceId, Built>);

#[derive(Clone, Debug)]
pub(super) struct Built {
    kind: Kind,
    candidates: Vec<Candidate>,
    pub ring: Option<Arc<Ring>>,
    pub scheduler: Arc<Scheduler>,
    pub past: Option<Past>,
    /// Until then there may be flows that are not remembered; [`FOR_GOOD`] while they are not.
    pub unremembered_until: Tick,
}

/// While a service tracks changes.
const FOR_GOOD: Tick = Tick(u64::MAX);

/// The ring from before a change that is under way.
#[derive(Clone, Debug)]
pub(super) struct Past {
    candidates: Vec<Candidate>,
    pub ring: PastRing,
    /// From then on the flows of the time before it have ended.
    pub until: Tick,
}

/// What a ring is made of.
pub(super) struct Wanted {
    pub kind: Kind,
    pub candidates: Vec<Candidate>,
    pub track: Track,
    /// How long flows from before a change are waited for.
    pub patience: Duration,
}

impl Rings {
    pub(super) fn get(
        &mut self,
        id: ServiceId,
        wanted: Wanted,
        key: &HashKey,
        now: Tick,
    ) -> &Built {
        let before = self.0.remove(&id);
        let unremembered_until = match (wanted.track, &before) {
            (Track::Changes, _) => FOR_GOOD,
            // Those of the time before it remembered flows end as after any other change.
            (_, Some(before)) => before.unremembered_until.min(now + wanted.patience),
            (_, None) => Tick(0),
        };
        let built = match before {
            Some(built) if built.kind == wanted.kind && built.candidates == wanted.candidates => {
                built
            }
            before => {
                let ring = Ring::build(&wanted.candidates, key).map(Arc::new);
                let past = before.and_then(|before| before.past_of(&wanted, ring.as_deref(), now));
                let past = past.map(|past| Past {
                    until: past.until.min(unremembered_until),
                    ..past
                });
                Built {
                    kind: wanted.kind,
                    scheduler: Arc::new(Scheduler::build(wanted.kind, &wanted.candidates)),
                    candidates: wanted.candidates,
                    past,
                    ring,
                    unremembered_until,
                }
            }
        };
        let asks_past = wanted.track != Track::None;
        let built = Built {
            past: built.past.filter(|past| asks_past && now < past.until),
            unremembered_until,
            ..built
        };
        self.0.entry(id).or_insert(built)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(ServiceId) -> bool) {
        self.0.retain(|id, _| keep(*id));
    }

    /// What the next process needs to know of services whose flows are not all remembered.
    pub fn remembered(&self) -> BTreeMap<u16, RememberedRing> {
        let of = |built: &Built| RememberedRing {
            kind: built.kind,
            reals: shares(&built.candidates),
            unremembered_until: built.unremembered_until.0,
            past: built.past.as_ref().map(|past| RememberedPast {
                kind: past.ring.kind,
                reals: shares(&past.candidates),
                until: past.until.0,
            }),
        };
        let tracked = self
            .0
            .iter()
            .filter(|(_, built)| built.unremembered_until > Tick(0));
        tracked.map(|(id, built)| (id.0, of(built))).collect()
    }

    /// The rings of the last process: a set that has changed since is a change like any other.
    pub fn recovered(remembered: &BTreeMap<u16, RememberedRing>, key: &HashKey) -> Self {
        let built = |ring: &RememberedRing| {
            let candidates = candidates_of(&ring.reals);
            let past = ring.past.as_ref().and_then(|past| {
                let candidates = candidates_of(&past.reals);
                Some(Past {
                    ring: PastRing {
                        kind: past.kind,
                        ring: Arc::new(Ring::build(&candidates, key)?),
                    },
                    candidates,
                    until: Tick(past.until),
                })
            });
            Built {
                kind: ring.kind,
                ring: Ring::build(&candidates, key).map(Arc::new),
                scheduler: Arc::new(Scheduler::build(ring.kind, &candidates)),
                candidates,
                past,
                unremembered_until: Tick(ring.unremembered_until),
            }
        };
        let rings = remembered.iter();
        Rings(
            rings
                .map(|(id, ring)| (ServiceId(*id), built(ring)))
                .collect(),
        )
    }
}

impl Built {
    /// The ring that flows of the time before a change to `wanted` follow: of changes upon changes the
    /// oldest, for whoever began since is remembered wherever one of them moved its slot.
    fn past_of(self, wanted: &Wanted, ring: Option<&Ring>, now: Tick) -> Option<Past> {
        if now >= self.unremembered_until {
            return None;
        }
        let until = now + wanted.patience;
        let (candidates, ring) = match self.past.filter(|past| now < past.until) {
            Some(past) => (past.candidates, past.ring),
            // Weights that are scaled alike move nothing.
            None if self.kind == wanted.kind && self.ring.as_deref() == ring => return None,
            None => {
                let (kind, ring) = (self.kind, self.ring?);
                (self.candidates, PastRing { kind, ring })
            }
        };
        Some(Past {
            candidates,
            ring,
            until,
        })
    }
}

/// An lbd that did not write it remembered rings of services that tracked changes alone.
fn for_good() -> u64 {
    FOR_GOOD.0
}

/// A ring as the next process builds it again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RememberedRing {
    kind: Kind,
    reals: Vec<Share>,
    #[serde(default = "for_good")]
    unremembered_until: u64,
    past: Option<RememberedPast>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct RememberedPast {
    kind: Kind,
    reals: Vec<Share>,
    until: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Share {
    real: u16,
    address: IpAddr,
    port: u16,
    weight: u16,
}

fn shares(candidates: &[Candidate]) -> Vec<Share> {
    let share = |candidate: &Candidate| Share {
        real: candidate.real.0,
        address: candidate.identity.address.ip(),
        port: candidate.identity.port,
        weight: candidate.weight,
    };
    candidates.iter().map(share).collect()
}

fn candidates_of(shares: &[Share]) -> Vec<Candidate> {
    let candidate = |share: &Share| Candidate {
        real: RealId(share.real),
        identity: Identity {
            address: Addr::from(share.address),
            port: share.port,
        },
        weight: share.weight,
    };
    shares.iter().map(candidate).collect()
}

#[cfg(test)]
mod tests;
