//! Which packets and connections somebody wants to see.

use super::Seen;
use crate::api::{RealRef, ServiceRef, TraceFilter, Verdict as Word};
use crate::director::{Decision, Met, Verdict};
use crate::id::{RealId, ServiceId};
use crate::net::Protocol;
use crate::service::ServiceTable;
use std::net::IpAddr;

/// A [`TraceFilter`] whose names are ids by now: it compares numbers, a packet each.
#[derive(Clone, Debug)]
pub struct Wanted {
    filter: TraceFilter,
    service: Option<ServiceId>,
    reals: Option<Vec<RealId>>,
}

impl Wanted {
    /// From what was asked, with the service and the reals it means.
    pub fn new(
        filter: TraceFilter,
        service: Option<ServiceId>,
        reals: Option<Vec<RealId>>,
    ) -> Self {
        Wanted {
            filter,
            service,
            reals,
        }
    }

    /// Whether a packet is wanted.
    pub fn packet(
        &self,
        seen: &Seen,
        decision: &Decision,
        verdict: Verdict,
        table: &ServiceTable,
    ) -> bool {
        let (word, reason) = match verdict {
            Verdict::Forward(_) => (Word::Forward, None),
            Verdict::Pass => (Word::Pass, None),
            Verdict::Drop(reason) => (Word::Drop, Some(reason.word())),
        };
        if word == Word::Pass && !self.filter.passed && self.filter.verdict != Some(Word::Pass) {
            return false;
        }
        let protocol = self.filter.protocol;
        let service = || Some(table.services[decision.service?].id);
        let real = || match (verdict, decision.met) {
            (Verdict::Forward(chosen), _) => Some(chosen.real),
            (Verdict::Drop(_), Met::Hit(entry)) => Some(entry.real),
            _ => None,
        };
        self.ends(word, reason)
            && (protocol.is_none() || protocol == seen.protocol())
            && self.client_is(seen.client())
            && (self.service.is_none() || self.service == service())
            && self.reals_are(real().as_slice())
    }

    /// Whether a proxied connection is wanted: of whom, of which service, with which reals (those
    /// tried in vain, too), and how it ended if it did.
    pub fn connection(
        &self,
        protocol: Protocol,
        client: IpAddr,
        service: ServiceId,
        verdict: Word,
        met: &[RealId],
        result: Option<&str>,
    ) -> bool {
        self.ends(verdict, result)
            && self.filter.protocol.is_none_or(|p| p == protocol)
            && self.client_is(Some(client))
            && self.service.is_none_or(|id| id == service)
            && self.reals_are(met)
    }

    fn ends(&self, verdict: Word, reason: Option<&str>) -> bool {
        self.filter.verdict.is_none_or(|wanted| wanted == verdict)
            && (self.filter.reason.is_none() || self.filter.reason.as_deref() == reason)
    }

    fn client_is(&self, client: Option<IpAddr>) -> bool {
        let prefix = self.filter.client;
        prefix.is_none_or(|prefix| client.is_some_and(|client| prefix.contains(client)))
    }

    fn reals_are(&self, met: &[RealId]) -> bool {
        let reals = self.reals.as_ref();
        reals.is_none_or(|reals| met.iter().any(|real| reals.contains(real)))
    }
}

/// The service that somebody means by `wanted`.
pub fn service_called(wanted: &ServiceRef, table: &ServiceTable) -> Option<ServiceId> {
    let mut services = table.services.iter();
    let found = services.find(|s| match wanted {
        ServiceRef::Name(name) => *s.name == **name,
        ServiceRef::Endpoint(key) => s.keys.contains(key),
    });
    found.map(|s| s.id)
}

/// Every real that somebody means by `wanted`, in one service or in all.
pub fn reals_called(
    wanted: &RealRef,
    service: Option<ServiceId>,
    table: &ServiceTable,
) -> Vec<RealId> {
    let services = table.services.iter();
    let services = services.filter(|s| service.is_none_or(|id| id == s.id));
    let meant = services.flat_map(|s| {
        s.members.iter().filter(move |m| {
            let mut ports = s.keys.iter().map(|k| m.port.unwrap_or(k.port));
            ports.any(|port| wanted.matches(&m.name, m.address, port))
        })
    });
    meant.map(|m| m.id).collect()
}
