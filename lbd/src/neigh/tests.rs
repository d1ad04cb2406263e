//! In namespaces of their own: a balancer (192.0.2.5, 2001:db8::5) and a machine that plays the
//! reals on the other end of a veth pair.

use super::*;
use crate::live::event::{Event, Link, Reach};
use crate::sys::netns::{Netns, ip};
use pnet::datalink;
use rtnetlink::packet_route::neighbour::NeighbourState;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(8);
const OLD: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x21);
const NEW: MacAddr = MacAddr(2, 0, 0, 0, 0, 0x99);
const DEVICE: &str = "lbdn0";

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn plan(addresses: &[&str]) -> NeighborPlan {
    let wanted = |text: &&str| Wanted {
        address: address(text),
        interface: None,
        mac: None,
    };
    NeighborPlan {
        wanted: addresses.iter().map(wanted).collect(),
        interfaces: vec![DEVICE.into()],
    }
}

/// The balancer's namespace and the reals'.
fn topology() -> Option<(Netns, Netns)> {
    let (balancer, reals) = (Netns::new()?, Netns::new()?);
    balancer.ip("link add lbdn0 type veth peer name lbdn1");
    balancer.ip(&format!("link set lbdn1 netns {}", reals.path()));
    balancer.ip("addr add 192.0.2.5/24 dev lbdn0");
    balancer.ip("addr add 2001:db8::5/64 dev lbdn0 nodad");
    balancer.ip("link set lbdn0 up");
    reals.ip(&format!("link set lbdn1 address {OLD}"));
    reals.ip("addr add 192.0.2.21/24 dev lbdn1");
    reals.ip("addr add 2001:db8::21/64 dev lbdn1 nodad");
    reals.ip("link set lbdn1 up");
    Some((balancer, reals))
}

/// The room at work, and what it has told.
struct Room {
    plan: watch::Sender<Arc<NeighborPlan>>,
    suspects: mpsc::Sender<IpAddr>,
    heard: mpsc::Receiver<Event>,
    told: HashMap<IpAddr, Reach>,
    /// How often an address was told to be out of reach.
    lost: u32,
    restored: u32,
    tasks: [JoinHandle<()>; 2],
}

impl Room {
    fn start(plan: NeighborPlan) -> Self {
        let (plan, wanted) = watch::channel(Arc::new(plan));
        let (suspects, suspected) = mpsc::channel(16);
        let (events, heard) = mpsc::channel(256);
        let (links_out, links) = watch::channel(Arc::<Vec<Link>>::default());
        let (link_events, _) = mpsc::channel(1);
        let tasks = [
            tokio::spawn(follow_links(links_out, link_events)),
            tokio::spawn(run(wanted, links, suspected, events)),
        ];
        Room {
            plan,
            suspects,
            heard,
            told: HashMap::new(),
            lost: 0,
            restored: 0,
            tasks,
        }
    }

    /// Waits until `of` is reached as `is_so` says, and says how long that took.
    async fn until(&mut self, of: &str, is_so: impl Fn(&Reach) -> bool) -> Duration {
        let since = Instant::now();
        while !self.told.get(&address(of)).is_some_and(&is_so) {
            assert!(
                timeout(SOON, self.hear()).await.is_ok(),
                "{of}: {:?}",
                self.told
            );
        }
        since.elapsed()
    }

    async fn until_at(&mut self, of: &str, wanted: MacAddr) -> Duration {
        self.until(
            of,
            |reach| matches!(reach, Reach::Neighbor { mac, .. } if *mac == wanted),
        )
        .await
    }

    async fn hear(&mut self) {
        match self.heard.recv().await.expect("the room is alive") {
            Event::Neighbor(news) => {
                println!("{}: {:?}", news.address, news.reach);
                self.lost += u32::from(matches!(news.reach, Reach::Unreachable(_)));
                self.told.insert(news.address, news.reach);
            }
            Event::Restored { kind } => {
                assert_eq!(kind, "neighbor");
                self.restored += 1;
            }
            other => panic!("{other:?}"),
        }
    }

    /// Listens for `how_long`: for what must not be told.
    async fn listen(&mut self, how_long: Duration) {
        let end = Instant::now() + how_long;
        while let Ok(()) = tokio::time::timeout_at(end, self.hear()).await {}
    }

    /// An orderly end.
    async fn stop(self) {
        let Room {
            plan,
            tasks: [links, room],
            ..
        } = self;
        drop(plan);
        timeout(SOON, room).await.expect("ends").expect("no panic");
        links.abort();
    }
}

/// Stands in for the `link` room: reads the interfaces with `ip`-like plainness, often.
async fn follow_links(out: watch::Sender<Arc<Vec<Link>>>, _events: mpsc::Sender<Event>) {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        let links: Vec<Link> = datalink::interfaces()
            .iter()
            .map(|interface| Link {
                ifindex: interface.index,
                name: interface.name.clone(),
                mac: interface.mac.unwrap_or_default(),
                mtu: 1500,
                up: interface.is_up(),
                carrier: interface.is_lower_up(),
                addresses: interface.ips.iter().map(|n| (n.ip(), n.prefix())).collect(),
            })
            .collect();
        out.send_if_modified(|before| {
            let changed = **before != links;
            if changed {
                *before = Arc::new(links);
            }
            changed
        });
    }
}

async fn entry(of: &str) -> Option<kernel::Sighting> {
    let handle = netlink::rtnetlink().expect("a connection");
    let entries = kernel::dump(&handle).await.expect("a dump");
    entries
        .into_iter()
        .find(|entry| entry.address == address(of))
}

/// Says from inside the reals' namespace: `of` is at `mac` (a gratuitous ARP, RFC 5227 3).
fn gratuitous_arp(reals: &Netns, of: [u8; 4], mac: MacAddr) {
    reals.run(move || {
        let interfaces = datalink::interfaces();
        let device = interfaces
            .iter()
            .find(|i| i.name == "lbdn1")
            .expect("lbdn1");
        let channel = datalink::channel(device, Default::default()).expect("a channel");
        let datalink::Channel::Ethernet(mut out, _) = channel else {
            panic!("not Ethernet")
        };
        let mut frame = vec![0xff; 6];
        frame.extend(mac.octets());
        frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        frame.extend(mac.octets());
        frame.extend(of);
        frame.extend([0; 6]);
        frame.extend(of);
        frame.resize(60, 0);
        out.send_to(&frame, None).expect("a queue").expect("sent");
    });
}

#[test]
fn macs_are_known_before_any_packet_and_kept_managed_until_an_orderly_end() {
    let Some((balancer, _reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async {
        let mut room = Room::start(plan(&["192.0.2.21", "2001:db8::21", "192.0.2.99"]));
        for real in ["192.0.2.21", "2001:db8::21"] {
            let took = room.until_at(real, OLD).await;
            println!("{real} found in {took:?}");
            let entry = entry(real).await.expect("an entry");
            assert!(entry.managed && entry.ours, "{entry:?}");
        }
        room.until("192.0.2.99", |reach| {
            matches!(reach, Reach::Unresolved { .. })
        })
        .await;

        assert_eq!(cleanup(true).await.expect("looked").len(), 3);
        room.stop().await;
        assert!(cleanup(true).await.expect("looked").is_empty());
        assert!(
            entry("192.0.2.21")
                .await
                .is_some_and(|e| !e.managed && e.mac == Some(OLD))
        );
    });
}

#[test]
fn entries_of_a_killed_lbd_are_taken_over_and_can_be_cleaned_up() {
    let Some((balancer, _reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        for task in &room.tasks {
            task.abort();
        }
        assert!(
            entry("192.0.2.21")
                .await
                .is_some_and(|e| e.managed && e.ours)
        );
        let mut next = Room::start(plan(&["192.0.2.21"]));
        let took = next.until_at("192.0.2.21", OLD).await;
        println!("taken over in {took:?}");
        for task in &next.tasks {
            task.abort();
        }
        let cleaned = cleanup(false).await.expect("cleaned");
        assert_eq!(cleaned, ["managed neighbour entry for 192.0.2.21"]);
        assert!(cleanup(false).await.expect("cleaned").is_empty());
    });
}

#[test]
fn t56_a_server_that_announces_its_new_mac_is_followed_within_a_second() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        reals.ip(&format!("link set lbdn1 address {NEW}"));
        gratuitous_arp(&reals, [192, 0, 2, 21], NEW);
        let took = room.until_at("192.0.2.21", NEW).await;
        println!("followed in {took:?}");
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn t56_a_server_that_moved_in_silence_is_found_when_its_check_fails() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut room = Room::start(plan(&["192.0.2.21", "2001:db8::21"]));
        for real in ["192.0.2.21", "2001:db8::21"] {
            room.until_at(real, OLD).await;
        }
        reals.ip(&format!("link set lbdn1 address {NEW}"));
        for real in ["192.0.2.21", "2001:db8::21"] {
            room.suspects.send(address(real)).await.expect("heard");
            let took = room.until_at(real, NEW).await;
            println!("{real} found in {took:?}");
            assert!(took < Duration::from_secs(1), "{real}: {took:?}");
            assert!(
                entry(real).await.is_some_and(|e| e.managed),
                "{real}: still managed"
            );
        }
        room.listen(Duration::from_millis(700)).await;
        assert_eq!(room.restored, 0, "asking anew takes nothing away");
    });
}

#[test]
fn a_forged_announcement_does_not_turn_the_traffic() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        gratuitous_arp(&reals, [192, 0, 2, 21], NEW);
        let since = Instant::now();
        while entry("192.0.2.21").await.is_none_or(|e| e.mac != Some(NEW)) {
            assert!(since.elapsed() < SOON, "the kernel believes announcements");
            tokio::task::yield_now().await;
        }
        // The kernel asks the new MAC three times, gives up and asks everybody.
        while entry("192.0.2.21")
            .await
            .is_none_or(|e| e.mac != Some(OLD) || e.state != NeighbourState::Reachable)
        {
            assert!(since.elapsed() < SOON, "asked anew");
            room.listen(Duration::from_millis(20)).await;
            let at = &room.told[&address("192.0.2.21")];
            assert!(matches!(at, Reach::Neighbor { mac: OLD, .. }), "{at:?}");
        }
        println!("kernel set right after {:?}", since.elapsed());
    });
}

#[test]
fn silence_is_told_after_a_while_and_the_return_at_once() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        reals.ip("addr del 192.0.2.21/24 dev lbdn1");
        room.suspects
            .send(address("192.0.2.21"))
            .await
            .expect("heard");
        let silence = room
            .until("192.0.2.21", |r| matches!(r, Reach::Unresolved { .. }))
            .await;
        println!("silence told after {silence:?}");
        assert!(silence >= Duration::from_secs(2), "patience: {silence:?}");
        reals.ip("addr add 192.0.2.21/24 dev lbdn1");
        let took = room.until_at("192.0.2.21", OLD).await;
        println!("found again in {took:?}");
    });
}

#[test]
fn the_reason_why_an_address_cannot_be_reached_follows_the_routes() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut plan = plan(&["10.9.0.7", "192.0.2.5", "192.0.2.255"]);
        let named = |text, mac| Wanted { address: address(text), interface: Some(DEVICE.into()), mac };
        plan.wanted.push(named("10.8.0.7", None));
        plan.wanted.push(named("192.0.2.77", Some(NEW)));
        let mut room = Room::start(plan);
        let because = |words: &'static str| {
            move |reach: &Reach| matches!(reach, Reach::Unreachable(why) if why.contains(words))
        };
        room.until("10.9.0.7", because("no route to it")).await;
        room.until("10.8.0.7", because("no route to it")).await;
        room.until("192.0.2.5", because("this host itself")).await;
        room.until("192.0.2.255", because("broadcast")).await;
        room.until_at("192.0.2.77", NEW).await;

        ip("route add default via 192.0.2.21");
        let took = room.until("10.9.0.7", because("behind the gateway 192.0.2.21")).await;
        println!("gateway told in {took:?}");
        room.until("10.8.0.7", because("not on-link via lbdn0: it is behind")).await;

        reals.ip("addr add 10.9.0.7/24 dev lbdn1");
        ip("route add 10.9.0.0/24 dev lbdn0");
        let took = room.until_at("10.9.0.7", OLD).await;
        println!("on-link and found in {took:?}");
        ip("link add lbdn2 type veth peer name lbdn3");
        ip("link set lbdn2 up");
        ip("route replace 10.9.0.0/24 dev lbdn2");
        room.until("10.9.0.7", because("lbdn2, which is not one of lbd's interfaces (lbdn0)")).await;
    });
}

#[test]
fn t58_reach_outlives_a_link_that_is_down_and_follows_one_made_anew() {
    let Some((balancer, reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async move {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        for _ in 0..5 {
            ip("link set lbdn0 down");
            room.listen(Duration::from_millis(60)).await;
            ip("link set lbdn0 up");
            room.listen(Duration::from_millis(60)).await;
        }
        // Addresses go with the carrier where systemd-networkd manages them, and come after it.
        ip("link set lbdn0 down");
        ip("addr del 192.0.2.5/24 dev lbdn0");
        ip("link set lbdn0 up");
        room.listen(Duration::from_millis(500)).await;
        ip("addr add 192.0.2.5/24 dev lbdn0");
        room.listen(Duration::from_millis(300)).await;
        let at = &room.told[&address("192.0.2.21")];
        assert!(matches!(at, Reach::Neighbor { mac: OLD, .. }), "{at:?}");
        assert_eq!(room.lost, 0, "never out of reach meanwhile");
        let since = Instant::now();
        while entry("192.0.2.21")
            .await
            .is_none_or(|e| e.state != NeighbourState::Reachable)
        {
            assert!(since.elapsed() < Duration::from_secs(2), "resolved again");
            tokio::task::yield_now().await;
        }
        assert_eq!(
            room.restored, 0,
            "the kernel clears away what an interface loses"
        );

        ip("link del lbdn0");
        room.until("192.0.2.21", |r| matches!(r, Reach::Unreachable(_)))
            .await;
        ip("link add lbdn0 type veth peer name lbdn1");
        ip(&format!("link set lbdn1 netns {}", reals.path()));
        ip("addr add 192.0.2.5/24 dev lbdn0");
        ip("link set lbdn0 up");
        reals.ip(&format!("link set lbdn1 address {NEW}"));
        reals.ip("addr add 192.0.2.21/24 dev lbdn1");
        reals.ip("link set lbdn1 up");
        let took = room.until_at("192.0.2.21", NEW).await;
        println!("found on the new interface in {took:?}");
        assert!(took < Duration::from_secs(2), "{took:?}");
    });
}

#[test]
fn entries_that_other_tools_remove_come_back_and_are_counted() {
    let Some((balancer, _reals)) = topology() else {
        return;
    };
    balancer.block_on(|| async {
        let mut room = Room::start(plan(&["192.0.2.21"]));
        room.until_at("192.0.2.21", OLD).await;
        room.listen(Duration::from_millis(700)).await;
        ip("neigh flush dev lbdn0");
        let since = Instant::now();
        while room.restored == 0 {
            assert!(timeout(SOON, room.hear()).await.is_ok(), "counted");
        }
        println!("counted after {:?}", since.elapsed());
        assert!(
            entry("192.0.2.21")
                .await
                .is_some_and(|e| e.managed && e.mac == Some(OLD))
        );
        let at = &room.told[&address("192.0.2.21")];
        assert!(matches!(at, Reach::Neighbor { mac: OLD, .. }), "{at:?}");
    });
}
