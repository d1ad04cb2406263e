//! Real servers leave and join while thousands of flows live.

use integration::client::spread;
use integration::conf::{Conf, FAST_TCP_CHECK, ServiceConf};
use integration::daemon::Daemon;
use integration::frames::{Headers, dst_mac, mac};
use integration::load::Load;
use integration::long_flows::{LongFlows, Transport};
use integration::stage::{PORT, Stage, vip, web};
use integration::tally::Tally;
use integration::topology::{Offloads, Wire, real_mac};
use integration::wire::RawSocket;
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

const ECHO_EVERY: Duration = Duration::from_millis(100);

#[test]
fn t15_t16_removing_one_of_ten_and_adding_one_breaks_no_flow() {
    isolated_within(Duration::from_secs(120), || flows_outlive_changes("flows"));
}

#[test]
fn t15_t16_without_memory_while_the_set_stands() {
    isolated_within(Duration::from_secs(120), || {
        flows_outlive_changes("changes")
    });
}

fn flows_outlive_changes(track: &str) {
    let without_7 = ServiceConf::tcp("web", PORT).reals([1, 2, 3, 4, 5, 6, 8, 9, 10]);
    let [all, without_7] = [web(10), without_7]
        .map(|service| Conf::one(service.with("track", &format!("\"{track}\""))));
    let stage = Stage::new(10, Offloads::Defaults, &all);
    let flows = stage.flows(2_000, ECHO_EVERY);
    let before = flows.by_server();
    assert_eq!(before.len(), 10, "{before:?}");
    stage.lbd.reload(&without_7);
    flows.wait_for_echoes();
    assert_eq!(
        flows.broken(),
        0,
        "T15: also rs7's flows may end in their own time"
    );
    assert!(
        !spread(&stage.curl(300)).contains_key("rs7"),
        "no new flows for rs7"
    );
    stage.lbd.reload(&all);
    flows.wait_for_echoes();
    assert_eq!(flows.broken(), 0, "T16");
    assert!(
        spread(&stage.curl(300)).contains_key("rs7"),
        "new flows for rs7 again"
    );
    let stalled = flows.finish().iter().map(|flow| flow.longest_stall).max();
    figure(
        &format!("T15, T16 broken of 2,000 flows, track {track}; longest stall"),
        format!("0; {stalled:?}"),
    );
}

#[test]
fn t16_a_new_real_gets_its_share_of_new_flows() {
    isolated(|| {
        let wire = Wire::new();
        let conf = |reals| Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=reals));
        let lbd = Daemon::start(&wire.lb, &conf(10));
        lbd.reload(&conf(11));
        let tally = Tally::of_reals(&wire.generator, 11);
        let syns: Vec<_> = (20_000..25_000)
            .map(|port| Headers::v4(port, PORT).tcp("S", 1, b""))
            .collect();
        let socket = RawSocket::open(&wire.generator);
        for syn in syns.chunks(100) {
            let goal = tally.total() + 100;
            syn.iter().for_each(|syn| socket.send(syn).expect("sent"));
            wait_until("they came back", Duration::from_secs(5), || {
                tally.total() >= goal
            });
        }
        let share = tally.of("rs11") as f64 / 50.0;
        figure(
            "T16 share of the eleventh real, of 9.1 %",
            format!("{share:.1} %"),
        );
        assert!((share - 100.0 / 11.0).abs() <= 1.5, "{share:.2} %");
    });
}

#[test]
fn t18_a_draining_real_keeps_its_flows_and_gets_no_new_ones() {
    isolated_within(Duration::from_secs(120), || {
        let stage = Stage::new(3, Offloads::Defaults, &Conf::one(web(3)));
        let flows = stage.flows(1_500, ECHO_EVERY);
        let on_rs3 = flows.by_server()["rs3"];
        assert!(on_rs3 >= 350, "{on_rs3}");
        stage.lbd.ctl(&["real", "drain", "web", "rs3"]).ok();
        assert_eq!(stage.lbd.real("web", "rs3")["state"], "draining");
        let connections = stage.servers[2].connections();
        assert_eq!(stage.curl(500).len(), 500);
        assert_eq!(
            stage.servers[2].connections(),
            connections,
            "new flows for rs3"
        );
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0);
        assert_eq!(flows.by_server()["rs3"], on_rs3);
        stage
            .lbd
            .ctl(&[
                "real",
                "drain",
                "web",
                "rs3",
                "--wait",
                "--timeout",
                "300ms",
            ])
            .exits(7);
        figure("T18 flows that lived on while draining", on_rs3);
        stage.lbd.ctl(&["real", "enable", "web", "rs3"]).ok();
        assert!(spread(&stage.curl(300)).contains_key("rs3"));
    });
}

#[test]
fn t18_drain_wait_returns_when_the_last_flow_ended() {
    isolated_within(Duration::from_secs(60), || {
        // UDP flows end by being idle; closed TCP flows linger for two minutes.
        let service = ServiceConf::udp("dns", PORT)
            .reals([1, 2])
            .with("idle_timeout", "\"2s\"");
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(service));
        let client = stage.switch.cl.handle();
        let flows = LongFlows::start(client, Transport::Udp, vip(), 100, ECHO_EVERY);
        let flows = flows.assert_opened();
        let waiting = stage
            .lbd
            .ctl_command(&["real", "drain", "dns", "rs1", "--wait", "--timeout", "30s"])
            .spawn();
        let mut waiting = waiting.expect("lbctl");
        let draining = Duration::from_secs(5);
        stage.lbd.wait_real("dns", "rs1", "draining", draining);
        flows.wait_for_echoes();
        assert!(
            waiting.try_wait().expect("lbctl").is_none(),
            "flows live: it waits"
        );
        drop(flows);
        let start = Instant::now();
        let status = waiting.wait().expect("lbctl");
        assert!(status.success(), "{status}");
        figure(
            "T18 drain --wait returned after the last packet",
            format!("{:.1?}", start.elapsed()),
        );
    });
}

#[test]
fn t18_a_reused_port_is_decided_anew_and_late_packets_are_not() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::start(
            &wire.lb,
            &Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=3)),
        );
        let socket = RawSocket::open(&wire.generator);
        let real_of = |frame: &[u8]| {
            socket.send(frame).expect("sent");
            let out = socket.receive_where(Duration::from_secs(3), |seen| {
                seen.get(12..) == frame.get(12..)
            });
            dst_mac(&out.expect("sent on"))
        };
        let rs3 = Some(mac(&real_mac(3)));
        let port = (30_000..31_000)
            .find(|port| real_of(&Headers::v4(*port, PORT).tcp("S", 1, b"")) == rs3)
            .expect("a flow for rs3");
        let headers = Headers::v4(port, PORT);
        lbd.ctl(&["real", "drain", "web", "rs3"]).ok();
        assert_eq!(real_of(&headers.tcp("PA", 2, b"old flow")), rs3);
        assert_ne!(
            real_of(&headers.tcp("S", 900, b"")),
            rs3,
            "a SYN is a new flow"
        );
    });
}

#[test]
fn t17_rehash_tells_clients_of_a_dead_real_and_drop_keeps_them_for_its_return() {
    isolated_within(Duration::from_secs(120), || {
        let conf = |on_dead: &str| {
            let service = web(3).check(FAST_TCP_CHECK).with("dead_grace", "\"200ms\"");
            Conf::one(service.with("on_dead", &format!("\"{on_dead}\"")))
        };
        let stage = Stage::new(3, Offloads::Defaults, &conf("drop"));
        let cut = |up: &str| stage.switch.sw.ip(&format!("link set rs2 {up}"));

        let flows = stage.flows(300, ECHO_EVERY);
        let on_rs2 = flows.by_server()["rs2"];
        cut("down");
        stage
            .lbd
            .wait_real("web", "rs2", "down", Duration::from_secs(5));
        let dropped = || {
            stage
                .lbd
                .metrics()
                .value("lbd_drops_total", &[("reason", "dead_real")])
        };
        wait_until("packets for it are dropped", Duration::from_secs(5), || {
            dropped() > 0.0
        });
        cut("up");
        stage
            .lbd
            .wait_real("web", "rs2", "up", Duration::from_secs(5));
        flows.wait_for_echoes();
        assert_eq!(flows.broken(), 0, "drop: flows go on when the real is back");
        assert_eq!(flows.by_server()["rs2"], on_rs2);

        stage.lbd.reload(&conf("rehash"));
        cut("down");
        stage
            .lbd
            .wait_real("web", "rs2", "down", Duration::from_secs(5));
        let found = FairClock::start();
        let informed = || flows.broken();
        wait_until("clients are told", Duration::from_secs(10), || {
            informed() * 100 >= on_rs2 * 99
        });
        // Grace, and each client's next retransmission.
        let took = found.elapsed();
        figure(
            "T17 99 % of a dead real's clients told after",
            format!("{took:.1?}"),
        );
        assert!(took <= Duration::from_secs(3), "{took:?}");
        // At one moment: the last may break meanwhile.
        let now = flows.snapshot();
        let told = now.iter().filter(|flow| flow.broken.is_some()).count();
        let left = now
            .iter()
            .filter(|flow| flow.broken.is_none() && flow.server == "rs2")
            .count();
        assert_eq!(left, on_rs2 - told);
        for flow in flows.finish().iter().filter(|flow| flow.server != "rs2") {
            assert!(flow.broken.is_none(), "a flow of {} broke", flow.server);
        }
    });
}

#[test]
fn a_drain_lasts_over_restarts_and_a_reload_of_the_same_file() {
    isolated_within(Duration::from_secs(90), || {
        let mut stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        stage.lbd.ctl(&["real", "drain", "web", "rs1"]).ok();
        let is_draining = |stage: &Stage, when: &str| {
            assert_eq!(stage.lbd.real("web", "rs1")["state"], "draining", "{when}");
            assert!(!spread(&stage.curl(50)).contains_key("rs1"), "{when}");
        };
        is_draining(&stage, "at once");
        stage.lbd.ctl(&["reload"]).ok();
        is_draining(&stage, "after a reload");
        for signal in [Signal::SIGTERM, Signal::SIGUSR2, Signal::SIGKILL] {
            stage.lbd.stop(signal);
            stage.lbd.spawn();
            stage.lbd.wait_ready();
            is_draining(&stage, &format!("after {signal}"));
        }
        stage.lbd.ctl(&["real", "enable", "web", "rs1"]).ok();
        assert!(spread(&stage.curl(100)).contains_key("rs1"));
    });
}

#[test]
fn a_disabled_real_loses_its_flows_at_once() {
    isolated_within(Duration::from_secs(60), || {
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(web(2)));
        let flows = stage.flows(100, ECHO_EVERY);
        let on_rs1 = flows.by_server()["rs1"];
        stage.lbd.ctl(&["real", "disable", "web", "rs1"]).ok();
        wait_until("its clients are told", Duration::from_secs(3), || {
            flows.broken() == on_rs1
        });
        let answers = stage.curl(50);
        assert_eq!((answers.len(), spread(&answers).len()), (50, 1));
        assert_eq!(flows.by_server().len(), 1);
    });
}

#[test]
fn weight_zero_means_no_new_flows() {
    isolated(|| {
        let wire = Wire::new();
        let lbd = Daemon::start(
            &wire.lb,
            &Conf::one(ServiceConf::tcp("web", PORT).pinned_reals(1..=2)),
        );
        lbd.ctl(&["real", "set", "web", "rs1", "--weight", "0"])
            .ok();
        let tally = Tally::of_reals(&wire.generator, 2);
        let syns = (1_000..1_500)
            .map(|port| Headers::v4(port, PORT).tcp("S", 1, b""))
            .collect();
        let load = Load::start(&wire.generator, syns, 5_000);
        load.wait_sent(500);
        let sent = load.stop();
        assert_eq!(tally.settled_at(sent), sent);
        assert_eq!(tally.of("rs1"), 0);
        assert_eq!(vip().port(), PORT);
    });
}
