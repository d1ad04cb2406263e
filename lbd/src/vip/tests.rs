//! The real socket against the real kernel: lbd in one namespace, a neighbour in another.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::live::event::{VipNews, VipState};
use crate::sys::link_socket::LinkSocket;
use crate::sys::netns::Netns;
use lbcore::vip::{Heard, parse};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// Long enough for a loaded machine; nothing waits this long when all is well.
const PATIENCE: Duration = Duration::from_secs(10);

/// lbd's side and a neighbour's, with a veth pair `v0` between them.
fn link() -> Option<(Netns, Netns)> {
    let (here, there) = (Netns::new()?, Netns::new()?);
    here.ip(&format!(
        "link add v0 address 02:00:00:00:00:50 type veth peer name v0 address 02:00:00:00:00:99 \
         netns {}",
        there.path()
    ));
    for (side, v4, v6) in [
        (&here, "192.0.2.1/24", "2001:db8::1/64"),
        (&there, "192.0.2.99/24", "2001:db8::99/64"),
    ] {
        side.ip(&format!("addr add {v4} dev v0"));
        side.ip(&format!("addr add {v6} dev v0 nodad"));
        side.ip("link set v0 up");
    }
    Some((here, there))
}

/// lbd's vip room at work on `v0` of a namespace, and what it reports.
struct Room {
    plan: watch::Sender<Arc<VipPlan>>,
    news: mpsc::Receiver<Event>,
    links: watch::Sender<Arc<Vec<Link>>>,
}

fn wanted(vip: &str) -> Wanted {
    Wanted {
        vip: vip.parse().unwrap(),
        interface: "v0".into(),
        announce: Announce::Always,
        healthy: true,
        held: Hold::Default,
    }
}

impl Room {
    /// Runs `test` beside the room, in `netns`.
    fn with<F, R>(netns: &Netns, vips: Vec<Wanted>, test: F)
    where
        F: FnOnce(Room) -> R + Send + 'static,
        R: Future<Output = ()>,
    {
        netns.block_on(|| async move {
            let links = crate::link::snapshot().await.unwrap();
            let (plan, wanted) = watch::channel(Arc::new(VipPlan {
                vips,
                ..Default::default()
            }));
            let (links, seen) = watch::channel(Arc::new(links));
            let (events, news) = mpsc::channel(8);
            let room = Room { plan, news, links };
            tokio::select! {
                () = run(wanted, seen, events) => panic!("the room ended early"),
                () = test(room) => {}
            }
        });
    }

    async fn until(&mut self, vip: &str, state: VipState) -> VipNews {
        let vip: IpAddr = vip.parse().unwrap();
        timeout(PATIENCE, async {
            loop {
                match self.news.recv().await {
                    Some(Event::Vip(news)) if news.vip == vip && news.state == state => {
                        return news;
                    }
                    Some(_) => {}
                    None => panic!("the room ended"),
                }
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{vip} never became {state:?}"))
    }
}

/// Runs `command` inside until it prints `text`.
fn until_prints(netns: &Netns, command: &'static str, text: &'static str) {
    netns.run(move || {
        let words: Vec<&str> = command.split(' ').collect();
        let start = Instant::now();
        loop {
            let output = std::process::Command::new(words[0])
                .args(&words[1..])
                .output()
                .unwrap();
            let printed = String::from_utf8_lossy(&output.stdout).into_owned();
            if printed.contains(text) {
                return;
            }
            assert!(
                start.elapsed() < PATIENCE,
                "{command} never printed {text}: {printed}"
            );
        }
    });
}

/// Sends datagrams to `target` from inside, which has the kernel there ask for its MAC.
fn makes_ask(netns: &Netns, target: &'static str) {
    netns.run(move || {
        let any = if target.starts_with('[') {
            "[::]:0"
        } else {
            "0.0.0.0:0"
        };
        let socket = std::net::UdpSocket::bind(any).unwrap();
        socket.send_to(b"x", target).unwrap();
    });
}

#[test]
fn the_neighbours_kernel_resolves_both_families_and_its_ping_is_answered() {
    let Some((here, there)) = link() else { return };
    let (done, wait) = tokio::sync::oneshot::channel::<()>();
    let (ready, announced) = std::sync::mpsc::channel();
    let vips = vec![wanted("192.0.2.10"), wanted("2001:db8::10")];
    std::thread::scope(|scope| {
        let lbd = scope.spawn(|| {
            Room::with(&here, vips, |mut room| async move {
                room.until("192.0.2.10", VipState::Announced).await;
                room.until("2001:db8::10", VipState::Announced).await;
                ready.send(()).unwrap();
                wait.await.ok();
            });
        });
        there.run(move || announced.recv_timeout(PATIENCE).unwrap());
        makes_ask(&there, "192.0.2.10:9");
        until_prints(
            &there,
            "ip neigh show to 192.0.2.10 nud reachable",
            "02:00:00:00:00:50",
        );
        makes_ask(&there, "[2001:db8::10]:9");
        until_prints(
            &there,
            "ip neigh show to 2001:db8::10 nud reachable",
            "02:00:00:00:00:50",
        );
        if std::process::Command::new("ping")
            .arg("-V")
            .output()
            .is_ok()
        {
            until_prints(&there, "ping -c1 -W1 192.0.2.10", " 0% packet loss");
            until_prints(
                &there,
                "ping -6 -c1 -W1 -s1400 2001:db8::10",
                " 0% packet loss",
            );
        } else {
            println!("skipped: ping is not installed");
        }
        done.send(()).ok();
        lbd.join().unwrap();
    });
}

#[test]
fn an_address_of_the_neighbour_is_never_taken() {
    let Some((here, there)) = link() else { return };
    there.ip("addr add 192.0.2.10/24 dev v0");
    there.ip("addr add 2001:db8::10/64 dev v0 nodad");
    let vips = vec![wanted("192.0.2.10"), wanted("2001:db8::10")];
    Room::with(&here, vips, |mut room| async move {
        for vip in ["192.0.2.10", "2001:db8::10"] {
            let news = room.until(vip, VipState::Conflict).await;
            assert_eq!(news.claimed_by, Some("02:00:00:00:00:99".parse().unwrap()));
            assert_eq!(news.conflicts, 1);
        }
    });
}

#[test]
fn a_misconfigured_real_is_named() {
    let Some((here, there)) = link() else { return };
    // The VIP on lo, as a real has it, but arp_ignore left at 0.
    there.ip("addr add 192.0.2.10/32 dev lo");
    Room::with(&here, vec![], |mut room| async move {
        let reals = BTreeMap::from([("02:00:00:00:00:99".parse().unwrap(), "rs1".to_string())]);
        let vips = vec![wanted("192.0.2.10")];
        room.plan.send_replace(Arc::new(VipPlan {
            vips,
            reals: Arc::new(reals),
        }));
        let news = room.until("192.0.2.10", VipState::Conflict).await;
        let note = news.note.unwrap();
        let says = "rs1 answers ARP for the VIP: set arp_ignore=1 and arp_announce=2 there (kube-proxy in ipvs mode: strictARP)";
        assert!(note.starts_with(says), "{note}");
    });
}

#[test]
fn an_owned_address_is_announced_but_answered_by_the_kernel() {
    let Some((here, there)) = link() else { return };
    here.ip("addr add 192.0.2.10/32 dev v0");
    let vip = Wanted {
        announce: Announce::WhenOwned,
        ..wanted("192.0.2.10")
    };
    Room::with(&here, vec![vip], |mut room| async move {
        room.until("192.0.2.10", VipState::Owned).await;
    });
    drop(there);
}

#[test]
fn release_and_take_go_through() {
    let Some((here, _there)) = link() else { return };
    Room::with(&here, vec![wanted("192.0.2.10")], |mut room| async move {
        room.until("192.0.2.10", VipState::Announced).await;
        for (held, state) in [
            (Hold::Release, VipState::Silent),
            (Hold::Take, VipState::Announced),
        ] {
            let vips = vec![Wanted {
                held,
                ..wanted("192.0.2.10")
            }];
            room.plan.send_replace(Arc::new(VipPlan {
                vips,
                ..Default::default()
            }));
            room.until("192.0.2.10", state).await;
        }
    });
}

#[test]
fn of_two_rooms_the_lower_mac_announces() {
    // T59: two lbds that start together.
    let Some((here, there)) = link() else { return };
    std::thread::scope(|scope| {
        // Each stays until the other has seen its end of it.
        let both = Arc::new(tokio::sync::Barrier::new(2));
        for (side, ends) in [(&here, VipState::Announced), (&there, VipState::Conflict)] {
            let both = both.clone();
            scope.spawn(move || {
                let vips = vec![wanted("192.0.2.10"), wanted("2001:db8::10")];
                Room::with(side, vips, move |mut room| async move {
                    room.until("192.0.2.10", ends).await;
                    room.until("2001:db8::10", ends).await;
                    both.wait().await;
                });
            });
        }
    });
}

#[test]
fn carrier_and_the_interface_itself_may_come_and_go() {
    let Some((here, there)) = link() else { return };
    let path = here.path().to_owned();
    Room::with(&here, vec![wanted("192.0.2.10")], |mut room| async move {
        let (events, _kept) = mpsc::channel(1000);
        let links = room.links.clone();
        let watching = tokio::spawn(crate::link::run(links, events));
        room.until("192.0.2.10", VipState::Announced).await;
        there.ip("link set v0 down");
        room.until("192.0.2.10", VipState::Silent).await;
        there.ip("link set v0 up");
        room.until("192.0.2.10", VipState::Announced).await;
        there.ip("link del v0");
        room.until("192.0.2.10", VipState::Silent).await;
        there.ip(&format!("link add v0 type veth peer name v0 netns {path}"));
        there.ip("link set v0 up");
        crate::sys::netns::ip("link set v0 up");
        room.until("192.0.2.10", VipState::Announced).await;
        watching.abort();
    });
}

#[test]
fn the_socket_hears_addresses_and_nothing_else() {
    let Some((here, there)) = link() else { return };
    let ifindex = |links: Vec<Link>| {
        links
            .iter()
            .find(|l| l.name == "v0")
            .map(|l| l.ifindex)
            .unwrap()
    };
    here.block_on(move || async move {
        let index = ifindex(crate::link::snapshot().await.unwrap());
        let socket = LinkSocket::open(index).unwrap();
        // UDP first, then ARP: when the ARP is here, the rest would be too.
        there.run(|| {
            let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
            socket
                .send_to(b"not for this socket", "192.0.2.1:9")
                .unwrap();
            let _ = socket.send_to(b"x", "192.0.2.77:9");
        });
        let mut buffer = [0; 2048];
        let asked = timeout(PATIENCE, async {
            loop {
                socket.readable().await;
                while let Ok(length) = socket.receive(&mut buffer) {
                    match parse(&buffer[..length]) {
                        Some(Heard::Arp {
                            request: true,
                            target,
                            ..
                        }) if target.octets()[3] == 77 => {
                            return target;
                        }
                        Some(_) => {}
                        None => panic!(
                            "heard what the filter should leave: {:x?}",
                            &buffer[..length]
                        ),
                    }
                }
            }
        });
        assert_eq!(asked.await.unwrap(), std::net::Ipv4Addr::new(192, 0, 2, 77));
    });
}
