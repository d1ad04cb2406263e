//! In a namespace of their own: the list follows the kernel.

use super::*;
use crate::sys::netns::{Netns, ip};

const SOON: Duration = Duration::from_secs(2);

/// Waits until the published list satisfies `is_so`, and says how long that took.
async fn until(
    links: &mut watch::Receiver<Arc<Vec<Link>>>,
    is_so: impl FnMut(&Arc<Vec<Link>>) -> bool,
) -> Duration {
    let since = Instant::now();
    timeout(SOON, links.wait_for(is_so))
        .await
        .expect("in time")
        .expect("still published");
    since.elapsed()
}

fn find<'a>(links: &'a [Link], name: &str) -> Option<&'a Link> {
    links.iter().find(|link| link.name == name)
}

#[test]
fn t58_follows_interfaces_that_come_go_and_come_back() {
    let Some(netns) = Netns::new() else { return };
    let Some(peer) = Netns::new() else { return };
    netns.block_on(|| async move {
        let (out, mut links) = watch::channel(Arc::default());
        let (events, mut heard) = mpsc::channel(64);
        let task = tokio::spawn(run(out, events));

        until(&mut links, |l| find(l, "lo").is_some_and(|lo| lo.up)).await;
        assert!(matches!(heard.recv().await, Some(Event::Links(l)) if find(&l, "lo").is_some()));

        ip("link add lbdt0 type veth peer name lbdt1");
        ip("link set lbdt0 up");
        ip("addr add 192.0.2.5/24 dev lbdt0");
        let address = "192.0.2.5".parse().expect("an address");
        until(&mut links, |l| {
            find(l, "lbdt0").is_some_and(|e| e.up && !e.carrier && e.addresses == [(address, 24)])
        })
        .await;
        let index = find(&links.borrow(), "lbdt0").expect("there").ifindex;

        ip(&format!("link set lbdt1 netns {}", peer.path()));
        peer.ip("link set lbdt1 up");
        until(&mut links, |l| find(l, "lbdt0").is_some_and(|e| e.carrier)).await;

        ip("link del lbdt0");
        until(&mut links, |l| find(l, "lbdt0").is_none()).await;

        ip("link add lbdt0 type veth peer name lbdt1");
        until(&mut links, |l| {
            find(l, "lbdt0").is_some_and(|e| e.ifindex != index)
        })
        .await;

        drop(heard);
        ip("link del lbdt0");
        timeout(SOON, task)
            .await
            .expect("ends when nobody hears")
            .expect("without a panic");
    });
}
