//! The host's interfaces and their addresses, watched. A message only says *that* something
//! changed; what is true now is always read whole, so a lost message costs nothing but time.

mod facts;
mod lower;
mod read;

pub use facts::facts;
pub use lower::beneath;

use crate::live::event::{Event, Link};
use crate::sys::netlink::{self, Multicast};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{debug, warn};

/// Links and both families' addresses (linux/rtnetlink.h).
const GROUPS: [u32; 3] = [
    libc::RTNLGRP_LINK,
    libc::RTNLGRP_IPV4_IFADDR,
    libc::RTNLGRP_IPV6_IFADDR,
];

/// A burst of changes (a bridge and its ports) is read at most this often; the first change of a
/// burst is read at once.
const MIN_GAP: Duration = Duration::from_millis(50);

/// Everything is read this often even in silence: the safety net under the multicast.
const AUDIT: Duration = Duration::from_secs(5);

/// After a lost socket or a failed read.
const RETRY: Duration = Duration::from_secs(1);

/// Publishes all interfaces, sorted by index, at once and on every change, to `out` and as
/// [`Event::Links`]. Survives lost messages and lost sockets; ends when nobody hears `events`.
pub async fn run(out: watch::Sender<Arc<Vec<Link>>>, events: mpsc::Sender<Event>) {
    let mut published = false;
    while !events.is_closed() {
        // The socket opens before the first read, so no change falls between the two.
        if let Err(error) = watch_until_lost(&out, &events, &mut published).await {
            warn!(%error, "watching this host's interfaces failed; trying again in {RETRY:?}");
            sleep(RETRY).await;
        }
    }
}

/// All interfaces of this host as they are now, sorted by index.
pub async fn snapshot() -> io::Result<Vec<Link>> {
    read::links(&netlink::rtnetlink()?).await
}

async fn watch_until_lost(
    out: &watch::Sender<Arc<Vec<Link>>>,
    events: &mpsc::Sender<Event>,
    published: &mut bool,
) -> io::Result<()> {
    let mut news = Multicast::open(netlink::ROUTE, &GROUPS)?;
    let handle = netlink::rtnetlink()?;
    loop {
        let last = Instant::now();
        let links = read::links(&handle).await?;
        if !*published || **out.borrow() != links {
            debug!(count = links.len(), "interfaces changed");
            let links = Arc::new(links);
            out.send_replace(links.clone());
            *published = true;
            if events.send(Event::Links(links)).await.is_err() {
                return Ok(());
            }
        }
        let heard = tokio::select! {
            heard = timeout(AUDIT, news.next()) => heard,
            // lbd ends: nobody waits for the audit.
            () = events.closed() => return Ok(()),
        };
        if let Ok(heard) = heard {
            heard?;
            sleep_until(last + MIN_GAP).await;
        }
        news.drain()?;
    }
}

#[cfg(test)]
mod tests;
