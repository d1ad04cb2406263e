//! Keeping the interception in force: changes of the plan, and other tools that flush nftables
//! (nftables.service on reload, a firewall's restart) or remove rules and routes they did not make
//! (systemd-networkd on restart, unless told not to).

use super::{InterceptError, InterceptPlan, TABLE, routing, ruleset};
use crate::live::PlanState;
use crate::live::event::Event;
use crate::nft::{AUDIT, NftError, RESTORES_PER_AUDIT, Watched};
use crate::sys::netlink::{self, Multicast, News};
use std::io;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

/// How the interception stands.
pub type InterceptState = PlanState<InterceptPlan>;

/// Puts every plan in force, restores what other tools remove (each as [`Event::Restored`] of kind
/// `nft`, `rule` or `route`), and tells in `state` what is in force. Ends when the plan's sender
/// is gone, and leaves everything: [`super::remove`] takes it away.
pub async fn run(
    mut plan: watch::Receiver<Arc<InterceptPlan>>,
    state: watch::Sender<InterceptState>,
    events: mpsc::Sender<Event>,
) {
    let mut keeper = Keeper {
        plan: plan.borrow_and_update().clone(),
        in_force: None,
        table: Watched::new(TABLE),
        routing: None,
        restores: 0,
        state,
        events,
    };
    keeper.listen();
    keeper.put().await;
    let mut audit = interval(AUDIT);
    audit.set_missed_tick_behavior(MissedTickBehavior::Delay);
    audit.tick().await;
    loop {
        tokio::select! {
            changed = plan.changed() => {
                if changed.is_err() {
                    return;
                }
                keeper.plan = plan.borrow_and_update().clone();
                keeper.put().await;
            }
            author = keeper.table.touched() => keeper.verify_table(&author).await,
            lost = lost(&mut keeper.routing) => match lost {
                Ok(()) => keeper.verify_routing().await,
                Err(error) => {
                    warn!(%error, "the socket for news of rules and routes is lost; opening another");
                    keeper.routing = None;
                    keeper.listen();
                    keeper.verify_routing().await;
                }
            },
            _ = audit.tick() => keeper.audit().await,
        }
    }
}

/// Waits until something may have gone. Cancel safe.
async fn lost(socket: &mut Option<Multicast>) -> io::Result<()> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    loop {
        match socket.next().await? {
            News::Datagram(datagram) if !routing::tells_of_loss(datagram) => {}
            _ => return Ok(()),
        }
    }
}

struct Keeper {
    plan: Arc<InterceptPlan>,
    in_force: Option<Arc<InterceptPlan>>,
    table: Watched,
    routing: Option<Multicast>,
    restores: u32,
    state: watch::Sender<InterceptState>,
    events: mpsc::Sender<Event>,
}

impl Keeper {
    fn listen(&mut self) {
        self.table.listen();
        if self.routing.is_some() {
            return;
        }
        match Multicast::open(netlink::ROUTE, &routing::GROUPS) {
            Ok(socket) => self.routing = Some(socket),
            Err(error) => {
                warn!(%error, "no news of rules and routes: they are compared every {AUDIT:?} only");
            }
        }
    }

    /// Puts the plan in force and tells how that went.
    async fn put(&mut self) {
        match self.settle().await {
            Ok(()) => {
                self.in_force = Some(self.plan.clone());
                self.tell(None);
            }
            Err(error) => self.tell(Some(error.to_string())),
        }
    }

    /// The way first, then what sends packets on it; the other way round for what goes.
    async fn settle(&mut self) -> Result<(), InterceptError> {
        let plan = self.plan.clone();
        let routed = routing::put(&plan.stacks()).await;
        // Without rules and routes the table still keeps the host silent.
        match self.table.put(|| ruleset(&plan), !plan.is_empty()).await {
            // Nothing to remove, then.
            Err(NftError::Missing) if plan.is_empty() => {}
            other => other?,
        }
        routing::clear(&plan.stacks(), false).await?;
        routed.map(|_| ())
    }

    async fn audit(&mut self) {
        self.restores = 0;
        self.listen();
        // What could not even be looked at once is in no known state.
        let trouble = self.state.borrow().trouble.is_some();
        if trouble || self.in_force.as_ref() != Some(&self.plan) {
            self.put().await;
        } else if !self.plan.is_empty() {
            self.verify_table("an unknown program").await;
            self.verify_routing().await;
        }
    }

    /// Compares the table with what was put there, and puts it back.
    async fn verify_table(&mut self, author: &str) {
        if self.in_force.is_none() || self.restores == RESTORES_PER_AUDIT {
            return;
        }
        match self.table.stands().await {
            Ok(true) => {}
            Ok(false) => {
                self.in_force = None;
                self.put().await;
                if self.in_force.is_some() {
                    warn!(%author, "the nft table `{TABLE}` was changed or removed; restored it");
                    self.restored(&["nft"]).await;
                }
            }
            Err(error) => self.tell(Some(error.to_string())),
        }
    }

    /// Puts back rules and routes that are gone.
    async fn verify_routing(&mut self) {
        if self.in_force.is_none() || self.restores == RESTORES_PER_AUDIT {
            return;
        }
        match routing::put(&self.plan.stacks()).await {
            Ok(restored) if restored.is_empty() => {}
            Ok(restored) => {
                for object in &restored {
                    warn!("`{object}` was removed by another program; restored it");
                }
                let kinds: Vec<_> = restored.iter().map(|object| object.kind()).collect();
                self.restored(&kinds).await;
            }
            Err(error) => {
                self.in_force = None;
                self.tell(Some(error.to_string()));
            }
        }
    }

    /// Tells what one look around has put back.
    async fn restored(&mut self, kinds: &[&'static str]) {
        self.restores += 1;
        if self.restores == RESTORES_PER_AUDIT {
            warn!(
                "other programs keep removing what lbd needs for proxied VIPs: stop them; lbd restores it every {AUDIT:?} only"
            );
        }
        for kind in kinds {
            self.events.send(Event::Restored { kind }).await.ok();
        }
    }

    fn tell(&self, trouble: Option<String>) {
        let in_force = self.in_force.clone();
        let state = InterceptState {
            wanted: Some(self.plan.clone()),
            in_force,
            trouble,
        };
        self.state.send_if_modified(|told| {
            if *told == state {
                return false;
            }
            match &state.trouble {
                Some(trouble) if told.trouble != state.trouble => error!(%trouble, "interception"),
                None if told.in_force != state.in_force => {
                    info!(vips = self.plan.vips.len(), "interception in force");
                }
                _ => {}
            }
            *told = state;
            true
        });
    }
}
