//! What must stand outside before a snapshot is published, and whether it does.

use super::{IN_FORCE_WITHIN, Reconciler, send_if_new};
use crate::guard::GuardPlan;
use crate::intercept::InterceptPlan;
use std::sync::Arc;
use tracing::warn;

impl Reconciler {
    /// Before the snapshot: the host is silent about what is served.
    pub(super) async fn guard(&mut self, plan: GuardPlan) {
        send_if_new(&self.out.guard, plan);
        let plan = self.out.guard.borrow().clone();
        let settled = self.out.guarded.wait_for(|state| {
            let is = |other: &Option<Arc<_>>| other.as_ref().is_some_and(|other| *other == plan);
            is(&state.in_force) || (state.trouble.is_some() && is(&state.wanted))
        });
        if tokio::time::timeout(IN_FORCE_WITHIN, settled)
            .await
            .is_err()
        {
            warn!("the guard is not in force yet: this host may answer for its own VIPs itself");
        }
    }

    /// Before the snapshot: a real that is dialled can answer.
    pub(super) async fn intercept(&mut self, plan: InterceptPlan) {
        send_if_new(&self.out.intercept, plan);
        let plan = self.out.intercept.borrow().clone();
        let settled = self.out.intercepted.wait_for(|state| {
            let is = |other: &Option<Arc<_>>| other.as_ref().is_some_and(|other| *other == plan);
            is(&state.in_force) || (state.trouble.is_some() && is(&state.wanted))
        });
        if tokio::time::timeout(IN_FORCE_WITHIN, settled)
            .await
            .is_err()
        {
            warn!("the interception is not in force yet: proxied services may not be reached");
        }
    }

    /// What keeps proxied services from being reached, for `status`.
    pub(in crate::daemon) fn proxy_trouble(&self) -> Vec<String> {
        let intercepted = self.out.intercepted.borrow().trouble.clone();
        let intercepted = intercepted.map(|trouble| {
            format!("the interception is not in force, proxied services are not reached: {trouble}")
        });
        let proxied = self.out.proxied.borrow().trouble.clone();
        let proxied = proxied
            .into_iter()
            .map(|trouble| format!("the proxy does not listen on {trouble}"));
        intercepted.into_iter().chain(proxied).collect()
    }

    /// Why the guard is not in force, for `status`.
    pub(in crate::daemon) fn guard_trouble(&self) -> Option<String> {
        let trouble = self.out.guarded.borrow().trouble.clone()?;
        Some(format!(
            "the guard is not in force, this host may answer for VIPs itself: {trouble}"
        ))
    }
}
