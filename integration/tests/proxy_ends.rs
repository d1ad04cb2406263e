//! How proxied connections end, in every order of ends and resets; nothing is left behind.

use integration::client::Identity;
use integration::conf::Conf;
use integration::dial::{self, End, dial, echo, read_line, reset};
use integration::real_server::RealServer;
use integration::sockets::{self, State};
use integration::stage::{RoutedStage, proxied, proxied6, vip, vip6};
use integration::storm::{Storm, storm};
use integration::{figure, isolated, isolated_within, wait_until};
use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

fn resets(stage: &RoutedStage) -> u64 {
    stage.servers.iter().map(RealServer::resets).sum()
}

fn open(stage: &RoutedStage) -> u64 {
    stage.servers.iter().map(RealServer::open).sum()
}

/// Sockets at lbd's host that belong to connections, dead or alive.
fn left(stage: &RoutedStage) -> usize {
    sockets::alive(&sockets::tcp(&stage.net.lb.handle())).len()
}

#[test]
fn t43_a_reset_is_mirrored_either_way() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2)).service(proxied6(2)));
        for vip in [vip(), vip6()] {
            for bytes in [0, 1_000, 5_000_000] {
                let mut stream = dial(&stage.client(), vip).expect("a connection");
                stream
                    .write_all(format!("RESET {bytes}\n").as_bytes())
                    .expect("sent");
                let (end, _) = dial::read_to_end(&mut stream);
                assert_eq!(end, End::Reset, "after {bytes} bytes");
            }
            let before = resets(&stage);
            let (stream, _) = echo(&stage.client(), vip).expect("an echo");
            reset(stream);
            wait_until("the server sees the client's reset", SOON, || {
                resets(&stage) == before + 1
            });
            // In the middle of a transfer, too, with bytes on their way both ways.
            let mut stream = dial(&stage.client(), vip).expect("a connection");
            stream.write_all(b"DUPLEX 100000000\n").expect("sent");
            stream.write_all(&[1; 100_000]).expect("sent");
            let mut some = vec![0; 1_000_000];
            stream.read_exact(&mut some).expect("bytes");
            reset(stream);
            wait_until("the server sees that reset, too", SOON, || {
                resets(&stage) == before + 2
            });
        }
        stage.wait_open(0, SOON);
        stage.wait_ended("real_reset", 6);
        stage.wait_ended("client_reset", 4);
        wait_until("no socket is left", SOON, || left(&stage) == 0);
    });
}

#[test]
fn t43_a_server_that_ends_first_and_a_client_that_never_does() {
    isolated_within(Duration::from_secs(90), || {
        let conf = Conf::one(proxied(2).with("idle_timeout", "\"2s\""));
        let stage = RoutedStage::new(2, &conf);
        let mut held = Vec::new();
        for _ in 0..50 {
            let mut stream = dial(&stage.client(), vip()).expect("a connection");
            stream.write_all(b"FIRST\n").expect("sent");
            read_line(&mut stream).expect("the identity");
            held.push(stream);
        }
        // Half-closed by the server, held open by the client: CLOSE_WAIT at both sides of lbd's
        // host would be the pile that T43 speaks of.
        let cleared = wait_until("the timer ended them", 3 * SOON, || left(&stage) == 0);
        figure(
            "T43 half-closed connections gone, with an idle timeout of 2 s, after",
            format!("{cleared:.1?}"),
        );
        stage.wait_ended("idle", 50);
        wait_until("no server waits", SOON, || open(&stage) == 0);
        // Their own end came to clients long ago; that the rest ended too, a write tells.
        held[0].write_all(b"x").expect_err("the connection is gone");
    });
}

#[test]
fn t43_a_server_that_stops_reading_holds_back_the_client_alone() {
    isolated_within(Duration::from_secs(90), || {
        let conf = Conf::one(proxied(2).with("idle_timeout", "\"3s\""));
        let stage = RoutedStage::new(2, &conf);
        let mut stream = dial(&stage.client(), vip()).expect("a connection");
        stream.write_all(b"STALL\n").expect("sent");
        read_line(&mut stream).expect("the identity");
        stream
            .set_write_timeout(Some(Duration::from_millis(500)))
            .expect("set");
        let piece = vec![7; 1 << 20];
        let mut taken = 0;
        let stuck = loop {
            match stream.write(&piece) {
                Ok(count) => taken += count,
                Err(error) => break error,
            }
            assert!(
                taken < 256 << 20,
                "lbd takes without end what the server does not read"
            );
        };
        assert_eq!(stuck.kind(), std::io::ErrorKind::WouldBlock, "{stuck}");
        figure("T43 bytes taken for a server that does not read", taken);
        echo(&stage.client(), vip()).expect("others are served");
        wait_until("it is given up", 3 * SOON, || stage.ended("idle") == 1.0);
        assert_eq!(dial::read_to_end(&mut stream).0, End::Reset);
        wait_until("no socket is left", SOON, || left(&stage) == 0);
    });
}

#[test]
fn t43_ten_thousand_connections_leave_nothing_behind() {
    isolated_within(Duration::from_secs(300), || {
        // Those of a wave are silent until the last of it is open.
        const TIMEOUT: Duration = Duration::from_secs(30);
        let conf = Conf::one(proxied(2).with("idle_timeout", "\"30s\""));
        let stage = RoutedStage::new(2, &conf);
        let warm = storm(&stage.client(), vip(), 200, 200, 1);
        assert_eq!(warm.wrong, Vec::<String>::new());
        stage.wait_open(0, 3 * TIMEOUT);
        let descriptors = stage.lbd.descriptors().len();
        let (mut all, mut outcomes) = (0, Storm::default());
        for (wave, count) in [4_000, 2_000, 4_000].into_iter().enumerate() {
            let seen = storm(&stage.client(), vip(), count, count, 7 + wave as u64);
            all += count;
            outcomes.add(seen);
        }
        assert_eq!(outcomes.wrong, Vec::<String>::new());
        assert_eq!(outcomes.done, all);
        let close_wait = || {
            let sockets = sockets::tcp(&stage.net.lb.handle());
            sockets::count(&sockets, State::CloseWait)
        };
        let cleared = wait_until("no connection is open", 2 * TIMEOUT, || stage.open() == 0.0);
        wait_until("no CLOSE_WAIT is left", 2 * TIMEOUT, || close_wait() == 0);
        wait_until("no socket is left", 2 * TIMEOUT, || left(&stage) == 0);
        wait_until("no server waits", SOON, || open(&stage) == 0);
        let flows = stage.lbd.ctl(&["flows", "-o", "json"]).json();
        assert_eq!(
            flows["flows"].as_array().map(Vec::len),
            Some(0),
            "{flows:#}"
        );
        // Pipes wait in a pool for the next bulk transfer; the pool is bounded. Now and then lbd runs nft to
        // look after its rules, which takes some more for a moment.
        wait_until("no descriptors but the pool's are left", SOON, || {
            let all = stage.lbd.descriptors();
            let pipes = all.iter().filter(|fd| fd.starts_with("pipe:")).count();
            pipes <= 256 && all.len() - pipes <= descriptors
        });
        let metrics = stage.lbd.metrics();
        let ended = metrics.value("lbd_proxy_connections_total", &[]);
        assert_eq!(
            ended,
            f64::from(all + 200),
            "each ended once\n{}",
            metrics.text
        );
        figure(
            "T43 10,000 connections in waves of up to 4,000: sockets, CLOSE_WAIT, flows left; the last ended after",
            format!("0, 0, 0; {cleared:.1?}"),
        );
        let answer: Identity = integration::client::request(&stage.net.cl, vip()).expect("served");
        assert_eq!(answer.peer.ip(), integration::routed::CLIENT);
    });
}

#[test]
fn t43_who_leaves_before_being_served_leaves_nothing() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        for n in 0..200 {
            let stream = dial(&stage.client(), vip()).expect("a connection");
            match n % 3 {
                0 => reset(stream),
                1 => drop(stream),
                _ => {
                    stream.shutdown(Shutdown::Write).expect("half-closed");
                    let mut stream = stream;
                    assert_eq!(dial::read_to_end(&mut stream), (End::Closed, 0));
                }
            }
        }
        stage.wait_open(0, SOON);
        wait_until("no socket is left", SOON, || left(&stage) == 0);
        wait_until("no server waits", SOON, || open(&stage) == 0);
    });
}
