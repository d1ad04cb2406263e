//! Clients, the proxy and reals, each in a namespace of their own: nothing of a client's address is
//! the proxy's.

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

#[test]
fn t36_the_real_sees_the_client_and_the_client_the_vip() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        let longest = if from.contains(':') { 65_487 } else { 65_507 };
        for length in [0, 1, 1200, 1472, 9000, longest] {
            let sent: Vec<u8> = (0..length).map(|n| (n * 7) as u8).collect();
            client.send(&sent).expect("sent");
            let (got, seen) = receive(&real);
            assert_eq!(seen, at(from, 40_000), "the client's own address and port");
            assert!(got == sent, "{length} bytes to the real");
            real.send_to(&sent, seen).expect("sent");
            let (got, seen) = receive(&client);
            assert_eq!(seen, at(vip, 53));
            assert!(got == sent, "{length} bytes to the client");
        }
        let rows = bed.list();
        assert_eq!(rows.len(), 1);
        let row = &rows[0];
        assert_eq!(row.client, at(from, 40_000));
        assert_eq!(row.server, Some(at(reals[0], 53)));
        assert_eq!(row.state, "established");
        let bytes = 1 + 1200 + 1472 + 9000 + longest as u64;
        assert!(until(|| bed.list()[0].bytes_out == bytes), "{row:?}");
        assert_eq!(bed.list()[0].bytes_in, bytes);
        accounts_close(&bed);
        assert_eq!(way(&bed, Way::ToReal), (6, 6, 0, 0));
        assert_eq!(way(&bed, Way::ToClient), (6, 6, 0, 0));
    }
}

#[test]
fn what_comes_as_one_goes_as_one_and_arrives_in_order() {
    let Some(net) = net() else {
        return;
    };
    for proxy in ["", "send_proxy = \"v2\""] {
        let (vip, from, reals) = V4;
        let bed = bed(&net, 1, 1000, toml(vip, "", proxy, &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        let bytes: Vec<u8> = (0..50u8).flat_map(|n| vec![n; 1000]).collect();
        let joined = Outgoing {
            to: None,
            head: &[],
            bytes: &bytes,
            segment: 1000,
        };
        let mut outbox = Outbox::default();
        outbox.send(client.as_fd(), std::iter::once(joined), |refused| {
            panic!("{refused:?}")
        });
        for n in 0..50u8 {
            let (got, seen) = receive(&real);
            let payload = match proxyproto::read(&got, lbcore::net::Protocol::Udp) {
                Ok(Reading::Done { header_len, told }) if !proxy.is_empty() => {
                    let says = Told::Addresses {
                        client: at(from, 40_000),
                        destination: at(vip, 53),
                    };
                    assert_eq!(told, says);
                    &got[header_len..]
                }
                _ => &got[..],
            };
            assert!(payload == vec![n; 1000], "datagram {n}: {payload:?}");
            real.send_to(payload, seen).expect("sent");
        }
        for n in 0..50u8 {
            assert!(receive(&client).0 == vec![n; 1000], "answer {n}");
        }
        accounts_close(&bed);
        assert_eq!(way(&bed, Way::ToReal).1, 50);
        assert_eq!(way(&bed, Way::ToClient).1, 50);
    }
}

#[test]
fn our_own_address_where_that_is_wanted_and_another_port_where_the_clients_is_taken() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let own = "source = \"self\"";
        let bed_of_own = bed(&net, 1, 1000, toml(vip, "", own, &reals[..1]));
        let real = socket(&net.reals, at(reals[0], 53));
        let client = client(&net, at(from, 40_000), vip);
        client.send(b"who").expect("sent");
        let (_, seen) = receive(&real);
        let ours: [IpAddr; 2] = ["172.16.2.1", "fd00:2::1"].map(|a| a.parse().expect("an address"));
        assert!(ours.contains(&seen.ip()), "{seen}");
        drop(bed_of_own);

        let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
        let _taken = net.lb.run(move || {
            crate::sys::transparent::udp_from(at(from, 40_000)).expect("nobody has it yet")
        });
        client.send(b"who").expect("sent");
        let (_, seen) = receive(&real);
        assert_eq!(seen.ip(), at(from, 0).ip());
        assert_ne!(seen.port(), 40_000);
        real.send_to(b"you", seen).expect("sent");
        assert_eq!(receive(&client).0, b"you");
        accounts_close(&bed);
    }
}

#[test]
fn t36_a_real_that_refuses_is_heard_by_the_client() {
    let Some(net) = net() else {
        return;
    };
    for (vip, from, reals) in FAMILIES {
        let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
        let client = client(&net, at(from, 40_000), vip);
        is_refused(&client);
        assert!(until(|| bed.ended(Outcome::ConnectFailed) > 0));
        // A server that comes back is found at once, and one that goes again is told of, too.
        let real = socket(&net.reals, at(reals[0], 53));
        client.send(b"now?").expect("sent");
        let (_, seen) = receive(&real);
        real.send_to(b"yes", seen).expect("sent");
        assert_eq!(receive(&client).0, b"yes");
        drop(real);
        is_refused(&client);
        bed.wait_ended(Outcome::RealReset, 1);
        bed.wait_empty();
        accounts_close(&bed);
    }
}

/// The kernel tells the refusal first, whatever was answered before it.
#[test]
fn what_a_real_answered_before_it_refused_arrives() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
    let client = client(&net, at(from, 40_000), vip);
    for round in 1..=50 {
        let real = socket(&net.reals, at(reals[0], 53));
        client.send(b"first").expect("sent");
        let (_, seen) = receive(&real);
        real.send_to(b"last words", seen).expect("sent");
        drop(real);
        // The refusal may be told to this socket's next call, whichever that is.
        let _ = client.send(b"second");
        let mut room = [0; 16];
        let heard = until(|| {
            client
                .recv(&mut room)
                .is_ok_and(|n| &room[..n] == b"last words")
        });
        assert!(heard, "round {round}");
        is_refused(&client);
    }
    accounts_close(&bed);
}

#[test]
fn refusals_are_so_many_a_second() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let bed = bed(&net, 1, 2000, toml(vip, "", "", &reals[..1]));
    // The reals' host itself sends so many only; here it is to say all.
    net.reals.run(|| {
        for key in ["icmp_ratelimit", "icmp_ratemask"] {
            std::fs::write(format!("/proc/sys/net/ipv4/{key}"), "0").expect("this namespace's");
        }
    });
    let clients: Vec<_> = (0..600u16)
        .map(|n| client(&net, at(from, 20_000 + n), vip))
        .collect();
    let begun = Instant::now();
    // As many at once as a socket's buffer holds.
    for (nth, crowd) in (1..).zip(clients.chunks(100)) {
        for client in crowd {
            client.send(b"anybody?").expect("sent");
        }
        bed.wait_ended(Outcome::ConnectFailed, nth * 100);
    }
    let seconds = begun.elapsed().as_secs() as usize + 2;
    let told = |client: &&UdpSocket| {
        client.set_nonblocking(true).expect("set");
        let error = client.recv(&mut [0; 16]).expect_err("nobody");
        error.kind() == ErrorKind::ConnectionRefused
    };
    let heard = clients.iter().filter(told).count();
    assert!(
        heard > 0 && heard <= 200 * seconds,
        "{heard} in {seconds} s"
    );
}

#[test]
fn sessions_end_when_silent_and_leave_nothing() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let extra = "idle_timeout = \"2s\"";
    let bed = bed(&net, 2, 1000, toml(vip, extra, "", &reals));
    let real = reals.map(|real| socket(&net.reals, at(real, 53)));
    for n in 0..20 {
        let client = client(&net, at(from, 40_000 + n), vip);
        client.send(b"once").expect("sent");
    }
    for real in &real {
        for _ in 0..10 {
            receive(real);
        }
    }
    assert_eq!(bed.list().len(), 20, "rr: ten each");
    bed.wait_ended(Outcome::Idle, 20);
    bed.wait_empty();
    accounts_close(&bed);
}

#[test]
fn sessions_of_a_dead_real_go_to_another_or_nowhere() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    for on_dead in ["rehash", "drop", "keep"] {
        let extra = format!("dead_grace = \"0s\"\non_dead = \"{on_dead}\"");
        let mut bed = bed(&net, 1, 1000, toml(vip, &extra, "", &reals));
        let real = reals.map(|real| socket(&net.reals, at(real, 53)));
        let client = client(&net, at(from, 40_000), vip);
        client.send(b"first").expect("sent");
        assert!(until(|| bed.list().len() == 1));
        let first = bed.list()[0].server.expect("dialled");
        let (mine, other) = if first == at(reals[0], 53) {
            (0, 1)
        } else {
            (1, 0)
        };
        receive(&real[mine]);
        bed.down(reals[mine]);
        match on_dead {
            "rehash" => {
                bed.wait_ended(Outcome::RealGone, 1);
                client.send(b"second").expect("sent");
                assert_eq!(
                    receive(&real[other]),
                    (b"second".to_vec(), at(from, 40_000))
                );
            }
            "drop" => {
                client.send(b"second").expect("sent");
                assert!(until(|| drops(&bed, DatagramDrop::DeadReal) == 1));
            }
            _ => {
                client.send(b"second").expect("sent");
                assert_eq!(receive(&real[mine]).0, b"second");
            }
        }
        accounts_close(&bed);
    }
}

#[test]
fn a_reload_keeps_sessions_and_a_removed_service_ends_them() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let mut bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
    let real = socket(&net.reals, at(reals[0], 53));
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"first").expect("sent");
    let (_, seen) = receive(&real);
    bed.reload(&toml(vip, "idle_timeout = \"1m\"", "", &reals));
    real.send_to(b"late", seen).expect("sent");
    assert_eq!(receive(&client).0, b"late");
    client.send(b"second").expect("sent");
    assert_eq!(receive(&real).0, b"second");
    assert_eq!(bed.ended(Outcome::RealGone), 0);
    let other = toml("192.0.2.11", "", "", &reals);
    bed.reload(&other.replace("\"dns\"", "\"other\""));
    bed.wait_empty();
    accounts_close(&bed);
}

#[test]
fn bounds_hold_for_services_reals_and_sources() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let real = reals.map(|real| socket(&net.reals, at(real, 53)));
    let ask = |port: u16, from: &str| {
        let client = client(&net, at(from, port), vip);
        client.send(b"ask").expect("sent");
        client
    };
    // A newcomer makes room for another.
    for (n, extra, proxy) in [(0, "", "max_connections = 2"), (10, "# one each", "")] {
        let bed = bed(&net, 1, 1000, toml(vip, extra, proxy, &reals));
        let _clients = [1001, 1002, 1003].map(|port| ask(port + n, from));
        bed.wait_ended(Outcome::Evicted, 1);
        assert_eq!(bed.list().len(), 2, "{proxy}{extra}");
        accounts_close(&bed);
    }
    // The same with sessions that are in use: the newcomer is refused.
    let proxy = "max_connections = 2";
    let full = bed(&net, 1, 1000, toml(vip, "", proxy, &reals[..1]));
    for socket in &real {
        socket.set_nonblocking(true).expect("set");
        while socket.recv(&mut [0; 16]).is_ok() {}
        socket.set_nonblocking(false).expect("set");
    }
    let clients = [ask(1021, from), ask(1022, from)];
    for _ in 0..2 {
        let (_, seen) = receive(&real[0]);
        real[0].send_to(b"answer", seen).expect("sent");
    }
    for client in &clients {
        receive(client);
        client.send(b"again").expect("sent");
        receive(&real[0]);
    }
    let _refused = ask(1023, from);
    assert!(until(|| drops(&full, DatagramDrop::Full) == 1));
    assert_eq!(full.ended(Outcome::Full), 1);
    assert_eq!(full.list().len(), 2);
    accounts_close(&full);
    drop(full);

    let proxy = "max_connections_per_source = 1";
    let sources = bed(&net, 2, 1000, toml(vip, "", proxy, &reals[..1]));
    let _clients = [ask(1031, from), ask(1032, from), ask(1033, "198.51.100.8")];
    assert!(until(|| drops(&sources, DatagramDrop::PerSource) == 1));
    assert!(until(|| sources.list().len() == 2));
    accounts_close(&sources);
}

/// An echo server on `socket` until told to stop.
fn echo(socket: UdpSocket, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<()> {
    socket
        .set_read_timeout(Some(Duration::from_millis(20)))
        .expect("set");
    crate::sys::datagrams::set_queue(socket.as_fd(), 16 << 20).expect("set");
    std::thread::spawn(move || {
        let (mut inbox, mut outbox) = (Inbox::default(), Outbox::default());
        while !stop.load(SeqCst) {
            // Waits for the first, then takes what is there.
            let mut first = [0; 2048];
            let Ok((length, from)) = socket.recv_from(&mut first) else {
                continue;
            };
            let _ = socket.send_to(&first[..length], from);
            while let Ok(count) = inbox.receive(socket.as_fd()) {
                let answers = (0..count).map(|at| Outgoing {
                    to: inbox.get(at).from,
                    head: &[],
                    bytes: inbox.get(at).bytes,
                    segment: 0,
                });
                outbox.send(socket.as_fd(), answers, |_| {});
            }
        }
    })
}

/// One datagram from `source` to `to` with an IP header of its own.
fn spoofed(source: [u8; 4], port: u16, to: [u8; 4]) -> [u8; 32] {
    let mut packet = [0; 32];
    packet[..20].copy_from_slice(&[
        0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    packet[12..16].copy_from_slice(&source);
    packet[16..20].copy_from_slice(&to);
    packet[20..22].copy_from_slice(&port.to_be_bytes());
    packet[22..24].copy_from_slice(&53u16.to_be_bytes());
    packet[25] = 12;
    packet
}

/// T42: 100,000 strangers with one datagram each, 100 clients that go on.
#[test]
fn t42_a_flood_of_strangers_costs_no_client_a_datagram() {
    const STRANGERS: u32 = 100_000;
    let Some(net) = net() else {
        return;
    };
    let (vip, _, reals) = V4;
    let extra = "idle_timeout = \"30s\"";
    let bed = bed(&net, 2, 4000, toml(vip, extra, "", &reals[..1]));
    let stop = Arc::new(AtomicBool::new(false));
    let server = echo(socket(&net.reals, at(reals[0], 53)), stop.clone());
    let clients: Vec<_> = (0..100u16)
        .map(|n| client(&net, at("198.51.100.7", 30_000 + n), vip))
        .collect();
    let round = |n: u32| {
        for client in &clients {
            client.send(&n.to_be_bytes()).expect("sent");
        }
        for (who, client) in clients.iter().enumerate() {
            assert_eq!(receive(client).0, n.to_be_bytes(), "client {who}");
        }
    };
    (0..2).for_each(round);
    let flood = net
        .clients
        .run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(255))));
    let flood = flood.expect("a raw socket");
    let mut rounds = 2;
    for n in 0..STRANGERS {
        let source = [198, 51, (n / 250) as u8, (n % 250) as u8 + 1];
        let packet = spoofed(source, 1024 + (n / 62_500) as u16, [192, 0, 2, 10]);
        let sent = flood.send_to(&packet, &at(vip, 53).into());
        assert!(sent.is_ok(), "{sent:?}");
        if n % 1000 == 999 {
            round(rounds);
            rounds += 1;
        }
    }
    let (received, .., lost) = way(&bed, Way::ToReal);
    println!(
        "{received} received, {lost} lost, {} of strangers dropped as a flood, {} evicted",
        drops(&bed, DatagramDrop::Flood),
        bed.ended(Outcome::Evicted),
    );
    assert_eq!(
        u64::from(rounds) * 100 + u64::from(STRANGERS),
        received + lost
    );
    assert!(bed.list().len() <= 3000, "{}", bed.list().len());
    assert_eq!(
        bed.list()
            .iter()
            .filter(|row| row.state == "established")
            .count(),
        100
    );
    accounts_close(&bed);
    stop.store(true, SeqCst);
    server.join().expect("no panic");
}

/// T42: what a session takes of the process's memory; the end-to-end test counts on it.
#[test]
fn t42_a_session_takes_192_bytes() {
    let held = Sessions::<SessionKey, Session>::BYTES;
    assert!(held <= 192, "{held} bytes");
}

#[test]
fn a_socket_that_cannot_be_had_is_named_and_tried_again() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let taken = net.lb.run(move || {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).expect("a socket");
        socket.set_ip_transparent_v4(true).expect("set");
        socket.bind(&at(vip, 53).into()).expect("bound");
        socket
    });
    let bed = bed(&net, 2, 1000, toml(vip, "", "", &reals[..1]));
    let trouble = bed.state.borrow().trouble.clone();
    assert_eq!(trouble.len(), 1, "{trouble:?}");
    assert!(
        trouble[0].starts_with("192.0.2.10:53/udp: Address already in use"),
        "{trouble:?}"
    );
    drop(taken);
    assert!(until(|| bed.state.borrow().trouble.is_empty()));
    let real = socket(&net.reals, at(reals[0], 53));
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"now").expect("sent");
    assert_eq!(receive(&real).0, b"now");
}

#[test]
fn nobody_serves_and_nobody_is_asked() {
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let mut bed = bed(&net, 1, 1000, toml(vip, "min_healthy = 0", "", &reals[..1]));
    bed.down(reals[0]);
    let client = client(&net, at(from, 40_000), vip);
    client.send(b"anybody?").expect("sent");
    assert!(until(|| drops(&bed, DatagramDrop::NoReal) == 1));
    assert_eq!(bed.ended(Outcome::NoReal), 1);
    bed.wait_empty();
    accounts_close(&bed);
}

/// Processor time of the threads called `lbd-p0`, in nanoseconds: not of others' workers, so this
/// runs alone.
fn worker_time() -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let time = |task: std::path::PathBuf| {
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        let times = std::fs::read_to_string(task.join("schedstat")).ok()?;
        let first = times.split(' ').next()?.parse::<u64>().ok()?;
        (name.trim() == "lbd-p0").then_some(first)
    };
    tasks.filter_map(|task| time(task.ok()?.path())).sum()
}

#[test]
#[ignore = "a measurement: cargo test -p lbd --lib udp::tests::figures -- --ignored --nocapture"]
fn figures() {
    const ROUNDS: u64 = 4000;
    const EACH: usize = 32;
    let Some(net) = net() else {
        return;
    };
    let (vip, from, reals) = V4;
    let bed = bed(&net, 1, 1000, toml(vip, "", "", &reals[..1]));
    let _real = socket(&net.reals, at(reals[0], 53));
    let client = client(&net, at(from, 40_000), vip);
    let bytes = vec![7; EACH * 1200];
    let mut outbox = Outbox::default();
    for (name, joined) in [("alone", false), ("joined", true)] {
        let (before, begun) = (worker_time(), way(&bed, Way::ToReal).0);
        for round in 1..=ROUNDS {
            let one = |bytes, segment| Outgoing {
                to: None,
                head: &[],
                bytes,
                segment,
            };
            let refused = |refused| panic!("{refused:?}");
            if joined {
                outbox.send(client.as_fd(), std::iter::once(one(&bytes, 1200)), refused);
            } else {
                let each = bytes.chunks(1200).map(|bytes| one(bytes, 0));
                outbox.send(client.as_fd(), each, refused);
            }
            while way(&bed, Way::ToReal).1 < begun + round * EACH as u64 {
                std::thread::yield_now();
            }
        }
        let each = (worker_time() - before) / (ROUNDS * EACH as u64);
        println!("figure: udp, 1200 bytes, {name}: {each} ns of a worker's time a datagram");
    }
}
