//! Reals whose answers reach no client, as clients' handshakes show it.

use super::reconciler::Reconciler;
use crate::sys::clock;
use lbcore::config::Mode;
use lbcore::health::Unanswered;
use lbcore::id::RealId;
use lbcore::net::Protocol;
use lbcore::service::{Member, Service, ServiceTable, WhyNot};
use lbcore::time::Tick;
use tracing::warn;

/// One real that most clients get no answer from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SilentToClients {
    /// `web/rs1`.
    pub name: String,
    /// In figures.
    pub seen: Unanswered,
}

impl SilentToClients {
    /// `web/rs1: 0 of 312 SYNs answered in the last 5 minutes`
    pub fn seen(&self) -> String {
        let Unanswered { completed, of } = self.seen;
        let name = &self.name;
        format!("{name}: {completed} of {of} SYNs answered in the last 5 minutes")
    }
}

impl Reconciler {
    /// Notes how many handshakes there were; often enough, for it sorts out itself what is new.
    pub(super) fn note_handshakes(&mut self) {
        let now = clock::now();
        let table = self.live.table();
        let counted = |s: &&Service| {
            let tcp = s.keys.first().is_some_and(|k| k.protocol == Protocol::Tcp);
            s.mode == Mode::Dr && tcp
        };
        let mut known = std::collections::HashMap::new();
        for member in table
            .services
            .iter()
            .filter(counted)
            .flat_map(|s| &s.members)
        {
            let (completed, unanswered) = self.live.handshakes(member.id);
            let mut notes = self.handshakes.remove(&member.id).unwrap_or_default();
            notes.note(completed, unanswered, now);
            known.insert(member.id, notes);
        }
        self.handshakes = known;
        self.eject(&table, now);
    }

    /// Where the service wants it, takes new flows from those that leave clients without an answer.
    pub(super) fn eject(&mut self, table: &ServiceTable, now: Tick) {
        let wanted = |s: &&Service| {
            let mut configured = self.world.config.services.iter();
            configured.any(|c| c.passive && *c.name == *s.name)
        };
        let services: Vec<&Service> = table.services.iter().filter(wanted).collect();
        for service in services {
            let serves = |m: &&Member| {
                matches!(m.why_not, None | Some(WhyNot::Ejected)) && !m.backup && !m.sorry
            };
            let serving: Vec<RealId> = service
                .members
                .iter()
                .filter(serves)
                .map(|m| m.id)
                .collect();
            let finding = |id: &RealId| Some((self.handshakes.get(id)?.finding()?, *id));
            let mut found: Vec<_> = serving.iter().filter_map(finding).collect();
            // The smallest share answered first.
            found.sort_by_key(|(seen, id)| (seen.completed * 1000 / seen.of.max(1), *id));
            let suspects: Vec<RealId> = found.into_iter().map(|(_, id)| id).collect();
            let ejections = self.world.ejections.entry(service.id).or_default();
            for id in ejections.judge(&suspects, &serving, now) {
                // What is seen when it is back decides about it anew.
                self.handshakes.remove(&id);
                self.dirty = true;
                if let Some(member) = service.members.iter().find(|m| m.id == id) {
                    warn!(
                        service = %service.name,
                        real = member.name,
                        "most clients get no answer: no new flows for a while"
                    );
                }
            }
        }
    }

    /// The reals that most clients get no answer from.
    pub(super) fn silent_to_clients(&self) -> Vec<SilentToClients> {
        let table = self.live.table();
        let services = table.services.iter();
        let all = services.flat_map(|s| s.members.iter().map(move |m| (s, m)));
        let found = all.filter_map(|(service, member)| {
            Some(SilentToClients {
                name: format!("{}/{}", service.name, member.name),
                seen: self.handshakes.get(&member.id)?.finding()?,
            })
        });
        found.collect()
    }
}
