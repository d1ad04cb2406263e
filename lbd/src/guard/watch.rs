//! Keeping the guard in force: changes of the plan, interfaces that come and go, and other tools
//! that flush nftables (nftables.service on reload, a firewall's restart).

use super::{GuardPlan, TABLE, ruleset};
use crate::live::PlanState;
use crate::live::event::{Event, Link};
use crate::nft::{AUDIT, NftError, RESTORES_PER_AUDIT, Watched};
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

/// How the guard stands; what is in force is so on those of the plan's interfaces that exist.
pub type GuardState = PlanState<GuardPlan>;

/// Puts every plan in force, restores it when other tools remove it (as
/// [`Event::Restored`] of kind `nft`), and tells in `state` what is in force. Ends when the
/// plan's sender is gone, and leaves the table: [`super::remove`] takes it away.
pub async fn run(
    mut plan: watch::Receiver<Arc<GuardPlan>>,
    mut links: watch::Receiver<Arc<Vec<Link>>>,
    state: watch::Sender<GuardState>,
    events: mpsc::Sender<Event>,
) {
    let mut guard = Guard::new(plan.borrow_and_update().clone(), state, events);
    guard.put().await;
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    audit.tick().await;
    loop {
        tokio::select! {
            changed = plan.changed() => {
                if changed.is_err() {
                    return;
                }
                guard.plan = plan.borrow_and_update().clone();
                guard.put().await;
            }
            Ok(()) = links.changed() => guard.follow_devices().await,
            author = guard.table.touched() => guard.verify(&author).await,
            _ = audit.tick() => guard.audit().await,
        }
    }
}

/// Names and indexes of those of the plan's interfaces that exist. A device made anew under the
/// same name has another index and no chain.
pub(super) fn devices(plan: &GuardPlan) -> Vec<(String, u32)> {
    let mut devices: Vec<_> = pnet::datalink::interfaces()
        .into_iter()
        .filter(|interface| plan.interfaces.contains(&interface.name))
        .map(|interface| (interface.name, interface.index))
        .collect();
    devices.sort_unstable();
    devices
}

/// What a successful change left behind.
struct InForce {
    plan: Arc<GuardPlan>,
    devices: Vec<(String, u32)>,
}

struct Guard {
    plan: Arc<GuardPlan>,
    in_force: Option<InForce>,
    table: Watched,
    restores: u32,
    state: watch::Sender<GuardState>,
    events: mpsc::Sender<Event>,
}

impl Guard {
    fn new(
        plan: Arc<GuardPlan>,
        state: watch::Sender<GuardState>,
        events: mpsc::Sender<Event>,
    ) -> Self {
        Guard {
            plan,
            in_force: None,
            table: Watched::new(TABLE),
            restores: 0,
            state,
            events,
        }
    }

    /// Puts the plan in force and tells how that went.
    async fn put(&mut self) {
        match self.settle().await {
            Ok(in_force) => {
                self.in_force = Some(in_force);
                self.tell(None);
            }
            Err(error) => self.tell(Some(error.to_string())),
        }
    }

    async fn settle(&mut self) -> Result<InForce, NftError> {
        let plan = self.plan.clone();
        let mut there = Vec::new();
        let text = || {
            there = devices(&plan);
            let names: Vec<String> = there.iter().map(|(name, _)| name.clone()).collect();
            ruleset(&plan, &names)
        };
        self.table.put(text, !plan.endpoints.is_empty()).await?;
        let devices = there;
        Ok(InForce { plan, devices })
    }

    async fn audit(&mut self) {
        self.restores = 0;
        self.table.listen();
        match &self.in_force {
            // What could not even be looked at once is in no known state.
            Some(in_force)
                if in_force.plan == self.plan
                    && in_force.devices == devices(&self.plan)
                    && self.state.borrow().trouble.is_none() =>
            {
                self.verify("an unknown program").await;
            }
            _ => self.put().await,
        }
    }

    async fn follow_devices(&mut self) {
        if self
            .in_force
            .as_ref()
            .is_none_or(|known| known.devices != devices(&self.plan))
        {
            self.put().await;
        }
    }

    /// Compares what is there with what was put there, and puts it back.
    async fn verify(&mut self, author: &str) {
        let Some(in_force) = &self.in_force else {
            return;
        };
        match self.table.stands().await {
            Ok(true) => {}
            Ok(false) if in_force.devices != devices(&self.plan) => self.put().await,
            Ok(false) if self.restores == RESTORES_PER_AUDIT => {}
            Ok(false) => {
                self.restores += 1;
                self.in_force = None;
                self.put().await;
                if self.in_force.is_none() {
                    return;
                }
                warn!(%author, "the nft table `netdev lbd` was changed or removed; restored it");
                if self.restores == RESTORES_PER_AUDIT {
                    warn!(%author, "another program keeps changing the nft table `netdev lbd`: stop it; lbd restores it every {AUDIT:?} only");
                }
                self.events.send(Event::Restored { kind: "nft" }).await.ok();
            }
            Err(error) => self.tell(Some(error.to_string())),
        }
    }

    fn tell(&self, trouble: Option<String>) {
        let in_force = self.in_force.as_ref().map(|known| known.plan.clone());
        let state = GuardState {
            wanted: Some(self.plan.clone()),
            in_force,
            trouble,
        };
        self.state.send_if_modified(|told| {
            if *told == state {
                return false;
            }
            match &state.trouble {
                Some(trouble) if told.trouble != state.trouble => error!(%trouble, "guard"),
                None if told.in_force != state.in_force => {
                    info!(endpoints = self.plan.endpoints.len(), "guard in force");
                }
                _ => {}
            }
            *told = state;
            true
        });
    }
}
