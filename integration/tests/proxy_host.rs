//! What the proxy keeps on the host: nft table, rules and routes; across kill -9, flushes and ends.

use integration::client::{curl, request};
use integration::conf::Conf;
use integration::dial::{self, End, dial, echo, echo_over};
use integration::host::Host;
use integration::long_flows::Flow;
use integration::netns::Netns;
use integration::stage::{RoutedStage, proxied, proxied6, vip, vip6};
use integration::tally::Tally;
use integration::topology::VIP;
use integration::wait::holds_for;
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(5);
/// What others removed is back within 5 s; a look at it takes its time on a busy machine.
const BACK_WITHIN: Duration = Duration::from_millis(5_500);

const ECHO_EVERY: Duration = Duration::from_millis(50);

fn conf() -> Conf {
    Conf::one(proxied(2)).service(proxied6(2))
}

/// What another tool might keep on this host: much like ours, and none of ours.
fn others(lb: &Netns) {
    lb.nft("add table inet filter; add chain inet filter pre { type filter hook prerouting priority -150; policy accept; }; add rule inet filter pre ip daddr 198.18.0.1 counter meta mark set 1");
    lb.ip("rule add pref 1000 fwmark 1 lookup 100");
    lb.ip("-6 rule add pref 1000 fwmark 1 lookup 100");
    lb.ip("route add local 0.0.0.0/0 dev lo table 100");
    lb.ip("-6 route add local ::/0 dev lo table 100");
}

#[test]
fn rules_come_once_go_at_the_end_and_leave_others_alone() {
    isolated(|| {
        let mut stage = RoutedStage::before_lbd(2, &conf());
        others(&stage.net.lb);
        let before = Host::of(&stage.net.lb);
        let others_rules = stage.net.lb.nft("list table inet filter");
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let running = Host::of(&stage.net.lb);
        let ours = running.since(&before);
        assert_eq!(ours.tables, ["inet lbd_proxy"], "{ours:?}");
        for objects in [&ours.rules, &ours.routes] {
            let once: BTreeSet<&String> = objects.iter().collect();
            assert_eq!(
                once.len(),
                objects.len(),
                "something is there twice: {ours:?}"
            );
            let v6 = once.iter().filter(|line| line.starts_with("-6 ")).count();
            assert!(
                v6 > 0 && 2 * v6 == once.len(),
                "the same in both families: {ours:?}"
            );
        }
        assert!(
            before.since(&running).is_empty(),
            "something of another tool's is gone"
        );
        for _ in 0..2 {
            stage.lbd.kill();
            assert_eq!(Host::of(&stage.net.lb), running, "a killed lbd leaves all");
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            assert_eq!(Host::of(&stage.net.lb), running, "and the next has it once");
            assert_eq!(curl(&stage.net.cl, vip(), 10).len(), 10);
            assert_eq!(curl(&stage.net.cl, vip6(), 10).len(), 10);
        }
        // A configuration without IPv6 needs nothing there.
        stage.lbd.reload(&Conf::one(proxied(2)));
        let v4 = Host::of(&stage.net.lb).since(&before);
        assert!(
            v4.rules
                .iter()
                .chain(&v4.routes)
                .all(|line| !line.starts_with("-6 ")),
            "{v4:?}"
        );
        stage.lbd.stop(Signal::SIGTERM);
        assert_eq!(Host::of(&stage.net.lb), before, "SIGTERM removes all");
        assert_eq!(stage.net.lb.nft("list table inet filter"), others_rules);
    });
}

#[test]
fn cleanup_removes_what_a_killed_lbd_left() {
    isolated(|| {
        let mut stage = RoutedStage::before_lbd(2, &conf());
        others(&stage.net.lb);
        let before = Host::of(&stage.net.lb);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let running = Host::of(&stage.net.lb);
        stage.lbd.kill();
        let cleanup = |args: &[&str]| {
            let output = stage
                .lbd
                .command()
                .arg("cleanup")
                .args(args)
                .output()
                .expect("lbd");
            assert!(output.status.success(), "{output:?}");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let plan = cleanup(&["--dry-run"]);
        assert!(plan.contains("lbd_proxy"), "{plan}");
        assert_eq!(
            Host::of(&stage.net.lb),
            running,
            "--dry-run changes nothing"
        );
        cleanup(&[]);
        assert_eq!(Host::of(&stage.net.lb), before);
        assert!(!cleanup(&[]).contains("lbd_proxy"), "nothing is left");
    });
}

/// USR2 and kill -9: the next lbd finds all it needs, and nobody answers meanwhile.
#[test]
fn while_lbd_is_dead_the_host_is_silent_and_clients_wait() {
    isolated(|| {
        let mut stage = RoutedStage::new(2, &conf());
        let (mut held, _) = echo(&stage.client(), vip()).expect("an echo");
        let answers = Tally::at(
            &stage.net.cl,
            "eth0",
            &[
                ("resets", &format!("ip saddr {VIP} tcp flags & rst == rst")),
                (
                    "errors",
                    "icmp type { destination-unreachable, time-exceeded, redirect }",
                ),
            ],
        );
        for signal in [Signal::SIGKILL, Signal::SIGUSR2] {
            stage.lbd.signal(signal);
            stage.lbd.wait_exit();
            if signal == Signal::SIGKILL {
                // The kernel closes the connections of the dead: that is all their clients hear.
                assert_ne!(dial::read_to_end(&mut held).0, End::Open);
            }
            let before = answers.total();
            let client = stage.client();
            let caller = std::thread::spawn(move || {
                let start = Instant::now();
                dial(&client, vip())
                    .and_then(echo_over)
                    .map(|_| start.elapsed())
            });
            holds_for("nothing answers", Duration::from_millis(1_500), || {
                answers.total() == before && !caller.is_finished()
            });
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            let took = caller
                .join()
                .expect("the caller")
                .expect("served in the end");
            figure(
                &format!("{signal}: a client that called a dead lbd was served after"),
                format!("{took:.1?}"),
            );
            assert_eq!(answers.total(), before, "no reset, no ICMP error");
        }
    });
}

#[test]
fn what_others_flush_is_back_within_five_seconds_and_no_connection_breaks() {
    isolated_within(Duration::from_secs(180), || {
        let mut stage = RoutedStage::before_lbd(2, &conf());
        let before = Host::of(&stage.net.lb);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let lb = &stage.net.lb;
        let running = Host::of(lb);
        let ours = running.since(&before);
        let flows = stage.flows(200, ECHO_EVERY);
        let restored = || {
            stage
                .lbd
                .metrics()
                .value("lbd_host_rules_restored_total", &[])
        };
        let cuts: [(&str, &dyn Fn()); 4] = [
            ("nft flush ruleset", &|| drop(lb.nft("flush ruleset"))),
            ("nft delete table inet lbd_proxy", &|| {
                drop(lb.nft("delete table inet lbd_proxy"));
            }),
            ("ip rule del", &|| ours.delete_rules(lb)),
            ("ip route del", &|| ours.delete_routes(lb)),
        ];
        for round in 0..2 {
            for (what, cut) in &cuts {
                let counted = restored();
                cut();
                let start = Instant::now();
                wait_until(&format!("all is back after {what}"), BACK_WITHIN, || {
                    Host::of(lb) == running
                });
                figure(
                    &format!("restored after `{what}`, round {round}"),
                    format!("{:.0?}", start.elapsed()),
                );
                wait_until("it is counted", SOON, || restored() > counted);
                request(&stage.net.cl, vip6()).expect("served");
                // A retransmission of its own brings each connection back: the next cut must not
                // meet it before that.
                flows.wait_for_echoes();
            }
        }
        let broken = |flow: &Flow| flow.broken.as_ref().map(|(_, why)| why.clone());
        let broken: Vec<String> = flows.snapshot().iter().filter_map(broken).collect();
        assert!(
            broken.is_empty(),
            "{} connections broke: {:?}",
            broken.len(),
            broken.first()
        );
        let stall = flows.finish().iter().map(|flow| flow.longest_stall).max();
        figure(
            "longest stall of 200 connections over 8 flushes",
            format!("{stall:.1?}"),
        );
    });
}

#[test]
fn sigterm_lets_connections_finish() {
    isolated(|| {
        let conf = conf().lbd("shutdown_timeout", "\"8s\"");
        let mut stage = RoutedStage::before_lbd(2, &conf);
        let before = Host::of(&stage.net.lb);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let mut held: Vec<_> = (0..20)
            .map(|_| echo(&stage.client(), vip()).expect("an echo").0)
            .collect();
        stage.lbd.signal(Signal::SIGTERM);
        wait_until("it takes no new ones", SOON, || {
            integration::client::request_within(&stage.net.cl, vip(), Duration::from_millis(200))
                .is_err()
        });
        for stream in &mut held {
            dial::round(stream).expect("those inside finish");
        }
        held.truncate(10);
        for stream in &mut held {
            dial::round(stream).expect("those inside finish");
        }
        drop(held);
        let start = FairClock::start();
        let status = stage.lbd.wait_exit();
        assert!(status.success(), "{status}");
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "with the last one it ends: {:?}",
            start.elapsed()
        );
        assert_eq!(Host::of(&stage.net.lb), before);
    });
}

#[test]
fn sigterm_resets_what_stays_longer_than_shutdown_timeout() {
    isolated(|| {
        let conf = conf().lbd("shutdown_timeout", "\"1s\"");
        let mut stage = RoutedStage::new(2, &conf);
        let (mut stream, _) = echo(&stage.client(), vip()).expect("an echo");
        stage.lbd.signal(Signal::SIGTERM);
        let start = Instant::now();
        assert_eq!(dial::read_to_end(&mut stream), (End::Reset, 0));
        let took = start.elapsed();
        assert!((900..4_000).contains(&took.as_millis()), "{took:?}");
        let status = stage.lbd.wait_exit();
        assert!(status.success(), "{status}");
    });
}
