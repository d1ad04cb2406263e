//! The text, then the real thing in namespaces: a client's, the balancer's and a real's, with a
//! VIP that is none of theirs.

use super::*;
use crate::live::event::Event;
use crate::sys::netns::{Netns, ip};
use crate::sys::transparent;
use lbcore::net::{Protocol, ServiceKey};
use socket2::{Domain, Socket};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(3);

/// Far less than the next audit would take.
const RESTORED_WITHIN: Duration = Duration::from_millis(800);

/// Longer than a frame takes, shorter than TCP's first retransmission.
const SILENCE: Duration = Duration::from_millis(300);

/// VIP, client, real.
const FAMILIES: [(&str, &str, &str); 2] = [
    ("203.0.113.10", "198.51.100.7", "192.0.2.21"),
    ("2001:db8:f::10", "2001:db8:1::7", "2001:db8:2::21"),
];

fn at(address: &str, port: u16) -> SocketAddr {
    SocketAddr::new(address.parse().expect("an address"), port)
}

fn key(vip: &str, port: u16, protocol: Protocol) -> ServiceKey {
    ServiceKey {
        vip: at(vip, port).ip().into(),
        port,
        protocol,
    }
}

fn plan() -> InterceptPlan {
    let [(vip4, _, real4), (vip6, _, real6)] = FAMILIES;
    InterceptPlan::new(
        vec![
            key(vip4, 80, Protocol::Tcp),
            key(vip4, 53, Protocol::Udp),
            key(vip6, 80, Protocol::Tcp),
            key(vip6, 53, Protocol::Udp),
            key(vip4, 80, Protocol::Tcp),
        ],
        vec![
            (Protocol::Tcp, at(real4, 8080)),
            (Protocol::Udp, at(real4, 5353)),
            (Protocol::Tcp, at(real6, 8080)),
            (Protocol::Udp, at(real6, 5353)),
        ],
    )
}

#[test]
fn the_ruleset_replaces_the_table_in_one_transaction() {
    let plan = InterceptPlan::new(
        vec![
            key("203.0.113.10", 80, Protocol::Tcp),
            key("203.0.113.10", 53, Protocol::Udp),
        ],
        vec![(Protocol::Tcp, at("192.0.2.21", 8080))],
    );
    let expected = "\
add table inet lbd_proxy
delete table inet lbd_proxy
table inet lbd_proxy {
\tcomment \"lbd, a load balancer: hands packets for proxied VIPs to lbd; remove with: lbd cleanup\"
\tset vips4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\telements = {
\t\t\t203.0.113.10 . udp . 53,
\t\t\t203.0.113.10 . tcp . 80
\t\t}
\t}
\tset reals4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\telements = {
\t\t\t192.0.2.21 . tcp . 8080
\t\t}
\t}
\tchain prerouting {
\t\ttype filter hook prerouting priority mangle; policy accept;
\t\tip saddr . meta l4proto . th sport @reals4 socket transparent 1 meta mark set meta mark and 0xffffff00 or 0x0000002c accept
\t\tip daddr . meta l4proto . th dport @vips4 socket transparent 1 meta mark set meta mark and 0xffffff00 or 0x0000002c accept
\t\tip daddr . meta l4proto . th dport @vips4 counter drop
\t\ticmp type { destination-unreachable, time-exceeded, parameter-problem } socket transparent 1 meta mark set meta mark and 0xffffff00 or 0x0000002c accept
\t\tip daddr 0.0.0.0 meta l4proto udp tproxy ip to :1 comment \"matches nothing; reassembles datagrams\"
\t}
}
";
    assert_eq!(ruleset(&plan), expected);
    assert_eq!(
        commands(&plan),
        [
            "ip route add local default dev lo table 7103076 protocol 76",
            "ip rule add priority 75 iif lo fwmark 0x2c/0xff lookup main protocol 76",
            "ip rule add priority 76 fwmark 0x2c/0xff lookup 7103076 protocol 76",
        ]
    );
}

#[test]
fn without_vips_there_is_no_table() {
    let reals = vec![(Protocol::Tcp, at("192.0.2.21", 8080))];
    let plan = InterceptPlan::new(vec![], reals);
    assert_eq!(
        ruleset(&plan),
        "add table inet lbd_proxy\ndelete table inet lbd_proxy\n"
    );
    assert!(plan.stacks().is_empty());
}

/// A client, a balancer and a real in a row. The VIPs are on the other side of the balancer as the
/// client sees it; the real's way to everybody is the balancer.
struct Row {
    client: Netns,
    balancer: Netns,
    real: Netns,
}

fn row() -> Option<Row> {
    if Command::new("nft").arg("--version").output().is_err() {
        println!("skipped: no `nft`; install the package nftables");
        return None;
    }
    let row = Row {
        client: Netns::new()?,
        balancer: Netns::new()?,
        real: Netns::new()?,
    };
    // Who, its device and addresses; the balancer's device and addresses towards it.
    let ends = [
        (
            &row.client,
            ["lbdi1", "198.51.100.7", "2001:db8:1::7"],
            ["lbdi0", "198.51.100.1", "2001:db8:1::1"],
        ),
        (
            &row.real,
            ["lbdi3", "192.0.2.21", "2001:db8:2::21"],
            ["lbdi2", "192.0.2.1", "2001:db8:2::1"],
        ),
    ];
    for (netns, far, near) in ends {
        netns.ip(&format!(
            "link add {} type veth peer name {}",
            far[0], near[0]
        ));
        netns.ip(&format!(
            "link set {} netns {}",
            near[0],
            row.balancer.path()
        ));
        for (netns, [device, v4, v6]) in [(netns, far), (&row.balancer, near)] {
            netns.ip(&format!("link set {device} up"));
            netns.ip(&format!("addr add {v4}/24 dev {device}"));
            netns.ip(&format!("addr add {v6}/64 dev {device} nodad"));
        }
        netns.ip(&format!("route add default via {}", near[1]));
        netns.ip(&format!("-6 route add default via {}", near[2]));
    }
    Some(row)
}

fn sysctl(netns: &Netns, settings: &'static [(&'static str, &'static str)]) {
    netns.run(move || {
        for (name, value) in settings {
            let path = format!("/proc/sys/net/{name}");
            std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}"));
        }
    });
}

fn blocking(socket: Socket) -> Socket {
    socket.set_nonblocking(false).expect("blocking");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket
}

fn datagrams(address: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(address).expect("bound");
    socket.set_read_timeout(Some(SOON)).expect("a timeout");
    socket
}

/// Client to VIP to real and back, as the proxy does it; the real sees the client's address.
fn relay_tcp(row: &Row, (vip, client, real): (&'static str, &'static str, &'static str)) {
    let (vip, client, real) = (at(vip, 80), at(client, 0).ip(), at(real, 8080));
    let server = row
        .real
        .run(move || TcpListener::bind(real).expect("bound"));
    let listener = row
        .balancer
        .run(move || blocking(transparent::listen(vip, 16).expect("a listener")));
    let mut asking = row
        .client
        .run(move || TcpStream::connect_timeout(&vip, SOON).expect("accepted for the VIP"));
    let (accepted, _) = listener.accept().expect("accepted");
    let mut accepted: TcpStream = accepted.into();
    let mut dialled: TcpStream = row.balancer.run(move || {
        let domain = Domain::for_address(real);
        let socket = blocking(transparent::dial_from(Some(client), domain).expect("a socket"));
        socket
            .connect_timeout(&real.into(), SOON)
            .expect("the answer comes to the borrowed address");
        socket.into()
    });
    let (mut answering, seen) = server.accept().expect("accepted");
    assert_eq!(seen.ip(), client);
    // Listeners may go; what they accepted goes on.
    drop(listener);
    let mut bytes = [0; 5];
    asking.write_all(b"hello").expect("sent");
    accepted.read_exact(&mut bytes).expect("received");
    dialled.write_all(&bytes).expect("sent");
    answering.read_exact(&mut bytes).expect("received");
    answering.write_all(&bytes).expect("sent");
    dialled.read_exact(&mut bytes).expect("received");
    accepted.write_all(&bytes).expect("sent");
    asking.read_exact(&mut bytes).expect("received");
    assert_eq!(&bytes, b"hello");
    // A child that another test forks holds every descriptor until it executes its program.
    let since = std::time::Instant::now();
    let connect = move || TcpStream::connect_timeout(&vip, SILENCE);
    let told = loop {
        match row.client.run(connect) {
            Ok(_) => assert!(since.elapsed() < SOON, "still accepted"),
            Err(error) => break error.kind(),
        }
    };
    assert_eq!(told, ErrorKind::TimedOut, "silent without a socket");
}

/// The same with a datagram of many fragments, and a real's port unreachable.
fn relay_udp(row: &Row, (vip, client, real): (&'static str, &'static str, &'static str)) {
    const BIG: usize = 9000;
    let (vip, client, real) = (at(vip, 53), at(client, 4321), at(real, 5353));
    let server = row.real.run(move || datagrams(real));
    let listener: UdpSocket = row
        .balancer
        .run(move || blocking(transparent::udp_listen(vip).expect("a socket")).into());
    let asking = row.client.run(move || {
        let socket = datagrams(client);
        socket.connect(vip).expect("a route");
        socket
    });
    let mut bytes = vec![0; 65_535];
    asking.send(&[7; BIG]).expect("sent");
    let (length, from) = listener.recv_from(&mut bytes).expect("reassembled");
    assert_eq!((length, from), (BIG, client));
    let session: UdpSocket = row.balancer.run(move || {
        let socket = blocking(transparent::udp_from(from).expect("a socket"));
        socket.connect(&real.into()).expect("connected");
        socket.into()
    });
    session.send(&bytes[..length]).expect("sent");
    let (length, seen) = server.recv_from(&mut bytes).expect("received");
    assert_eq!((length, seen), (BIG, client));
    server.send_to(&bytes[..length], seen).expect("sent");
    let length = session.recv(&mut bytes).expect("the answer");
    listener.send_to(&bytes[..length], client).expect("sent");
    assert_eq!(asking.recv(&mut bytes).expect("the answer"), BIG);
    drop(server);
    session.set_read_timeout(Some(SILENCE)).expect("a timeout");
    let since = std::time::Instant::now();
    loop {
        session.send(b"anybody?").expect("sent");
        match session.recv(&mut bytes).expect_err("nobody listens").kind() {
            ErrorKind::ConnectionRefused => break,
            _ => assert!(since.elapsed() < SOON, "no port unreachable comes"),
        }
    }
    drop(listener);
    asking.set_read_timeout(Some(SILENCE)).expect("a timeout");
    asking.send(b"anybody?").expect("sent");
    // A wait with a limit is not taken up again after a signal (signal(7)).
    let told = std::iter::repeat_with(|| asking.recv(&mut bytes).expect_err("nobody listens"))
        .find(|told| told.kind() != ErrorKind::Interrupted)
        .expect("it never ends");
    assert_eq!(told.kind(), ErrorKind::WouldBlock, "the host is silent");
}

#[test]
fn t36_both_ways_reach_the_transparent_sockets() {
    let Some(row) = row() else {
        return;
    };
    // The host forwards, as routers do: without a socket it must not send VIP packets on.
    sysctl(&row.balancer, &[("ipv4/ip_forward", "1")]);
    row.balancer
        .block_on(|| async { apply(&plan()).await.expect("applied") });
    for family in FAMILIES {
        relay_tcp(&row, family);
        relay_udp(&row, family);
    }
    // Keepalived may give the VIP to this host: nothing changes.
    row.balancer.ip("addr add 203.0.113.10/32 dev lo");
    row.balancer.ip("addr add 2001:db8:f::10/128 dev lo");
    for family in FAMILIES {
        relay_tcp(&row, family);
        relay_udp(&row, family);
    }
}

#[test]
fn replacing_the_table_leaves_no_gap() {
    let Some(row) = row() else {
        return;
    };
    // Forwarded, a datagram would go back where it came from; to a closed port, it would be refused.
    sysctl(&row.balancer, &[("ipv4/ip_forward", "1")]);
    row.balancer.ip("addr add 203.0.113.10/32 dev lo");
    row.balancer
        .block_on(|| async { apply(&plan()).await.expect("applied") });
    let vip = at(FAMILIES[0].0, 53);
    let echo: UdpSocket = row
        .balancer
        .run(move || blocking(transparent::udp_listen(vip).expect("a socket")).into());
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let echoing = std::thread::spawn(move || {
        let mut bytes = [0; 8];
        while let Ok((length, from)) = echo.recv_from(&mut bytes) {
            if length == 0 {
                break;
            }
            echo.send_to(&bytes[..length], from).expect("sent");
        }
    });
    let client = row.client;
    let asking = std::thread::spawn(move || {
        client.run(move || {
            let socket = datagrams(at("0.0.0.0", 0));
            socket.connect(vip).expect("a route");
            let mut asked = 0u64;
            while !over.load(Ordering::Relaxed) {
                asked += 1;
                socket.send(&asked.to_ne_bytes()).expect("not refused");
                let mut answer = [0; 8];
                socket.recv(&mut answer).expect("not lost");
                assert_eq!(u64::from_ne_bytes(answer), asked);
            }
            socket.send(&[]).expect("sent");
            asked
        })
    });
    row.balancer.block_on(|| async {
        let mut more = plan();
        more.vips.push(key("203.0.113.10", 8443, Protocol::Tcp));
        for _ in 0..10 {
            apply(&more).await.expect("applied");
            apply(&plan()).await.expect("applied");
        }
    });
    done.store(true, Ordering::Relaxed);
    let asked = asking.join().expect("each was answered");
    echoing.join().expect("no panic");
    assert!(asked > 100, "{asked} datagrams met 20 changes");
}

#[test]
fn t36_hosts_that_look_for_the_sender_by_mark_hand_packets_over_too() {
    let Some(row) = row() else {
        return;
    };
    sysctl(
        &row.balancer,
        &[
            ("ipv4/conf/all/rp_filter", "1"),
            ("ipv4/conf/all/src_valid_mark", "1"),
            ("ipv4/tcp_fwmark_accept", "1"),
            ("ipv4/fwmark_reflect", "1"),
            ("ipv6/fwmark_reflect", "1"),
        ],
    );
    row.balancer.block_on(|| async {
        // As firewalld does with IPv6_rpfilter.
        nft_here("add table inet fw");
        nft_here("add chain inet fw pre { type filter hook prerouting priority -140 ; }");
        nft_here("add rule inet fw pre fib saddr . mark . iif oif missing drop");
        apply(&plan()).await.expect("applied");
    });
    for family in FAMILIES {
        relay_tcp(&row, family);
        relay_udp(&row, family);
    }
}

fn nft_here(args: &str) {
    let output = Command::new("nft")
        .args(args.split(' '))
        .output()
        .expect("nft");
    assert!(
        output.status.success(),
        "nft {args}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn ip_words(args: &str) -> String {
    let output = Command::new("ip").args(args.split(' ')).output();
    String::from_utf8_lossy(&output.expect("iproute2").stdout).into_owned()
}

/// All that speaks of rules and of every table's routes.
fn routing_words() -> Vec<String> {
    [
        "rule",
        "-6 rule",
        "route show table all",
        "-6 route show table all",
    ]
    .iter()
    .flat_map(|args| {
        let words = ip_words(args);
        words
            .lines()
            .map(|line| line.trim().to_owned())
            .collect::<Vec<_>>()
    })
    .collect()
}

async fn until(
    told: &mut channel::Receiver<InterceptState>,
    is_so: impl FnMut(&InterceptState) -> bool,
) {
    timeout(SOON, told.wait_for(is_so))
        .await
        .expect("in time")
        .expect("still told");
}

#[test]
fn what_other_tools_take_away_comes_back_at_once_and_once() {
    let Some(netns) = Netns::new() else {
        return;
    };
    netns.block_on(|| async {
        let (plan_out, plan_in) = channel::channel(Arc::new(plan()));
        let (state, mut told) = channel::channel(InterceptState::default());
        let (events, mut heard) = mpsc::channel(64);
        let task = tokio::spawn(run(plan_in, state, events));
        until(&mut told, |s| s.in_force.as_deref() == Some(&plan())).await;
        let mut whole = routing_words();

        // Less often than would be a fight, and then on to the next audit.
        let attacks: [(&str, &[&str]); 8] = [
            ("nft flush ruleset", &["nft"]),
            ("ip rule del priority 76", &["rule"]),
            ("ip -6 rule del priority 75", &["rule"]),
            ("ip route flush table 7103076", &["route"]),
            ("ip -6 route flush table 7103076", &["route"]),
            ("nft flush chain inet lbd_proxy prerouting", &["nft"]),
            ("ip rule flush", &["rule", "rule"]),
            ("nft delete table inet lbd_proxy", &["nft"]),
        ];
        for (number, (attack, expected)) in attacks.into_iter().enumerate() {
            let args = attack.split_once(' ').expect("a command").1;
            if attack.starts_with("nft") {
                nft_here(args);
            } else {
                ip(args);
            }
            let mut kinds = Vec::new();
            let since = Instant::now();
            while kinds.len() < expected.len() {
                match timeout(2 * nft::AUDIT, heard.recv())
                    .await
                    .expect("in time")
                {
                    Some(Event::Restored { kind }) => kinds.push(kind),
                    other => panic!("{attack}: {other:?}"),
                }
            }
            println!("`{attack}` undone in {:?}", since.elapsed());
            // After so many restores it waits for the next audit, which then has the same to do.
            let bound = if number < nft::RESTORES_PER_AUDIT as usize {
                RESTORED_WITHIN
            } else {
                nft::AUDIT + RESTORED_WITHIN
            };
            assert!(since.elapsed() <= bound, "{attack}");
            assert_eq!(kinds, expected, "{attack}");
            assert_eq!(check(&plan()).await.expect("asked"), [], "{attack}");
            if attack == "ip rule flush" {
                // The others' rules are theirs to restore.
                ip("rule add priority 32766 lookup main");
                ip("rule add priority 32767 lookup default");
            }
        }
        let mut now = routing_words();
        now.sort_unstable();
        whole.sort_unstable();
        assert_eq!(now, whole, "all of it, and nothing twice");

        // A change of our own is no attack: the removal below ends with not one event more.
        let only4 = InterceptPlan::new(
            vec![key("203.0.113.10", 80, Protocol::Tcp)],
            vec![(Protocol::Tcp, at("192.0.2.21", 8080))],
        );
        let only4 = Arc::new(only4);
        plan_out.send_replace(only4.clone());
        until(&mut told, |s| s.in_force.as_ref() == Some(&only4)).await;
        assert!(!ip_words("-6 rule").contains("0x2c"));
        plan_out.send_replace(Arc::default());
        until(&mut told, |s| {
            s.in_force.as_ref().is_some_and(|p| p.is_empty())
        })
        .await;
        assert!(cleanup(true).await.expect("looked").is_empty());
        drop(plan_out);
        timeout(SOON, task)
            .await
            .expect("ends without plans")
            .expect("no panic");
        assert!(heard.recv().await.is_none());
    });
}

#[test]
fn a_leftover_is_replaced_and_others_things_stay() {
    let Some(netns) = Netns::new() else {
        return;
    };
    netns.block_on(|| async {
        // Others', some confusingly close, and one rule of an lbd that numbered differently.
        ip("rule add priority 76 fwmark 0x2c/0xff lookup 99");
        ip("rule add priority 77 fwmark 0x2c/0xff lookup 7103076");
        ip("rule add priority 9 fwmark 0x200/0xf00 lookup 2004 protocol 76");
        ip("route add local 198.51.100.0/24 dev lo table 7103076");
        nft_here("add table inet lbd");
        let others = routing_words();
        ip("-6 rule add priority 76 fwmark 0x1 lookup 100 protocol 76");

        apply(&plan()).await.expect("applied");
        let once = routing_words();
        assert_eq!(check(&plan()).await.expect("asked"), []);
        apply(&plan()).await.expect("applied again");
        assert_eq!(routing_words(), once, "no second rule");
        assert!(!once.iter().any(|line| line.contains("lookup 100 ")));
        for line in &others {
            assert!(once.contains(line), "{line}");
        }

        let would = cleanup(true).await.expect("looked");
        assert_eq!(
            check(&plan()).await.expect("asked"),
            [],
            "nothing is touched"
        );
        assert_eq!(would.len(), 7, "{would:?}");
        assert_eq!(cleanup(false).await.expect("cleaned"), would);
        assert!(cleanup(true).await.expect("looked").is_empty());
        assert_eq!(routing_words(), others);
        assert!(
            nft::Table {
                family: nft::Family::Inet,
                name: "lbd"
            }
            .list()
            .await
            .expect("asked")
            .is_some()
        );
        assert_eq!(check(&plan()).await.expect("asked").len(), 7);
        remove().await.expect("nothing to remove is no error");
    });
}

#[test]
fn the_commands_do_what_lbd_does() {
    let Some(netns) = Netns::new() else {
        return;
    };
    netns.block_on(|| async {
        for command in commands(&plan()) {
            ip(command.strip_prefix("ip ").expect("an ip command"));
        }
        nft::load(&ruleset(&plan())).await.expect("loaded");
        assert_eq!(check(&plan()).await.expect("asked"), []);
        let by_hand = routing_words();
        apply(&plan()).await.expect("applied");
        assert_eq!(routing_words(), by_hand);
    });
}

#[test]
fn a_host_without_ipv6_serves_ipv4() {
    let Some(netns) = Netns::new() else {
        return;
    };
    sysctl(&netns, &[("ipv6/conf/all/disable_ipv6", "1")]);
    netns.block_on(|| async {
        let only4 = InterceptPlan::new(vec![key("203.0.113.10", 80, Protocol::Tcp)], vec![]);
        apply(&only4).await.expect("applied");
        assert_eq!(check(&only4).await.expect("asked"), []);
        let error = apply(&plan()).await.expect_err("IPv6 is off");
        assert!(error.to_string().contains("disable_ipv6"), "{error}");
    });
}

#[test]
fn news_of_others_routes_is_no_news() {
    assert!(!routing::tells_of_loss(&[1, 2, 3]));
    let message = |kind: u16, table: u32| {
        let mut bytes = 36u32.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend([0; 10 + 12]);
        bytes.extend(8u16.to_ne_bytes());
        bytes.extend(15u16.to_ne_bytes());
        bytes.extend(table.to_ne_bytes());
        bytes
    };
    let (gone, new) = (libc::RTM_DELROUTE, libc::RTM_NEWROUTE);
    assert!(!routing::tells_of_loss(&message(gone, 254)));
    assert!(!routing::tells_of_loss(&message(new, 7_103_076)));
    assert!(routing::tells_of_loss(
        &[message(gone, 254), message(gone, 7_103_076)].concat()
    ));
    assert!(routing::tells_of_loss(&message(libc::RTM_DELRULE, 254)));
}
