//! Proxied connections and sessions as who traces sees them: a line when one has its real, a line
//! when it has ended.

use super::tcp::Scene;
use crate::live::{Outcome, Sighting};
use lbcore::api::{ConnectionView, Verdict};
use lbcore::id::{RealId, ServiceId};
use lbcore::net::ServiceKey;
use lbcore::time::Tick;
use std::net::SocketAddr;

/// One connection or session at such a moment.
#[derive(Debug)]
pub(super) struct Sight<'a> {
    /// The client, as it is or as a trusted header told.
    pub client: SocketAddr,
    /// What it dialled.
    pub vip: ServiceKey,
    pub service: ServiceId,
    /// The real it has or had, and where that was dialled.
    pub real: Option<(RealId, SocketAddr)>,
    /// Reals that were tried before, in vain.
    pub tried: &'a [RealId],
    pub ended: Option<Outcome>,
    pub begun: Tick,
    /// Delivered to the real, and to the client.
    pub bytes: (u64, u64),
}

impl Sight<'_> {
    /// Shows it, if somebody traces.
    pub fn show(&self, scene: &Scene<'_>) {
        let taps = &scene.shared.live.taps;
        if !taps.any() {
            return;
        }
        let result = self.ended.map(Outcome::word);
        let (protocol, client) = (self.vip.protocol, self.client.ip());
        let met: Vec<RealId> = self
            .tried
            .iter()
            .copied()
            .chain(self.real.map(|r| r.0))
            .collect();
        let verdict = match self.real {
            Some(_) => Verdict::Proxy,
            None => Verdict::Refuse,
        };
        for tap in taps.list().iter() {
            let wanted =
                tap.wanted
                    .connection(protocol, client, self.service, verdict, &met, result);
            if wanted && tap.quota.admit(scene.now) {
                tap.show(Sighting::Connection {
                    at: scene.now,
                    view: Box::new(self.view(verdict, scene)),
                });
            }
        }
    }

    fn view(&self, verdict: Verdict, scene: &Scene<'_>) -> ConnectionView {
        let name = |id: RealId| {
            let member = scene.table.member(id);
            member.map_or_else(|| "a real that is gone".to_owned(), |(_, m)| m.name.clone())
        };
        let mut services = scene.table.services.iter();
        let service = services.find(|s| s.id == self.service);
        ConnectionView {
            protocol: self.vip.protocol,
            client: self.client.to_string(),
            vip: SocketAddr::new(self.vip.vip.ip(), self.vip.port).to_string(),
            service: service.map_or_else(String::new, |s| s.name.to_string()),
            verdict,
            real: self.real.map(|(id, _)| name(id)),
            server: self.real.map(|(_, to)| to.to_string()),
            tried: self.tried.iter().map(|id| name(*id)).collect(),
            result: self.ended.map(|how| how.word().to_owned()),
            age_ms: scene.now.since(self.begun),
            bytes_in: self.bytes.0,
            bytes_out: self.bytes.1,
        }
    }
}
