//! How many connections each service has, over all workers, and of each client where that is
//! bounded.

use lbcore::id::{MAX_SERVICES, ServiceId};
use lbcore::net::Addr;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The counts.
#[derive(Debug)]
pub struct Gates {
    services: Box<[AtomicU32]>,
    sources: Mutex<HashMap<(ServiceId, Addr), u32>>,
}

impl Default for Gates {
    fn default() -> Self {
        Gates {
            services: (0..MAX_SERVICES).map(|_| AtomicU32::new(0)).collect(),
            sources: Mutex::default(),
        }
    }
}

impl Gates {
    /// Counts a connection in, unless `max` are there already (0: no bound).
    pub fn enter(&self, service: ServiceId, max: u32) -> bool {
        let cell = &self.services[service.index()];
        let fits = |n: u32| (max == 0 || n < max).then_some(n + 1);
        cell.fetch_update(Relaxed, Relaxed, fits).is_ok()
    }

    /// Counts it out.
    pub fn leave(&self, service: ServiceId) {
        let before = self.services[service.index()].fetch_sub(1, Relaxed);
        debug_assert!(before > 0, "only who entered leaves");
    }

    /// Counts a client's connection in, unless it has `max` already. The map holds no more entries
    /// than there are connections.
    pub fn enter_source(&self, service: ServiceId, client: Addr, max: u32) -> bool {
        let mut sources = self.sources();
        let count = sources.entry((service, client)).or_default();
        if *count >= max {
            return false;
        }
        *count += 1;
        true
    }

    /// Counts it out.
    pub fn leave_source(&self, service: ServiceId, client: Addr) {
        let mut sources = self.sources();
        if let Some(count) = sources.get_mut(&(service, client)) {
            *count -= 1;
            if *count == 0 {
                sources.remove(&(service, client));
            }
        }
    }

    fn sources(&self) -> MutexGuard<'_, HashMap<(ServiceId, Addr), u32>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: ServiceId = ServiceId(3);

    #[test]
    fn as_many_as_the_bound_says() {
        let gates = Gates::default();
        assert!(gates.enter(WEB, 2) && gates.enter(WEB, 2));
        assert!(!gates.enter(WEB, 2));
        assert!(gates.enter(ServiceId(4), 2), "each service for itself");
        gates.leave(WEB);
        assert!(gates.enter(WEB, 2));
        assert!(gates.enter(WEB, 0), "no bound");
    }

    #[test]
    fn a_client_has_its_own_bound_and_leaves_nothing_behind() {
        let gates = Gates::default();
        let [one, other] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(Addr::v4);
        assert!(gates.enter_source(WEB, one, 1));
        assert!(!gates.enter_source(WEB, one, 1));
        assert!(gates.enter_source(WEB, other, 1));
        gates.leave_source(WEB, one);
        assert!(gates.enter_source(WEB, one, 1));
        gates.leave_source(WEB, one);
        gates.leave_source(WEB, other);
        assert!(gates.sources().is_empty());
    }
}
