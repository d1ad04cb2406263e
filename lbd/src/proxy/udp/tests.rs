//! Clients, the proxy and reals, each in a namespace of their own: nothing of a client's address is
//! the proxy's.

mod bounds;
mod relaying;
mod sessions;

use super::{Session, SessionKey, Sessions};
use crate::live::{DatagramDrop, Outcome, Way};
use crate::proxy::budget::Budget;
use crate::proxy::testbed::{Bed, SOON, until};
use crate::sys::datagrams::{Inbox, Outbox, Outgoing};
use crate::sys::netns::Netns;
use lbcore::proxyproto::{self, Reading, Told};
use socket2::{Domain, Protocol, Socket, Type};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// VIP, a client and two reals of each family; all answer on port 53.
const FAMILIES: [(&str, &str, [&str; 2]); 2] = [
    ("192.0.2.10", "198.51.100.7", ["10.0.0.1", "10.0.0.2"]),
    (
        "2001:db8:2::10",
        "2001:db8:1::7",
        ["2001:db8:3::1", "2001:db8:3::2"],
    ),
];
const V4: (&str, &str, [&str; 2]) = FAMILIES[0];

struct Net {
    clients: Netns,
    lb: Netns,
    reals: Netns,
}

/// Clients anywhere in 198.51.0.0/16 and 2001:db8:1::/64; the proxy takes in whatever reaches it.
fn net() -> Option<Net> {
    let net = Net {
        clients: Netns::new()?,
        lb: Netns::new()?,
        reals: Netns::new()?,
    };
    let sides = [
        (&net.clients, "c", "198.51.0.0/16", "2001:db8:1::/64", 1),
        (&net.reals, "r", "10.0.0.0/24", "2001:db8:3::/64", 2),
    ];
    for (far, side, v4, v6, number) in sides {
        net.lb.ip(&format!(
            "link add lbdu{side}0 type veth peer name lbdu{side}1"
        ));
        net.lb
            .ip(&format!("link set lbdu{side}1 netns {}", far.path()));
        for (netns, device, host) in [(&net.lb, 0, 1), (far, 1, 2)] {
            netns.ip(&format!("link set lbdu{side}{device} up"));
            netns.ip(&format!(
                "addr add 172.16.{number}.{host}/24 dev lbdu{side}{device}"
            ));
            netns.ip(&format!(
                "addr add fd00:{number}::{host}/64 dev lbdu{side}{device} nodad"
            ));
        }
        for (family, local, gateway) in [
            ("-4", v4, format!("172.16.{number}")),
            ("-6", v6, format!("fd00:{number}:")),
        ] {
            let dot = if family == "-4" { "." } else { ":" };
            far.ip(&format!("{family} route add local {local} dev lo"));
            far.ip(&format!(
                "{family} route add default via {gateway}{dot}1 dev lbdu{side}1"
            ));
            net.lb
                .ip(&format!("{family} route add {local} via {gateway}{dot}2"));
            net.lb.ip(&format!(
                "{family} rule add pref 10 iif lbdu{side}0 lookup 100"
            ));
        }
    }
    // An IPv6 address is only bound where it is somebody's.
    for (_, client, reals) in FAMILIES {
        for (netns, address) in [
            (&net.clients, client),
            (&net.reals, reals[0]),
            (&net.reals, reals[1]),
        ] {
            netns.ip(&format!("addr add {address} dev lo nodad"));
            // The kernel makes its route a moment later, in a work queue.
            let usable = netns.run(move || {
                until(|| {
                    UdpSocket::bind((address, 0)).is_ok_and(|s| s.connect((address, 9)).is_ok())
                })
            });
            assert!(usable, "{address} is not usable");
        }
    }
    for family in ["-4", "-6"] {
        net.lb.ip(&format!(
            "{family} route add local default dev lo table 100"
        ));
    }
    Some(net)
}

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

fn toml(vip: &str, extra: &str, proxy: &str, reals: &[&str]) -> String {
    let mut toml = format!(
        "[[service]]\nname = \"dns\"\nvip = \"{vip}\"\nport = 53\nprotocol = \"udp\"\n\
         mode = \"tproxy\"\nscheduler = \"rr\"\n{extra}\n"
    );
    for real in reals {
        toml += &format!(
            "[[service.real]]\nname = \"{real}\"\naddress = \"{real}\"\nport = 53\n{}\n",
            if extra.contains("# one each") {
                "max_connections = 1"
            } else {
                ""
            }
        );
    }
    toml + &format!("[service.proxy]\n{proxy}\n")
}

fn bed(net: &Net, workers: usize, descriptors: usize, toml: String) -> Bed {
    net.lb
        .run(move || Bed::within(&toml, workers, Budget::new(descriptors)))
}

fn socket(netns: &Netns, from: SocketAddr) -> UdpSocket {
    let socket = netns.run(move || UdpSocket::bind(from).expect("bound"));
    socket.set_read_timeout(Some(SOON)).expect("a time limit");
    socket
}

fn client(net: &Net, from: SocketAddr, vip: &str) -> UdpSocket {
    let socket = socket(&net.clients, from);
    socket.connect(at(vip, 53)).expect("connected");
    socket
}

fn receive(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut room = vec![0; 65_536];
    loop {
        match socket.recv_from(&mut room) {
            Ok((length, from)) => {
                room.truncate(length);
                return (room, from);
            }
            // A stop and a continuation end a wait with a time limit.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// Asks again and again until the answer is that nobody listens: a child that another test forks
/// may hold a closed socket for a moment.
fn is_refused(client: &UdpSocket) {
    let patience = Duration::from_millis(50);
    client.set_read_timeout(Some(patience)).expect("set");
    let refused = until(|| {
        let _ = client.send(b"anybody?");
        let answer = client.recv(&mut [0; 16]);
        answer.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(refused, "the client hears nothing");
    client.set_read_timeout(Some(SOON)).expect("set");
}

fn way(bed: &Bed, way: Way) -> (u64, u64, u64, u64) {
    let mut sum = (0, 0, 0, 0);
    for proxy in bed.live.proxies() {
        let counts = proxy.datagrams.of(way);
        sum.0 += counts.received.get();
        sum.1 += counts.sent.get();
        sum.2 += counts.dropped();
        sum.3 += counts.lost.get();
    }
    sum
}

fn drops(bed: &Bed, why: DatagramDrop) -> u64 {
    let of = |p: &Arc<crate::live::ProxyShared>| p.datagrams.of(Way::ToReal).drops(why).get();
    bed.live.proxies().iter().map(of).sum()
}

/// Received is sent and dropped, both ways.
fn accounts_close(bed: &Bed) {
    for direction in [Way::ToReal, Way::ToClient] {
        let closes = || {
            let (received, sent, dropped, _) = way(bed, direction);
            received == sent + dropped
        };
        assert!(until(closes), "{direction:?}: {:?}", way(bed, direction));
    }
}
