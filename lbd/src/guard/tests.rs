//! The text, then the real thing in namespaces: a client's namespace, and the balancer's with the
//! VIP on `lo`, so that its stack would answer.

use super::*;
use crate::live::event::{Event, Link};
use crate::sys::netns::{Netns, ip};
use lbcore::net::{Addr, Protocol, ServiceKey};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch as channel};
use tokio::time::{Instant, timeout};

const SOON: Duration = Duration::from_secs(3);

fn key(vip: &str, port: u16, protocol: Protocol) -> ServiceKey {
    let vip: IpAddr = vip.parse().expect("an address");
    ServiceKey {
        vip: Addr::from(vip),
        port,
        protocol,
    }
}

fn plan() -> GuardPlan {
    GuardPlan::new(
        vec!["lbdg0".into(), "lbdg9".into()],
        vec![
            key("192.0.2.10", 443, Protocol::Tcp),
            key("192.0.2.10", 53, Protocol::Udp),
            key("2001:db8::10", 443, Protocol::Tcp),
            key("192.0.2.10", 443, Protocol::Tcp),
        ],
    )
}

#[test]
fn the_ruleset_replaces_the_table_in_one_transaction() {
    let text = ruleset(&plan(), &["lo".into(), "lbdg0".into()]);
    let expected = "\
add table netdev lbd
delete table netdev lbd
table netdev lbd {
\tcomment \"lbd, a load balancer: keeps this host silent about VIPs it serves; remove with: lbd cleanup\"
\tset served4 {
\t\ttype ipv4_addr . inet_proto . inet_service
\t\telements = {
\t\t\t192.0.2.10 . udp . 53,
\t\t\t192.0.2.10 . tcp . 443
\t\t}
\t}
\tset served6 {
\t\ttype ipv6_addr . inet_proto . inet_service
\t\telements = {
\t\t\t2001:db8::10 . tcp . 443
\t\t}
\t}
\tchain ingress0 {
\t\ttype filter hook ingress device \"lbdg0\" priority -300; policy accept;
\t\tip daddr . meta l4proto . th dport @served4 counter drop
\t\tip6 daddr . meta l4proto . th dport @served6 counter drop
\t\tip saddr . meta l4proto . th sport @served4 th dport 61440-65535 counter drop
\t\tip6 saddr . meta l4proto . th sport @served6 th dport 61440-65535 counter drop
\t}
}
";
    assert_eq!(text, expected);
}

#[test]
fn without_endpoints_there_is_no_table() {
    let plan = GuardPlan::new(vec!["lbdg0".into()], vec![]);
    let text = ruleset(&plan, &["lbdg0".into()]);
    assert_eq!(text, "add table netdev lbd\ndelete table netdev lbd\n");
}

#[test]
fn a_name_that_nft_cannot_be_told_is_left_out() {
    let evil = "x\" } flush ruleset #".to_owned();
    let plan = GuardPlan::new(
        vec![evil.clone()],
        vec![key("192.0.2.10", 53, Protocol::Udp)],
    );
    assert!(!ruleset(&plan, &[evil]).contains("chain"));
}

/// A client at 192.0.2.1 and 2001:db8::1, and a balancer at .5 and ::5 that has the VIPs on `lo`.
fn topology() -> Option<(Netns, Netns)> {
    if Command::new("nft").arg("--version").output().is_err() {
        println!("skipped: no `nft`; install the package nftables");
        return None;
    }
    let (client, balancer) = (Netns::new()?, Netns::new()?);
    connect(&client, &balancer);
    balancer.ip("addr add 192.0.2.10/32 dev lo");
    balancer.ip("addr add 2001:db8::10/128 dev lo");
    // Unlike ARP, neighbour discovery does not answer for an address of another interface.
    client.ip("-6 route add 2001:db8::10/128 via 2001:db8::5");
    Some((client, balancer))
}

fn connect(client: &Netns, balancer: &Netns) {
    client.ip("link add lbdg1 type veth peer name lbdg0");
    client.ip(&format!("link set lbdg0 netns {}", balancer.path()));
    for (netns, device, host) in [(client, "lbdg1", 1), (balancer, "lbdg0", 5)] {
        netns.ip(&format!("link set {device} up"));
        netns.ip(&format!("addr add 192.0.2.{host}/24 dev {device}"));
        netns.ip(&format!("addr add 2001:db8::{host}/64 dev {device} nodad"));
    }
}

fn at(vip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(vip.parse().expect("an address"), port)
}

/// How a host's stack answers a SYN or a datagram to a port where nobody listens.
fn answer(client: &Netns, to: SocketAddr, protocol: Protocol) -> ErrorKind {
    client.run(move || answer_here(to, protocol))
}

fn answer_here(to: SocketAddr, protocol: Protocol) -> ErrorKind {
    const PATIENCE: Duration = Duration::from_millis(300);
    match protocol {
        Protocol::Tcp => TcpStream::connect_timeout(&to, PATIENCE)
            .expect_err("nobody listens")
            .kind(),
        Protocol::Udp => {
            let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            let socket = UdpSocket::bind(from).expect("a socket");
            socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
            socket.connect(to).expect("a route");
            socket.send(b"hello").expect("sent");
            socket
                .recv(&mut [0; 16])
                .expect_err("nobody answers")
                .kind()
        }
    }
}

/// Waits until the way there works: address detection and neighbour discovery take their time.
fn until_refused(client: &Netns, to: SocketAddr, protocol: Protocol) {
    let since = std::time::Instant::now();
    while answer(client, to, protocol) != ErrorKind::ConnectionRefused {
        assert!(since.elapsed() < SOON, "{to} never answers");
    }
}

fn silent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::TimedOut | ErrorKind::WouldBlock)
}

#[test]
fn t4_t5_the_stack_is_silent_about_served_endpoints_only_and_stays_so() {
    let Some((client, balancer)) = topology() else {
        return;
    };
    let served = [
        (at("192.0.2.10", 443), Protocol::Tcp),
        (at("192.0.2.10", 53), Protocol::Udp),
        (at("2001:db8::10", 443), Protocol::Tcp),
    ];
    for (to, protocol) in served {
        until_refused(&client, to, protocol);
    }
    balancer.block_on(|| async { apply(&plan()).await.expect("applied") });
    // Nothing of lbd runs any more: the table alone keeps the stack silent.
    for (to, protocol) in served {
        assert!(
            silent(answer(&client, to, protocol)),
            "guarded: {to}/{protocol}"
        );
    }
    for (to, protocol) in [
        (at("192.0.2.10", 22), Protocol::Tcp),
        (at("192.0.2.10", 443), Protocol::Udp),
        (at("192.0.2.5", 443), Protocol::Tcp),
        (at("2001:db8::5", 443), Protocol::Tcp),
    ] {
        let kind = answer(&client, to, protocol);
        assert_eq!(
            kind,
            ErrorKind::ConnectionRefused,
            "not ours: {to}/{protocol}"
        );
    }
    let found = balancer.block_on(|| async {
        let would = cleanup(true).await.expect("looked");
        assert_eq!(cleanup(false).await.expect("cleaned"), would);
        assert!(cleanup(true).await.expect("looked").is_empty());
        remove().await.expect("nothing to remove is no error");
        would
    });
    assert_eq!(found.len(), 1);
    for (to, protocol) in served {
        assert_eq!(
            answer(&client, to, protocol),
            ErrorKind::ConnectionRefused,
            "after: {to}"
        );
    }
}

#[test]
fn t4_replacing_the_table_leaves_no_gap() {
    let Some((client, balancer)) = topology() else {
        return;
    };
    balancer.block_on(|| async { apply(&plan()).await.expect("applied") });
    let done = Arc::new(AtomicBool::new(false));
    let over = done.clone();
    let asking = std::thread::spawn(move || {
        client.run(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.connect("192.0.2.10:53").expect("a route");
            let (mut sent, mut refused) = (0u32, 0u32);
            while !over.load(Ordering::Relaxed) {
                // A port unreachable comes back as an error of the next call.
                match socket.send(b"hello") {
                    Ok(_) => sent += 1,
                    Err(_) => refused += 1,
                }
            }
            (sent, refused)
        })
    });
    balancer.block_on(|| async {
        for port in 1000..1030 {
            let mut endpoints = plan().endpoints;
            endpoints.push(key("192.0.2.11", port, Protocol::Tcp));
            apply(&GuardPlan::new(plan().interfaces, endpoints))
                .await
                .expect("applied");
        }
    });
    done.store(true, Ordering::Relaxed);
    let (sent, refused) = asking.join().expect("no panic");
    assert!(sent > 10_000, "sent {sent}");
    assert_eq!(refused, 0, "of {sent}");
}

#[test]
fn refusals_are_words() {
    let Some(netns) = Netns::new() else { return };
    let error = netns.block_on(|| async {
        nft::load("table netdev lbd { nonsense\n}\n")
            .await
            .expect_err("nonsense")
    });
    if !matches!(error, NftError::Missing) {
        assert!(error.to_string().contains("syntax error"), "{error}");
        assert!(!error.to_string().contains('\n'), "{error}");
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

async fn until(state: &mut channel::Receiver<GuardState>, is_so: impl FnMut(&GuardState) -> bool) {
    timeout(SOON, state.wait_for(is_so))
        .await
        .expect("in time")
        .expect("still told");
}

async fn listed(is_so: impl Fn(Option<&str>) -> bool) -> Duration {
    let since = Instant::now();
    loop {
        let listing = TABLE.list().await.expect("listed");
        if is_so(listing.as_deref()) {
            return since.elapsed();
        }
        assert!(since.elapsed() < SOON, "not in time: {listing:?}");
        tokio::task::yield_now().await;
    }
}

#[test]
fn what_other_tools_take_away_comes_back_at_once_and_once() {
    let Some((_client, balancer)) = topology() else {
        return;
    };
    balancer.block_on(|| async {
        let (plan_out, plan_in) = channel::channel(Arc::new(plan()));
        let (_links, links) = channel::channel(Arc::<Vec<Link>>::default());
        let (state, mut told) = channel::channel(GuardState::default());
        let (events, mut heard) = mpsc::channel(16);
        let task = tokio::spawn(run(plan_in, links, state, events));
        until(&mut told, |s| s.in_force.as_deref() == Some(&plan())).await;

        let elsewhere = "add table ip lbd";
        nft_here(elsewhere);
        for attack in [
            "flush ruleset",
            "delete table netdev lbd",
            "flush chain netdev lbd ingress0",
            "delete element netdev lbd served4 { 192.0.2.10 . tcp . 443 }",
            "add rule netdev lbd ingress0 accept",
        ] {
            nft_here(attack);
            let took = listed(|l| {
                l.is_some_and(|l| {
                    l.contains("192.0.2.10 . tcp . 443")
                        && l.matches("counter drop").count() == 4
                        && !l.lines().any(|line| line.trim() == "accept")
                })
            })
            .await;
            println!("`nft {attack}` undone in {took:?}");
            assert!(took < Duration::from_millis(800), "{attack}: {took:?}");
            let event = timeout(SOON, heard.recv()).await.expect("in time");
            assert!(
                matches!(event, Some(Event::Restored { kind: "nft" })),
                "{attack}: {event:?}"
            );
        }

        // A change of our own is no attack: the removal below ends with not one event more.
        let mut more = plan();
        more.endpoints.push(key("192.0.2.10", 8443, Protocol::Tcp));
        let more = Arc::new(more);
        plan_out.send_replace(more.clone());
        until(&mut told, |s| s.in_force.as_ref() == Some(&more)).await;
        plan_out.send_replace(Arc::default());
        until(&mut told, |s| {
            s.in_force.as_ref().is_some_and(|p| p.endpoints.is_empty())
        })
        .await;
        listed(|l| l.is_none()).await;
        drop(plan_out);
        timeout(SOON, task)
            .await
            .expect("ends without plans")
            .expect("no panic");
        assert!(heard.recv().await.is_none());
    });
}

#[test]
fn t58_an_interface_made_anew_is_guarded_again() {
    let Some((client, balancer)) = topology() else {
        return;
    };
    balancer.block_on(|| async { apply(&plan()).await.expect("applied") });
    let to = at("192.0.2.10", 443);
    assert!(silent(answer(&client, to, Protocol::Tcp)));
    client.ip("link del lbdg1");

    // The next lbd finds a table whose device is gone, and an interface that comes later.
    let (plan_out, plan_in) = channel::channel(Arc::new(plan()));
    let (state, mut told) = channel::channel(GuardState::default());
    let (links_out, links) = channel::channel(Arc::<Vec<Link>>::default());
    let (events, _heard) = mpsc::channel(16);
    let client = balancer.block_on(move || async move {
        let task = tokio::spawn(run(plan_in, links, state, events));
        until(&mut told, |s| s.in_force.is_some()).await;
        ip("link add lbdg0 type veth peer name lbdg1");
        ip(&format!("link set lbdg1 netns {}", client.path()));
        for (netns, device, host) in [(Some(&client), "lbdg1", 1), (None, "lbdg0", 5)] {
            let ip = |args: &str| netns.map_or_else(|| ip(args), |netns| netns.ip(args));
            ip(&format!("link set {device} up"));
            ip(&format!("addr add 192.0.2.{host}/24 dev {device}"));
        }
        links_out.send_replace(Arc::default());
        listed(|l| l.is_some_and(|l| l.contains("device \"lbdg0\""))).await;
        drop(plan_out);
        timeout(SOON, task).await.expect("ends").expect("no panic");
        client
    });
    assert!(silent(answer(&client, to, Protocol::Tcp)));
}
