//! Keeping the guard in force: changes of the plan, interfaces that come and go, and other tools
//! that flush nftables (nftables.service on reload, a firewall's restart).

use super::news::{GROUP, Reader};
use super::{GuardError, GuardPlan, nft, ruleset};
use crate::live::event::{Event, Link};
use crate::sys::netlink::{self, Multicast, News};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval};
use tracing::{error, info, warn};

/// The table is compared this often even in silence: the safety net under the multicast.
const AUDIT: Duration = Duration::from_secs(5);

/// Restores between two audits: more is a fight with another tool, which then goes on at the pace
/// of the audits instead of eating a core.
const RESTORES_PER_AUDIT: u32 = 5;

/// How often a change is tried again because somebody else changed our table meanwhile.
const SETTLE_TRIES: u32 = 3;

/// How the guard stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GuardState {
    /// The plan in force, on those of its interfaces that exist.
    pub in_force: Option<Arc<GuardPlan>>,
    /// Why the plan wanted is not in force, in words.
    pub trouble: Option<String>,
}

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
    guard.open();
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
            heard = next(&mut guard.socket) => guard.hear(heard).await,
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

enum Heard {
    /// Who touched our table, if anybody did.
    Touched(Vec<String>),
    /// Messages are lost.
    Unknown,
}

async fn next(socket: &mut Option<(Multicast, Reader)>) -> io::Result<Heard> {
    match socket {
        None => std::future::pending().await,
        Some((socket, reader)) => Ok(match socket.next().await? {
            News::Datagram(datagram) => Heard::Touched(reader.read(datagram)),
            News::Overrun => Heard::Unknown,
        }),
    }
}

/// What a successful change left behind.
struct InForce {
    plan: Arc<GuardPlan>,
    devices: Vec<(String, u32)>,
    /// The words of the kernel's listing, sorted: sets are listed in any order. `None`: no table.
    listing: Option<Vec<String>>,
}

struct Guard {
    plan: Arc<GuardPlan>,
    in_force: Option<InForce>,
    socket: Option<(Multicast, Reader)>,
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
            socket: None,
            restores: 0,
            state,
            events,
        }
    }

    fn open(&mut self) {
        match Multicast::open(netlink::NETFILTER, &[GROUP]) {
            Ok(socket) => self.socket = Some((socket, Reader::default())),
            Err(error) => {
                warn!(%error, "no news of nftables: the guard is compared every {AUDIT:?} only");
            }
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

    /// Loads the table and reads it back as the pattern for later comparisons; again, if somebody
    /// else was at it in between. One load is one transaction, so one more is somebody else's.
    async fn settle(&mut self) -> Result<InForce, GuardError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.waiting();
            let devices = devices(&self.plan);
            let names: Vec<String> = devices.iter().map(|(name, _)| name.clone()).collect();
            nft::load(&ruleset(&self.plan, &names)).await?;
            let listing = nft::list().await?.as_deref().map(words);
            let stands = listing.is_some() != self.plan.endpoints.is_empty();
            let alone = self.waiting().is_none_or(|touched| touched <= 1);
            if stands && (alone || tries == SETTLE_TRIES) {
                return Ok(InForce {
                    plan: self.plan.clone(),
                    devices,
                    listing,
                });
            }
            if tries == SETTLE_TRIES {
                return Err(GuardError::Contested);
            }
        }
    }

    /// How many transactions that touched our table wait unread; `None` when messages are lost or
    /// not heard.
    fn waiting(&mut self) -> Option<usize> {
        let (socket, reader) = self.socket.as_mut()?;
        let mut count = 0;
        loop {
            match socket.try_next() {
                Ok(Some(News::Datagram(datagram))) => count += reader.read(datagram).len(),
                Ok(Some(News::Overrun)) => return None,
                Ok(None) => return Some(count),
                Err(_) => {
                    self.socket = None;
                    return None;
                }
            }
        }
    }

    async fn hear(&mut self, heard: io::Result<Heard>) {
        match heard {
            Ok(Heard::Touched(authors)) => {
                if let Some(author) = authors.last() {
                    self.verify(author).await;
                }
            }
            Ok(Heard::Unknown) => self.verify("an unknown program").await,
            Err(error) => {
                warn!(%error, "the socket for news of nftables is lost; opening another");
                self.socket = None;
                self.open();
                self.verify("an unknown program").await;
            }
        }
    }

    async fn audit(&mut self) {
        self.restores = 0;
        if self.socket.is_none() {
            self.open();
        }
        match &self.in_force {
            Some(in_force) if in_force.plan == self.plan => self.verify("an unknown program").await,
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
        match nft::list().await {
            Ok(found) if found.as_deref().map(words) == in_force.listing => {}
            Ok(_) if in_force.devices != devices(&self.plan) => self.put().await,
            Ok(_) if self.restores == RESTORES_PER_AUDIT => {}
            Ok(_) => {
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
        let state = GuardState { in_force, trouble };
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

fn words(listing: &str) -> Vec<String> {
    let mut words: Vec<String> = listing
        .split(|c: char| c.is_whitespace() || c == ',')
        .filter(|word| !word.is_empty())
        .map(String::from)
        .collect();
    words.sort_unstable();
    words
}
