//! One interface: its socket, its VIPs' announcers, and the loop that drives them.

use super::host::ownership;
use super::station::Station;
use super::{VipPlan, Wanted};
use crate::live::Event;
use crate::live::event::{Link, VipNews};
use crate::sys::clock;
use lbcore::net::MacAddr;
use lbcore::time::Tick;
use lbcore::vip::{Announcer, Facts, Ownership, VipState, parse, solicited_node};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tracing::{info, warn};

/// The host is looked at anew this often even if nobody says that it changed: `arp_ignore` sends
/// no message, and a socket that could not be opened is tried again.
const AUDIT: Duration = Duration::from_secs(5);

/// Frames read before timers and wishes get their turn.
const BATCH: usize = 64;

/// The largest frame answered: a ping of a 9 kB jumbo frame, and some.
const FRAME: usize = 10_240;

/// All nodes of the link: advertisements to everybody arrive here.
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Drives the VIPs of interface `name` until a sender is gone or nobody hears `events`.
pub(super) async fn run(
    name: String,
    mut wanted: watch::Receiver<Arc<VipPlan>>,
    mut links: watch::Receiver<Arc<Vec<Link>>>,
    events: mpsc::Sender<Event>,
) {
    let mut port = Port::new(name);
    loop {
        port.update(
            &wanted.borrow_and_update().clone(),
            &links.borrow_and_update().clone(),
        );
        let audit = clock::now() + AUDIT;
        loop {
            let next = port.turn().min(audit);
            let wait = Duration::from_millis(next.since(clock::now()));
            tokio::select! {
                changed = wanted.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                changed = links.changed() => match changed {
                    Ok(()) => break,
                    Err(_) => return,
                },
                // The reconciler may be busy; whoever asks on the wire does not wait for it.
                permit = events.reserve(), if !port.untold.is_empty() => match permit {
                    Ok(permit) => {
                        if let Some((_, news)) = port.untold.pop_first() {
                            permit.send(Event::Vip(news));
                        }
                    }
                    Err(_) => return,
                },
                () = readable(&port.station) => {
                    if port.receive().is_err() {
                        break;
                    }
                }
                () = sleep(wait) => {
                    if audit <= clock::now() {
                        break;
                    }
                }
            }
        }
    }
}

async fn readable(station: &Option<Station>) {
    match station {
        Some(station) => station.readable().await,
        None => std::future::pending().await,
    }
}

struct Port {
    name: String,
    station: Option<Station>,
    /// The interface on which a socket failed, and when to try again: one attempt an audit. An
    /// interface made anew has another index and waits for nothing.
    failed: Option<(u32, Tick)>,
    announcers: BTreeMap<IpAddr, Announcer>,
    /// The last news of each VIP that the reconciler has not taken yet.
    untold: BTreeMap<IpAddr, VipNews>,
    logged: BTreeMap<IpAddr, VipState>,
    buffer: Box<[u8]>,
    out: Vec<Vec<u8>>,
}

impl Port {
    fn new(name: String) -> Self {
        Port {
            name,
            station: None,
            failed: None,
            announcers: BTreeMap::new(),
            untold: BTreeMap::new(),
            logged: BTreeMap::new(),
            buffer: vec![0; FRAME].into(),
            out: Vec::new(),
        }
    }

    /// Brings socket, groups and announcers in line with the plan and the host.
    fn update(&mut self, plan: &VipPlan, links: &[Link]) {
        let now = clock::now();
        let wanted: BTreeMap<IpAddr, &Wanted> = plan
            .vips
            .iter()
            .filter(|wanted| wanted.interface == self.name)
            .map(|wanted| (wanted.vip, wanted))
            .collect();
        let link = links.iter().find(|link| link.name == self.name);
        self.open(link, now);
        if let Some(station) = &mut self.station {
            station.listen(groups(wanted.keys()));
        }
        self.announcers.retain(|vip, _| wanted.contains_key(vip));
        self.untold.retain(|vip, _| wanted.contains_key(vip));
        self.logged.retain(|vip, _| wanted.contains_key(vip));
        for (vip, wanted) in wanted {
            let facts = Facts {
                mac: link.map_or(MacAddr::zero(), |link| link.mac),
                carrier: self.station.is_some() && link.is_some_and(|link| link.up && link.carrier),
                ownership: link.map_or(Ownership::None, |link| ownership(vip, link, links)),
                announce: wanted.announce,
                hold: wanted.held,
                healthy: wanted.healthy,
                reals: plan.reals.clone(),
            };
            match self.announcers.get_mut(&vip) {
                Some(announcer) => announcer.set_facts(facts, now, &mut self.out),
                None => {
                    let new = Announcer::new(vip, facts, now, &mut self.out);
                    self.announcers.insert(vip, new);
                }
            }
        }
        self.send();
    }

    /// One socket as long as the interface is the same one. After a delete and re-create it has
    /// another index, and a socket on the old one hears nothing any more.
    fn open(&mut self, link: Option<&Link>, now: Tick) {
        let Some(link) = link.filter(|link| link.mac != MacAddr::zero()) else {
            self.station = None;
            return;
        };
        if self
            .station
            .as_ref()
            .is_some_and(|station| station.ifindex() == link.ifindex)
        {
            return;
        }
        self.station = None;
        if self
            .failed
            .is_some_and(|(ifindex, until)| ifindex == link.ifindex && now < until)
        {
            return;
        }
        match Station::open(link.ifindex) {
            Ok(station) => self.station = Some(station),
            Err(error) => {
                self.failed = Some((link.ifindex, now + AUDIT));
                warn!(
                    interface = self.name, %error,
                    "cannot open a packet socket, so no VIP is announced there; trying again every \
                     {} s (CAP_NET_RAW is needed)", AUDIT.as_secs()
                );
            }
        }
    }

    /// Does what is due, collects news, and says when the next thing is due.
    fn turn(&mut self) -> Tick {
        let now = clock::now();
        let mut next = Tick(u64::MAX);
        for (vip, announcer) in &mut self.announcers {
            announcer.tick(now, &mut self.out);
            if let Some(news) = announcer.news(now) {
                if self.logged.insert(*vip, news.state) != Some(news.state) {
                    log(*vip, &self.name, &news);
                }
                self.untold.insert(
                    *vip,
                    VipNews {
                        vip: *vip,
                        interface: self.name.clone(),
                        state: news.state,
                        note: news.note,
                        claimed_by: news.claimed_by,
                        conflicts: news.conflicts,
                        announced: news.announced.map(|at| wall_clock(at, now)),
                    },
                );
            }
            next = announcer
                .deadline()
                .map_or(next, |deadline| deadline.min(next));
        }
        self.send();
        next
    }

    /// Reads what is there, at most a batch. An error means that the socket is gone.
    fn receive(&mut self) -> io::Result<()> {
        for _ in 0..BATCH {
            let Some(station) = &self.station else {
                return Ok(());
            };
            match station.receive(&mut self.buffer) {
                Ok(length) => self.hear(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // The interface went down; the same socket goes on when it is up again.
                Err(error) if error.raw_os_error() == Some(libc::ENETDOWN) => return Ok(()),
                Err(error) => {
                    self.failed = Some((station.ifindex(), clock::now() + AUDIT));
                    self.station = None;
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn hear(&mut self, length: usize) {
        let Some(heard) = self.buffer.get(..length).and_then(parse) else {
            return;
        };
        let now = clock::now();
        for vip in heard.concerns().into_iter().flatten() {
            if let Some(announcer) = self.announcers.get_mut(&vip) {
                announcer.hear(&heard, now, &mut self.out);
            }
        }
        self.send();
    }

    fn send(&mut self) {
        for frame in self.out.drain(..) {
            if let Some(station) = &self.station {
                station.send(&frame);
            }
        }
    }
}

/// The groups whose frames concern these VIPs.
fn groups<'a>(vips: impl Iterator<Item = &'a IpAddr>) -> BTreeSet<Ipv6Addr> {
    let mut groups: BTreeSet<Ipv6Addr> = vips
        .filter_map(|vip| match vip {
            IpAddr::V4(_) => None,
            IpAddr::V6(vip) => Some(solicited_node(*vip)),
        })
        .collect();
    if !groups.is_empty() {
        groups.insert(ALL_NODES);
    }
    groups
}

/// The moment `at` on the wall clock, `now` being now.
fn wall_clock(at: Tick, now: Tick) -> SystemTime {
    let ago = Duration::from_millis(now.since(at));
    SystemTime::now()
        .checked_sub(ago)
        .unwrap_or(SystemTime::UNIX_EPOCH)
}

/// One line a change of state; those are bounded by the announcer's own waits.
fn log(vip: IpAddr, interface: &str, news: &lbcore::vip::News) {
    let note = news.note.as_deref().unwrap_or_default();
    match news.state {
        VipState::Conflict => warn!(%vip, interface, "VIP not announced: {note}"),
        VipState::Announced => info!(%vip, interface, "VIP announced"),
        VipState::Owned => {
            info!(%vip, interface, "this host has the VIP, its kernel answers {note}")
        }
        VipState::Silent => info!(%vip, interface, "VIP silent"),
        VipState::Probing => {}
    }
}
