//! Following routes and neighbours: what the kernel tells is applied at once, and everything is
//! looked at again when the plan or the interfaces change, when messages were lost, and now and
//! then anyway.

use super::kernel::{self, Sighting};
use super::target::{Step, Target};
use super::{NeighborPlan, route};
use crate::live::event::{Event, Link, NeighborNews, Reach};
use crate::sys::netlink::{self, Multicast, News};
use rtnetlink::Handle;
use rtnetlink::packet_core::Parseable;
use rtnetlink::packet_route::neighbour::NeighbourMessage;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tracing::{debug, info, warn};

/// Neighbours, and what decides which way addresses go.
const GROUPS: [u32; 5] = [
    libc::RTNLGRP_NEIGH,
    libc::RTNLGRP_IPV4_ROUTE,
    libc::RTNLGRP_IPV6_ROUTE,
    libc::RTNLGRP_IPV4_RULE,
    libc::RTNLGRP_IPV6_RULE,
];

/// Ways are asked for at most this often: a router's route changes come by the thousand.
const ROUTE_GAP: Duration = Duration::from_millis(100);

/// How often silent addresses are tended.
const TICK: Duration = Duration::from_secs(1);

/// Everything is looked at this often (in ticks): the safety net under the multicast.
const TICKS_PER_AUDIT: u32 = 5;

/// After a lost socket.
const RETRY: Duration = Duration::from_secs(1);

/// Finds the way to every wanted address and tells each change as [`Event::Neighbor`], the first
/// finding included. `suspects` are addresses of which a check just failed: they are asked for
/// anew, so that a server that moved in silence is found. Ends, and turns its neighbour entries
/// into ordinary cache, when the sender of `wanted` is gone; aborted, it leaves them managed for
/// the next lbd.
pub async fn run(
    mut wanted: watch::Receiver<Arc<NeighborPlan>>,
    mut links: watch::Receiver<Arc<Vec<Link>>>,
    mut suspects: mpsc::Receiver<IpAddr>,
    events: mpsc::Sender<Event>,
) {
    // Before the first reading of the interfaces (which has `lo` at least) all would be missing.
    if links.wait_for(|links| !links.is_empty()).await.is_err() {
        return;
    }
    let mut targets = HashMap::new();
    while let Err(error) = serve(
        &mut targets,
        &mut wanted,
        &mut links,
        &mut suspects,
        &events,
    )
    .await
    {
        warn!(%error, "watching neighbours and routes failed; trying again in {RETRY:?}");
        sleep(RETRY).await;
    }
}

async fn serve(
    targets: &mut HashMap<IpAddr, Target>,
    wanted: &mut watch::Receiver<Arc<NeighborPlan>>,
    links: &mut watch::Receiver<Arc<Vec<Link>>>,
    suspects: &mut mpsc::Receiver<IpAddr>,
    events: &mpsc::Sender<Event>,
) -> io::Result<()> {
    // The socket opens before the first look, so no change falls between the two.
    let mut news = Multicast::open(netlink::ROUTE, &GROUPS)?;
    let now = Instant::now();
    let mut watch = Watch {
        targets,
        plan: wanted.borrow_and_update().clone(),
        links: links.borrow_and_update().clone(),
        still_since: now,
        handle: netlink::rtnetlink()?,
        judged: now,
        unjudged: false,
        doubtful: false,
        tell_again: false,
        events,
    };
    watch.replan().await?;
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut ticks = 0;
    loop {
        if !watch.tell().await {
            return Ok(());
        }
        let judge_at = watch.judged + ROUTE_GAP;
        tokio::select! {
            changed = wanted.changed() => {
                if changed.is_err() {
                    watch.release(&watch.targets.values().filter_map(Target::key).collect()).await;
                    return Ok(());
                }
                watch.plan = wanted.borrow_and_update().clone();
                watch.replan().await?;
            }
            Ok(()) = links.changed() => {
                watch.links = links.borrow_and_update().clone();
                watch.still_since = Instant::now();
                watch.judge().await?;
                watch.look().await?;
            }
            heard = news.next() => match heard? {
                News::Datagram(datagram) => watch.hear(datagram).await?,
                News::Overrun => {
                    watch.unjudged = true;
                    watch.look().await?;
                }
            },
            Some(address) = suspects.recv() => watch.suspect(address).await?,
            () = sleep_until(judge_at), if watch.unjudged => watch.judge().await?,
            _ = tick.tick() => {
                ticks += 1;
                if ticks % TICKS_PER_AUDIT == 0 {
                    // Who forgot a real and was told of none since, in plans that followed each other
                    // too quickly for us to see, knows it again.
                    watch.tell_again = true;
                    watch.judge().await?;
                    watch.look().await?;
                } else {
                    if watch.doubtful {
                        watch.judge().await?;
                    }
                    watch.tend().await?;
                }
            }
        }
    }
}

struct Watch<'a> {
    targets: &'a mut HashMap<IpAddr, Target>,
    plan: Arc<NeighborPlan>,
    links: Arc<Vec<Link>>,
    /// When the interfaces last changed.
    still_since: Instant,
    handle: Handle,
    judged: Instant,
    /// Routes changed since they were last asked for.
    unjudged: bool,
    /// A way seems lost, which is asked for again before it is believed.
    doubtful: bool,
    /// All is told anew, whether it changed or not.
    tell_again: bool,
    events: &'a mpsc::Sender<Event>,
}

impl Watch<'_> {
    /// Makes the targets those of the plan; what is known of those that stay is kept.
    async fn replan(&mut self) -> io::Result<()> {
        let mut before = std::mem::take(self.targets);
        for wanted in &self.plan.wanted {
            if self.targets.contains_key(&wanted.address) {
                continue;
            }
            let target = match before.remove(&wanted.address) {
                Some(same) if same.wanted == *wanted => same,
                Some(other) => {
                    let target = Target::new(wanted.clone(), other.told.clone());
                    before.insert(wanted.address, other);
                    target
                }
                None => Target::new(wanted.clone(), None),
            };
            self.targets.insert(wanted.address, target);
        }
        self.release(&before.values().filter_map(Target::key).collect())
            .await;
        self.judge().await
    }

    /// Asks for the way to every target, and looks around if one has changed.
    async fn judge(&mut self) -> io::Result<()> {
        self.judged = Instant::now();
        self.unjudged = false;
        self.doubtful = false;
        let mut moved = false;
        let addresses: Vec<IpAddr> = self.targets.keys().copied().collect();
        for address in addresses {
            let Some(target) = self.targets.get(&address) else {
                continue;
            };
            let named = target.wanted.interface.as_ref();
            let oif = named.and_then(|name| self.links.iter().find(|link| link.name == *name));
            let found = match (named, oif) {
                (Some(_), None) => route::Route::Nowhere,
                _ => route::ask(&self.handle, address, oif.map(|link| link.ifindex)).await?,
            };
            let place = route::judge(&target.wanted, &found, &self.links, &self.plan.interfaces);
            let interface = self
                .interface_of(target)
                .map(|link| !(link.up && link.carrier));
            let Some(target) = self.targets.get_mut(&address) else {
                continue;
            };
            if target.is_at(&place) {
                continue;
            }
            if place.is_err()
                && let Some(resting) = interface
                && target.holds_on(resting, self.judged)
            {
                self.doubtful |= !resting;
                continue;
            }
            let key = target.key();
            debug!(%address, ?place, "way judged");
            self.release(&key.into_iter().collect()).await;
            if let Some(target) = self.targets.get_mut(&address) {
                target.move_to(place);
                moved = true;
            }
        }
        if moved { self.look().await } else { Ok(()) }
    }

    /// The interface a target is at, if it is still there.
    fn interface_of(&self, target: &Target) -> Option<&Link> {
        let Some(Ok(ifindex)) = target.place else {
            return None;
        };
        self.links.iter().find(|link| link.ifindex == ifindex)
    }

    /// Reads the whole neighbour table and does what it asks for.
    async fn look(&mut self) -> io::Result<()> {
        let mut entries: HashMap<(u32, IpAddr), Sighting> = kernel::dump(&self.handle)
            .await?
            .into_iter()
            .map(|entry| ((entry.ifindex, entry.address), entry))
            .collect();
        let now = Instant::now();
        let mut steps = Vec::new();
        for (address, target) in self.targets.iter_mut() {
            let Some(ifindex) = target.watched() else {
                continue;
            };
            match entries.remove(&(ifindex, *address)) {
                Some(entry) => steps.push((ifindex, *address, target.observe(entry, now))),
                None => target.vanish(now),
            }
        }
        for (ifindex, address, step) in steps {
            self.take(ifindex, address, step).await?;
        }
        self.tend().await
    }

    /// Has the silent and the missing resolved, and counts what other tools took away.
    async fn tend(&mut self) -> io::Result<()> {
        let now = Instant::now();
        let mut steps = Vec::new();
        let mut robbed = Vec::new();
        for (address, target) in self.targets.iter_mut() {
            let Some(ifindex) = target.watched() else {
                continue;
            };
            steps.push((
                ifindex,
                *address,
                target.tend(ready(&self.links, ifindex), now),
            ));
            if target.robbed(self.still_since, now) {
                robbed.push(*address);
            }
        }
        for (ifindex, address, step) in steps {
            self.take(ifindex, address, step).await?;
        }
        for address in robbed {
            warn!(%address, "another program removed the neighbour entry of a real; it is back");
            self.events
                .send(Event::Restored { kind: "neighbor" })
                .await
                .ok();
        }
        Ok(())
    }

    async fn hear(&mut self, datagram: &[u8]) -> io::Result<()> {
        for (kind, payload) in netlink::messages(datagram) {
            match kind {
                libc::RTM_NEWNEIGH | libc::RTM_DELNEIGH => {
                    let entry = NeighbourMessage::parse(payload).ok();
                    if let Some(entry) = entry.as_ref().and_then(kernel::sighting) {
                        self.hear_of(entry, kind == libc::RTM_DELNEIGH).await?;
                    }
                }
                libc::RTM_NEWROUTE | libc::RTM_DELROUTE | libc::RTM_NEWRULE | libc::RTM_DELRULE => {
                    self.unjudged = true
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn hear_of(&mut self, entry: Sighting, deleted: bool) -> io::Result<()> {
        let (address, ifindex) = (entry.address, entry.ifindex);
        let Some(target) = self.targets.get_mut(&address) else {
            return Ok(());
        };
        if target.watched() != Some(ifindex) {
            return Ok(());
        }
        let now = Instant::now();
        let step = if deleted {
            target.vanish(now);
            target.tend(ready(&self.links, ifindex), now)
        } else {
            target.observe(entry, now)
        };
        self.take(ifindex, address, step).await
    }

    async fn suspect(&mut self, address: IpAddr) -> io::Result<()> {
        let Some(target) = self.targets.get_mut(&address) else {
            return Ok(());
        };
        let Some(ifindex) = target.watched() else {
            return Ok(());
        };
        if ready(&self.links, ifindex) && target.suspect(Instant::now()) {
            let done = kernel::resolve(&self.handle, ifindex, address).await;
            target.asked(&done, Instant::now());
            forgive(address, done)?;
        }
        Ok(())
    }

    async fn take(&mut self, ifindex: u32, address: IpAddr, step: Step) -> io::Result<()> {
        let done = match step {
            Step::Nothing => return Ok(()),
            Step::Confirm => kernel::confirm(&self.handle, ifindex, address).await,
            Step::Manage => kernel::manage(&self.handle, ifindex, address).await,
        };
        if let Some(target) = self.targets.get_mut(&address) {
            target.asked(&done, Instant::now());
        }
        forgive(address, done)
    }

    /// Gives the entries back to the kernel as ordinary cache. Failing that, they stay managed.
    async fn release(&self, keys: &HashSet<(u32, IpAddr)>) {
        if keys.is_empty() {
            return;
        }
        let ours = |entry: &Sighting| keys.contains(&(entry.ifindex, entry.address));
        if let Err(error) = kernel::release(&self.handle, false, ours).await {
            debug!(%error, "neighbour entries stay managed");
        }
    }

    /// Tells what has changed; false when nobody hears any more.
    async fn tell(&mut self) -> bool {
        let again = std::mem::take(&mut self.tell_again);
        for (address, target) in self.targets.iter_mut() {
            let reach = target.reach();
            let is_known = reach == target.told;
            if is_known && !again {
                continue;
            }
            let Some(reach) = reach else { continue };
            match &reach {
                _ if is_known => {}
                Reach::Neighbor { mac, .. } => info!(%address, %mac, "real is a neighbour"),
                Reach::Unresolved { no_room: true, .. } => {
                    warn!(%address, "a real cannot be resolved: the neighbour table is full")
                }
                Reach::Unresolved { .. } => {
                    info!(%address, "nobody answers for this real's address")
                }
                Reach::Unreachable(why) => warn!(%why, "real cannot be reached"),
            }
            target.told = Some(reach.clone());
            let news = NeighborNews {
                address: *address,
                reach,
            };
            if self.events.send(Event::Neighbor(news)).await.is_err() {
                return false;
            }
        }
        true
    }
}

fn ready(links: &[Link], ifindex: u32) -> bool {
    links
        .iter()
        .any(|link| link.ifindex == ifindex && link.up && link.carrier)
}

/// A refusal for one address (its interface just went) stops nothing; a lost connection does.
fn forgive(address: IpAddr, result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(error),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            warn!(%address, "lbd needs CAP_NET_ADMIN to keep reals' addresses resolved: {error}");
            Ok(())
        }
        Err(error) => {
            debug!(%address, %error, "neighbour entry");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
