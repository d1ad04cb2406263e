//! Bounds of the transparent proxy: connections, descriptors, memory, patience.

use integration::client::{curl, request, spread};
use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::crowd::{Crowd, Habit};
use integration::dial::{self, End, dial, echo, echo_over, read_to_end};
use integration::netns::NetnsHandle;
use integration::sockets;
use integration::stage::{RoutedStage, proxied, vip};
use integration::wait::wait_for;
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);

/// Connects and asks for an echo, and sees that no answer comes.
fn waiting(client: &NetnsHandle) -> TcpStream {
    let mut stream = dial(client, vip()).expect("the kernel takes it");
    stream.write_all(b"ECHO\n").expect("sent");
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .expect("set");
    let error = stream.read(&mut [0]).expect_err("no room, no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream
}

/// The answer that one of [`waiting`] gets when there is room.
fn is_served(stream: &mut TcpStream) -> Duration {
    let start = Instant::now();
    dial::read_line(stream).expect("an answer at last");
    start.elapsed()
}

#[test]
fn a_full_service_lets_clients_wait() {
    isolated(|| {
        let conf = Conf::one(proxied(2).proxy("max_connections", "3"));
        let stage = RoutedStage::new(2, &conf);
        let mut held: Vec<_> = (0..3)
            .map(|_| echo(&stage.client(), vip()).expect("an echo"))
            .collect();
        let (mut fourth, mut fifth) = (waiting(&stage.client()), waiting(&stage.client()));
        assert_eq!(stage.open(), 3.0);
        for (stream, _) in &mut held {
            dial::round(stream).expect("those inside are served");
        }
        drop(held.pop());
        drop(held.pop());
        let took = is_served(&mut fourth).max(is_served(&mut fifth));
        figure(
            "served after room was made, max_connections of a service",
            format!("{took:.1?}"),
        );
        assert!(took < Duration::from_secs(1), "{took:?}");
        // A higher bound, by reload, lets the next in at once.
        let mut sixth = waiting(&stage.client());
        stage
            .lbd
            .reload(&Conf::one(proxied(2).proxy("max_connections", "10")));
        is_served(&mut sixth);
        assert_eq!(stage.open(), 4.0);
    });
}

#[test]
fn full_reals_let_clients_wait() {
    isolated(|| {
        let mut service = proxied(2);
        for real in &mut service.reals {
            *real = real.clone().with("max_connections", "1");
        }
        let stage = RoutedStage::new(2, &Conf::one(service));
        let held = [(); 2].map(|()| echo(&stage.client(), vip()).expect("an echo"));
        assert_ne!(held[0].1.server, held[1].1.server, "one each");
        let mut third = waiting(&stage.client());
        let [first, second] = held;
        drop(first);
        let took = is_served(&mut third);
        assert!(took < Duration::from_secs(1), "{took:?}");
        drop((second, third));
        stage.wait_open(0, SOON);
        stage.wait_ended("ok", 3);
    });
}

#[test]
fn nobody_alive_refuses_at_once() {
    isolated(|| {
        let service = proxied(2).with("min_healthy", "0").check(FAST_TCP_CHECK);
        let mut stage = RoutedStage::new(2, &Conf::one(service));
        for server in &mut stage.servers {
            server.stop();
        }
        for real in ["rs1", "rs2"] {
            stage.lbd.wait_real("web", real, "down", SOON);
        }
        let (end, took) = dial::refused(&stage.client(), vip()).expect("nobody serves");
        assert_eq!(end, End::Reset);
        assert!(took < Duration::from_millis(200), "{took:?}");
        stage.wait_ended("no_real", 1);
        stage.serve(2);
        stage.lbd.wait_real("web", "rs2", "up", SOON);
        assert_eq!(request(&stage.net.cl, vip()).expect("served").server, "rs2");
    });
}

#[test]
fn a_silent_real_costs_the_connect_timeout_and_no_client() {
    isolated(|| {
        let service = proxied(2).proxy("connect_timeout", "\"300ms\"");
        let stage = RoutedStage::new(2, &Conf::one(service.clone()));
        stage.net.reals[0].nft(
            "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in tcp dport 8080 drop",
        );
        let clock = FairClock::start();
        let answers = curl(&stage.net.cl, vip(), 40);
        let took = clock.elapsed();
        assert_eq!(spread(&answers)["rs2"], 40);
        // Ten at a time, and each second one has met the silent one first.
        assert!(took < 8 * Duration::from_millis(300), "{took:?}");
        let alone = Conf::one(service);
        let mut alone_conf = alone.clone();
        alone_conf.services[0].reals.truncate(1);
        stage.lbd.reload(&alone_conf);
        let clock = FairClock::start();
        let (end, took) = dial::refused(&stage.client(), vip()).expect("nobody serves");
        let fair = clock.elapsed();
        assert_eq!(end, End::Reset);
        assert!(took >= Duration::from_millis(300), "{took:?}");
        assert!(fair < Duration::from_millis(900), "{fair:?}");
        stage.wait_ended("connect_timeout", 1);
        // A client that is gone holds nothing for longer than a real may be silent.
        let stream = dial(&stage.client(), vip()).expect("taken");
        let begun = FairClock::start();
        dial::reset(stream);
        stage.wait_ended("connect_timeout", 2);
        assert!(begun.elapsed() < Duration::from_secs(2));
        // An end is counted a moment before its sockets close.
        let left = || sockets::alive(&sockets::tcp(&stage.net.lb.handle())).len();
        wait_until("no socket is left", SOON, || left() == 0);
    });
}

/// p99 and longest of `count` requests one after the other.
fn latency(stage: &RoutedStage, count: usize) -> (Duration, Duration) {
    let mut times: Vec<Duration> = stage.net.cl.run(|| {
        let one = |_| {
            let start = Instant::now();
            let mut stream = dial::dial_here(None, vip()).expect("a connection");
            stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("sent");
            let (end, bytes) = read_to_end(&mut stream);
            assert!(
                end == End::Closed && bytes > 20,
                "{end:?} after {bytes} bytes"
            );
            start.elapsed()
        };
        (0..count).map(one).collect()
    });
    times.sort();
    (times[count * 99 / 100], times[count - 1])
}

#[test]
fn t40_slow_clients_cost_little_and_hold_up_nobody() {
    isolated_within(Duration::from_secs(180), || {
        const IDLE: Duration = Duration::from_secs(20);
        let conf = Conf::one(proxied(2).with("idle_timeout", "\"20s\""));
        let stage = RoutedStage::new(2, &conf);
        // Three hosts share this kernel, and the bound on all its TCP memory: without smaller bounds
        // a thousand never-readers drive it there, and what is measured is the kernel's own stinting.
        let reals = stage.net.reals.iter();
        for host in reals.chain([&stage.net.cl, &stage.net.lb]) {
            for key in ["ipv4.tcp_rmem", "ipv4.tcp_wmem"] {
                host.sysctl(key, "4096 65536 131072");
            }
        }
        latency(&stage, 200);
        stage.wait_open(0, SOON);
        let before = stage.lbd.resident_kib();
        let habits = [
            (Habit::Silent, 2_000),
            (Habit::HalfClosed, 1_000),
            (Habit::Trickle, 1_000),
            (Habit::NeverReads, 1_000),
        ];
        let crowds =
            habits.map(|(habit, count)| Crowd::gather(&stage.client(), vip(), habit, count));
        let begun = Instant::now();
        wait_until("all are connected", SOON, || stage.open() >= 4_900.0);
        // What never-readers asked for fills the buffers on the way; then it stands.
        let moved = || stage.lbd.metrics().value("lbd_proxy_bytes_total", &[]);
        let (mut last, mut since) = (moved(), Instant::now());
        wait_until("the never-readers' buffers are full", 4 * SOON, || {
            let now = moved();
            if now - last > 1e6 {
                (last, since) = (now, Instant::now());
            }
            since.elapsed() > Duration::from_secs(3)
        });
        let (p99, longest) = latency(&stage, 300);
        let grown = stage.lbd.resident_kib().saturating_sub(before);
        figure(
            "T40 5,000 slow connections: KiB of memory each; a good client's p99, longest",
            format!("{:.1}; {p99:.1?}, {longest:.1?}", grown as f64 / 5_000.0),
        );
        assert!(grown <= 5_000 * 64, "{grown} KiB for 5,000 connections");
        assert!(p99 < Duration::from_millis(100), "p99 {p99:?}");
        // Those who say nothing are ended; those who trickle are not.
        // Buffers of never-readers may still move a little now and then, which is no silence.
        wait_until("the silent ones are ended", 4 * IDLE, || {
            stage.open() <= 1_000.0
        });
        let took = begun.elapsed();
        figure(
            "T40 the silent ones, with an idle timeout of 20 s, are gone after",
            format!("{took:.1?}"),
        );
        assert_eq!(stage.open(), 1_000.0);
        assert_eq!(
            crowds[2].broken(),
            0,
            "who sends a byte now and then is no idler"
        );
        drop(crowds);
        stage.wait_open(0, 2 * SOON);
        let left = || sockets::alive(&sockets::tcp(&stage.net.lb.handle())).len();
        wait_until("no socket is left", 2 * SOON, || left() == 0);
    });
}

/// `GET /v1/status` over the control socket, as curl does it.
fn control_reply(socket: &Path) -> Duration {
    let start = Instant::now();
    let mut stream = UnixStream::connect(socket).expect("the control socket");
    stream.set_read_timeout(Some(SOON)).expect("set");
    stream
        .write_all(b"GET /v1/status HTTP/1.1\r\nHost: lbd\r\nConnection: close\r\n\r\n")
        .expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    start.elapsed()
}

#[test]
fn t41_out_of_descriptors_clients_wait_and_all_else_works() {
    isolated_within(Duration::from_secs(120), || {
        let service = proxied(2).check(FAST_TCP_CHECK);
        let mut stage = RoutedStage::before_lbd(2, &Conf::one(service));
        stage.lbd.limit_descriptors(1_024);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let passed = |stage: &RoutedStage| {
            let labels = [("result", "pass")];
            stage
                .lbd
                .metrics()
                .value("lbd_check_results_total", &labels)
        };
        for real in ["rs1", "rs2"] {
            stage.lbd.wait_real("web", real, "up", SOON);
        }
        let crowd = Crowd::gather(&stage.client(), vip(), Habit::Silent, 2_000);
        // Two descriptors each, and some for everything else.
        let (inside, _) = wait_for("lbd has taken what it can", SOON, || {
            let open = stage.open();
            (open >= 350.0).then_some(open)
        });
        assert!(inside < 512.0, "{inside}");
        let (passed_before, cpu_before, begun) =
            (passed(&stage), stage.lbd.processor_time(), Instant::now());
        let mut slowest = Duration::ZERO;
        while begun.elapsed() < Duration::from_secs(4) {
            slowest = slowest.max(control_reply(&stage.lbd.socket_path()));
            for real in ["rs1", "rs2"] {
                assert_eq!(stage.lbd.real("web", real)["state"], "up");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let cpu =
            (stage.lbd.processor_time() - cpu_before).as_secs_f64() / begun.elapsed().as_secs_f64();
        let checks = passed(&stage) - passed_before;
        figure(
            "T41 NOFILE 1,024 and 2,000 clients: connections inside, CPU, slowest control reply, checks passed",
            format!("{inside}, {:.1} %, {slowest:.1?}, {checks}", cpu * 100.0),
        );
        assert!(cpu <= 0.20, "{:.1} % CPU", cpu * 100.0);
        assert!(slowest < Duration::from_millis(100), "{slowest:?}");
        assert!(checks >= 20.0, "{checks}");
        assert!(stage.lbd.descriptors().len() <= 1_024);
        drop(crowd);
        let start = FairClock::start();
        let stream = dial(&stage.client(), vip()).expect("connected");
        echo_over(stream).expect("served");
        let recovered = start.elapsed();
        figure("T41 served again after", format!("{recovered:.1?}"));
        assert!(recovered <= Duration::from_secs(1), "{recovered:?}");
        assert_eq!(curl(&stage.net.cl, vip(), 100).len(), 100);
    });
}
