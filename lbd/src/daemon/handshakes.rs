//! Reals whose answers reach no client, as clients' handshakes show it.

use super::reconciler::Reconciler;
use crate::sys::clock;
use lbcore::config::Mode;
use lbcore::health::Unanswered;
use lbcore::net::Protocol;

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
        let counted = |s: &&lbcore::service::Service| {
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
