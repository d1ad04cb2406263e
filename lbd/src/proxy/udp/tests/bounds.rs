//! How many sessions there may be, floods, and what a datagram takes.

use super::*;

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
#[ignore = "a measurement: cargo test -p lbd --lib udp::tests::bounds::figures -- --ignored --nocapture"]
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
