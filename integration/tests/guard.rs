//! The host's own stack stays silent about VIPs, whatever becomes of lbd or of its rules.

use integration::client::request;
use integration::conf::{Conf, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::Headers;
use integration::load::Load;
use integration::stage::{PORT, Stage, vip, web};
use integration::tally::Tally;
use integration::topology::{LB, Offloads, VIP, Wire};
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What the host's stack would answer about the VIP, seen from the wire.
fn stray_answers(wire: &Wire) -> Tally {
    let (from_vip, unreachable) = (
        format!("ip saddr {VIP} meta l4proto tcp"),
        format!("ip saddr {{ {VIP}, {LB} }} icmp type destination-unreachable"),
    );
    Tally::at(
        &wire.generator,
        "eth0",
        &[("resets", &from_vip), ("unreachable", &unreachable)],
    )
}

fn wire_conf() -> Conf {
    Conf::one(ServiceConf::tcp("web", PORT).pinned_reals([1]))
        .service(ServiceConf::udp("dns", PORT).pinned_reals([1]))
}

/// SYNs and datagrams of 5,000 clients' ports.
fn knocks() -> Vec<Vec<u8>> {
    (10_000..15_000)
        .flat_map(|port| {
            let headers = Headers::v4(port, PORT);
            [headers.tcp("S", 1, b""), headers.udp(b"x")]
        })
        .collect()
}

#[test]
fn t4_t5_the_stack_is_silent_while_lbd_runs_and_when_it_was_killed() {
    isolated(|| {
        let wire = Wire::new();
        wire.lb.ip(&format!("addr add {VIP}/32 dev lo"));
        let stray = stray_answers(&wire);
        let mut lbd = Daemon::start(&wire.lb, &wire_conf());
        for round in ["running", "killed"] {
            let load = Load::start(&wire.generator, knocks(), 20_000);
            load.wait_sent(10_000);
            load.stop();
            assert_eq!(stray.settled(), 0, "stray answers while lbd is {round}");
            if round == "running" {
                lbd.kill();
            }
        }
        figure("T4, T5 stray answers to 20,000 SYNs and datagrams", 0);
    });
}

#[test]
fn without_a_guard_the_stack_would_answer() {
    // T4 could not fail otherwise.
    isolated(|| {
        let wire = Wire::new();
        wire.lb.ip(&format!("addr add {VIP}/32 dev lo"));
        let stray = stray_answers(&wire);
        let load = Load::start(&wire.generator, knocks(), 1_000);
        load.wait_sent(20);
        load.stop();
        wait_until("the stack answers", Duration::from_secs(10), || {
            stray.total() > 0
        });
    });
}

#[test]
fn t5_a_client_that_knocked_while_lbd_was_dead_is_served_after_the_restart() {
    isolated(|| {
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        request(&stage.switch.cl, vip()).expect("an answer before");
        stage.lbd.kill();
        let (start, clock) = (Instant::now(), Arc::new(FairClock::start()));
        let clients = Arc::clone(&clock);
        let client = stage.switch.cl.spawn("client", move || {
            TcpStream::connect_timeout(&vip(), Duration::from_secs(15)).map(|_| clients.elapsed())
        });
        // Long enough that its first SYN was lost: the next comes a second later.
        wait_until("a SYN was lost", Duration::from_secs(1), || {
            start.elapsed() > Duration::from_millis(100)
        });
        stage.lbd.spawn();
        let restarted = clock.elapsed();
        stage.lbd.wait_ready();
        let connected = client
            .join()
            .expect("the client")
            .expect("a connection, not a reset");
        let waited = connected.saturating_sub(restarted);
        figure(
            "T5 connect after the restart",
            format!("{:.2} s", waited.as_secs_f64()),
        );
        assert!(waited < Duration::from_secs(3), "{waited:?}");
    });
}

#[test]
fn a_stop_in_order_takes_the_rules_down_and_usr2_leaves_them() {
    isolated(|| {
        let wire = Wire::new();
        let mut lbd = Daemon::start(&wire.lb, &wire_conf());
        let rules = || wire.lb.nft("list ruleset");
        assert!(rules().contains("lbd"), "a guard: {}", rules());
        assert!(lbd.stop(Signal::SIGUSR2).success());
        assert!(rules().contains("lbd"), "left for the next lbd");
        lbd.spawn();
        lbd.wait_ready();
        assert!(lbd.stop(Signal::SIGTERM).success());
        assert!(!rules().contains("lbd"), "gone: {}", rules());
    });
}

#[test]
fn cleanup_removes_what_a_killed_lbd_left() {
    isolated(|| {
        let wire = Wire::new();
        let mut lbd = Daemon::start(&wire.lb, &wire_conf());
        lbd.kill();
        assert!(wire.lb.nft("list ruleset").contains("lbd"));
        let cleanup = |args: &[&str]| {
            let mut command = wire.lb.command(integration::daemon::binary("lbd"));
            let output = command
                .arg("cleanup")
                .args(args)
                .output()
                .expect("lbd cleanup");
            assert!(output.status.success(), "{output:?}");
        };
        let config = lbd.config_path();
        let config = config.to_str().expect("a path");
        cleanup(&["--config", config, "--dry-run"]);
        assert!(
            wire.lb.nft("list ruleset").contains("lbd"),
            "--dry-run changes nothing"
        );
        cleanup(&["--config", config]);
        assert!(!wire.lb.nft("list ruleset").contains("lbd"));
    });
}

#[test]
fn a_flushed_ruleset_comes_back_and_no_flow_notices() {
    isolated_within(Duration::from_secs(90), || {
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        let flows = stage.flows(200, Duration::from_millis(50));
        let restored = || {
            stage
                .lbd
                .metrics()
                .value("lbd_host_rules_restored_total", &[])
        };
        for round in 1..=3 {
            stage.switch.lb.nft("flush ruleset");
            let took = wait_until("the guard is back", Duration::from_secs(7), || {
                stage.switch.lb.nft("list ruleset").contains("lbd")
            });
            figure(
                "guard restored after a flush",
                format!("{:.0} ms", took.as_secs_f64() * 1e3),
            );
            wait_until("it was counted", Duration::from_secs(2), || {
                restored() >= f64::from(round)
            });
        }
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0);
        assert_eq!(stage.curl(50).len(), 50);
    });
}

#[test]
fn other_services_of_the_host_are_not_guarded() {
    isolated(|| {
        let wire = Wire::new();
        let _lbd = Daemon::start(&wire.lb, &wire_conf());
        // A port nobody listens on: the host's own refusal must still go out.
        let refused = wire.generator.run(|| {
            TcpStream::connect_timeout(&SocketAddr::new(LB.into(), PORT), Duration::from_secs(2))
        });
        let error = refused.expect_err("nobody listens");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused);
    });
}
