//! Whether lbd is ready.

use super::Reconciler;
use crate::control::Readiness;
use crate::live::WorkerState;
use crate::sys::clock;
use lbcore::service::RealState;

impl Reconciler {
    /// Whether lbd takes new flows: it works, and is not in maintenance.
    pub(in crate::daemon) fn readiness(&self) -> Readiness {
        match self.world.maintenance {
            Some(_) => Readiness {
                ready: false,
                reason: "in maintenance: no new flows until lbctl maintenance off".to_owned(),
            },
            None => self.working(),
        }
    }

    /// Whether lbd forwards and every real was judged once (or had its time).
    pub(super) fn working(&self) -> Readiness {
        let not = |reason: String| Readiness {
            ready: false,
            reason,
        };
        let workers = self.live.workers();
        let mut waiting = workers.iter().filter_map(|worker| match worker.state() {
            WorkerState::Waiting(why) => Some(format!("{}: {why}", worker.interface)),
            WorkerState::Running | WorkerState::Ended(_) => None,
        });
        let waiting = waiting.next();
        // One interface that is missing keeps nobody from being served by the others.
        if let (Some(why), false) = (&waiting, workers.iter().any(|w| w.is_open())) {
            return not(why.clone());
        }
        if self.generation == 0 {
            return not("no snapshot yet".to_owned());
        }
        // A worker that opened its socket while the VIPs changed follows at its next look.
        if !self.live.filters_at(self.live.filter().version) {
            return not("a worker does not receive for all VIPs yet".to_owned());
        }
        let listening = self.out.proxied.borrow().in_force.clone();
        let wanted = self.out.proxy.borrow().clone();
        if !wanted.endpoints.is_empty() && listening.is_none_or(|plan| *plan != *wanted) {
            return not("the proxy does not listen for all VIPs yet".to_owned());
        }
        if !self.announced_ready && clock::now() < self.judged_by {
            let table = self.live.table();
            let unjudged = table
                .services
                .iter()
                .flat_map(|s| &s.members)
                .filter(|m| m.state == RealState::Checking && !m.sorry)
                .count();
            if unjudged > 0 {
                return not(format!("waiting for the first check of {unjudged} reals"));
            }
        }
        Readiness {
            ready: true,
            reason: match waiting {
                None => "forwarding".to_owned(),
                Some(why) => format!("forwarding, but not on {why}"),
            },
        }
    }
}
