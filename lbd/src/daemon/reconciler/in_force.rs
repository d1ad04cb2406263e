//! What must stand outside before a snapshot is published, and whether it does.

use super::{IN_FORCE_WITHIN, Reconciler, send_if_new};
use crate::guard::GuardPlan;
use crate::intercept::InterceptPlan;
use crate::live::PlanState;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::warn;

impl Reconciler {
    /// Before the snapshot: the host is silent about what is served.
    pub(super) async fn guard(&mut self, plan: GuardPlan) {
        if !settles(&self.out.guard, &mut self.out.guarded, plan).await {
            warn!("the guard is not in force yet: this host may answer for its own VIPs itself");
        }
    }

    /// Before the snapshot: a real that is dialled can answer.
    pub(super) async fn intercept(&mut self, plan: InterceptPlan) {
        if !settles(&self.out.intercept, &mut self.out.intercepted, plan).await {
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

/// Hands out `plan` and waits until its room has done with it; false if that takes too long.
async fn settles<P: PartialEq>(
    room: &watch::Sender<Arc<P>>,
    told: &mut watch::Receiver<PlanState<P>>,
    plan: P,
) -> bool {
    send_if_new(room, plan);
    let plan = room.borrow().clone();
    let settled = told.wait_for(|state| state.has_settled(&plan));
    tokio::time::timeout(IN_FORCE_WITHIN, settled).await.is_ok()
}
