//! Reals of proxied services are drained, disabled and lost; services come and go.

use integration::client::{curl, spread};
use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::dial::{self, End, echo};
use integration::stage::{REAL_PORT, RoutedStage, proxied, vip};
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);
const ECHO_EVERY: Duration = Duration::from_millis(50);

/// Connections to each of two real servers.
fn one_each(stage: &RoutedStage) -> [TcpStream; 2] {
    let mut held: [Option<TcpStream>; 2] = [None, None];
    for _ in 0..100 {
        let (stream, identity) = echo(&stage.client(), vip()).expect("an echo");
        let at = usize::from(identity.server == "rs2");
        held[at] = Some(stream);
        if held.iter().all(Option::is_some) {
            break;
        }
    }
    held.map(|stream| stream.expect("a connection to each"))
}

fn only(stage: &RoutedStage, server: &str) {
    let answers = curl(&stage.net.cl, vip(), 60);
    assert_eq!(
        spread(&answers).get(server),
        Some(&60),
        "{:?}",
        spread(&answers)
    );
}

#[test]
fn a_draining_real_ends_its_connections_in_their_own_time() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2)));
        let [mut on_rs1, mut on_rs2] = one_each(&stage);
        stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        only(&stage, "rs2");
        let wait = ["real", "drain", "web", "rs1", "--wait", "--timeout"];
        stage.lbd.ctl(&[&wait[..], &["300ms"]].concat()).exits(7);
        dial::round(&mut on_rs1).expect("it goes on");
        let waiting = stage
            .lbd
            .ctl_command(&[&wait[..], &["20s"]].concat())
            .spawn();
        let mut waiting = waiting.expect("lbctl");
        dial::round(&mut on_rs1).expect("it still goes on");
        assert!(waiting.try_wait().expect("lbctl").is_none());
        drop(on_rs1);
        let gone = Instant::now();
        assert!(waiting.wait().expect("lbctl").success());
        assert!(gone.elapsed() < SOON, "{:?}", gone.elapsed());
        dial::round(&mut on_rs2).expect("the other real was not asked");
        stage.lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
        assert_eq!(spread(&curl(&stage.net.cl, vip(), 60)).len(), 2);
    });
}

#[test]
fn drain_timeout_resets_what_stays() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2).with("drain_timeout", "\"1s\"")));
        let [mut on_rs1, mut on_rs2] = one_each(&stage);
        let (start, clock) = (Instant::now(), FairClock::start());
        stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        assert_eq!(dial::read_to_end(&mut on_rs1), (End::Reset, 0));
        let (took, fair) = (start.elapsed(), clock.elapsed());
        assert!(took >= Duration::from_millis(900), "{took:?}");
        assert!(fair < Duration::from_millis(3_500), "{fair:?}");
        wait_until("its end is counted", SOON, || {
            stage.ended("real_gone") >= 1.0
        });
        dial::round(&mut on_rs2).expect("the other real was not asked");
    });
}

#[test]
fn a_disabled_real_loses_its_connections_at_once() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2)));
        let [mut on_rs1, mut on_rs2] = one_each(&stage);
        stage.lbd.ctl(&["real", "disable", "web", "rs1"]).ok();
        let start = FairClock::start();
        assert_eq!(dial::read_to_end(&mut on_rs1), (End::Reset, 0));
        assert!(
            start.elapsed() < Duration::from_millis(2_500),
            "{:?}",
            start.elapsed()
        );
        figure(
            "a disabled real's connections are reset after",
            format!("{:.1?}", start.elapsed()),
        );
        dial::round(&mut on_rs2).expect("the other real was not asked");
        only(&stage, "rs2");
    });
}

/// The real's checks fail while its connections live on: what becomes of them is `on_dead`'s.
#[test]
fn a_dead_reals_connections_follow_on_dead_after_the_grace() {
    isolated_within(Duration::from_secs(120), || {
        for (on_dead, survives) in [("rehash", false), ("keep", true)] {
            let service = proxied(2)
                .check(FAST_TCP_CHECK)
                .with("on_dead", &format!("\"{on_dead}\""))
                .with("dead_grace", "\"2s\"");
            let stage = RoutedStage::new(2, &Conf::one(service));
            // lbd is ready before its checks have decided.
            for real in ["rs1", "rs2"] {
                stage.lbd.wait_real("web", real, "up", SOON);
            }
            let [mut on_rs1, mut on_rs2] = one_each(&stage);
            let alive = Instant::now();
            stage.net.reals[0].nft(
                "add table inet t; add chain inet t in { type filter hook input priority 0; }; add rule inet t in tcp flags & (syn | ack) == syn drop",
            );
            stage.lbd.wait_real("web", "rs1", "down", SOON);
            let down = FairClock::start();
            dial::round(&mut on_rs1).expect("within the grace");
            only(&stage, "rs2");
            if survives {
                while down.elapsed() < Duration::from_secs(4) {
                    dial::round(&mut on_rs1).expect("kept");
                    std::thread::sleep(Duration::from_millis(50));
                }
            } else {
                assert_eq!(dial::read_to_end(&mut on_rs1), (End::Reset, 0));
                let (took, since_alive) = (down.elapsed(), alive.elapsed());
                figure(
                    "with a dead_grace of 2 s, connections are reset after",
                    format!("{took:.1?}"),
                );
                assert!(since_alive >= Duration::from_secs(2), "{since_alive:?}");
                assert!(took < Duration::from_secs(5), "{took:?}");
            }
            dial::round(&mut on_rs2).expect("the other real lives");
        }
    });
}

#[test]
fn reloads_keep_every_connection() {
    isolated_within(Duration::from_secs(120), || {
        let one = Conf::one(proxied(3));
        let two = Conf::one(
            proxied(2)
                .with("scheduler", "\"rr\"")
                .with("idle_timeout", "\"5m\""),
        )
        .service(ServiceConf::proxied("other", 81).routed([3], REAL_PORT));
        let stage = RoutedStage::new(3, &one);
        let flows = stage.flows(300, ECHO_EVERY);
        assert_eq!(flows.by_server().len(), 3);
        for n in 0..20 {
            stage.lbd.reload(if n % 2 == 0 { &two } else { &one });
        }
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0);
        let other = SocketAddr::new(vip().ip(), 81);
        stage.lbd.reload(&two);
        assert_eq!(curl(&stage.net.cl, other, 20).len(), 20);
        only_two(&stage);
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0, "a removed real's connections finish");
        let stall = flows.finish().iter().map(|flow| flow.longest_stall).max();
        figure(
            "20 reloads under 300 proxied connections: broken; longest stall",
            format!("0; {stall:.0?}"),
        );
    });
}

fn only_two(stage: &RoutedStage) {
    let seen = spread(&curl(&stage.net.cl, vip(), 60));
    assert!(!seen.contains_key("rs3"), "{seen:?}");
}

#[test]
fn a_removed_services_connections_finish() {
    isolated(|| {
        let other = ServiceConf::proxied("other", 81).routed([2], REAL_PORT);
        let both = Conf::one(proxied(1)).service(other.clone());
        let stage = RoutedStage::new(2, &both);
        let (mut stream, _) = echo(&stage.client(), vip()).expect("an echo");
        stage.lbd.write(&Conf::one(other));
        stage.lbd.ctl(&["reload", "--force"]).ok();
        for _ in 0..20 {
            dial::round(&mut stream).expect("it finishes");
        }
        let refused = dial::refused(&stage.client(), vip());
        assert!(refused.is_some(), "a removed service serves nobody");
        dial::round(&mut stream).expect("it still does");
        drop(stream);
        wait_until("it is gone", SOON, || stage.open() == 0.0);
        // And when it comes back, so do its clients.
        stage.lbd.reload(&both);
        assert_eq!(curl(&stage.net.cl, vip(), 20).len(), 20);
    });
}
