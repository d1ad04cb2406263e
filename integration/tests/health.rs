//! Who gets new flows while real servers come and go.

use integration::client::{request_within, spread};
use integration::conf::{Conf, FAST_TCP_CHECK, RealConf, ServiceConf};
use integration::netns::Netns;
use integration::stage::{PORT, Stage, vip, web};
use integration::topology::{CLIENT, Offloads, real};
use integration::{FairClock, figure, isolated, isolated_within, wait_until};
use std::collections::BTreeMap;
use std::time::Duration;

/// Checks at 100 to 200 ms decide within this, also on a busy machine.
const DECIDED: Duration = Duration::from_secs(5);

/// Makes a real server silent: packets for it vanish, nothing is refused.
fn black_hole(netns: &Netns) {
    netns.nft(
        "add table netdev hole; \
         add chain netdev hole in { type filter hook ingress device eth0 priority -300; }; \
         add rule netdev hole in meta l4proto tcp drop",
    );
}

#[test]
fn t30_dead_servers_are_found_in_time() {
    isolated_within(Duration::from_secs(90), || {
        let check = [
            ("type", "\"tcp\""),
            ("interval", "\"2s\""),
            ("fast_interval", "\"500ms\""),
            ("timeout", "\"1s\""),
            ("fall", "3"),
        ];
        let mut stage = Stage::new(7, Offloads::Defaults, &Conf::one(web(7).check(&check)));
        assert_eq!(spread(&stage.curl(100)).len(), 7);
        // Six die at once, each at another moment of its own rhythm; the seventh goes on.
        for n in 1..=3 {
            stage.servers[n - 1].stop();
            black_hole(&stage.switch.reals[n + 2]);
        }
        let died = FairClock::start();
        let mut found: BTreeMap<String, Duration> = BTreeMap::new();
        wait_until("all six are down", Duration::from_secs(10), || {
            let service = stage.lbd.service("web");
            for real in service["reals"].as_array().expect("reals") {
                if real["state"] == "down" {
                    let name = real["name"].as_str().expect("a name").to_owned();
                    found.entry(name).or_insert_with(|| died.elapsed());
                }
            }
            found.len() == 6
        });
        for (name, limit) in [
            ("rs1", 3.5),
            ("rs2", 3.5),
            ("rs3", 3.5),
            ("rs4", 6.5),
            ("rs5", 6.5),
            ("rs6", 6.5),
        ] {
            let took = found[name].as_secs_f64();
            assert!(took <= limit, "{name} was found dead after {took:.2} s");
        }
        let refused = ["rs1", "rs2", "rs3"]
            .map(|name| found[name])
            .into_iter()
            .max();
        let silent = ["rs4", "rs5", "rs6"]
            .map(|name| found[name])
            .into_iter()
            .max();
        figure(
            "T30 refused / silent servers found",
            format!("{refused:.2?} / {silent:.2?}"),
        );
        let answers = stage.curl(100);
        assert_eq!(answers.len(), 100, "nobody is sent to a dead server");
        assert_eq!(spread(&answers).len(), 1);
    });
}

#[test]
fn up_then_backup_then_sorry() {
    isolated_within(Duration::from_secs(60), || {
        let service = ServiceConf::tcp("web", PORT)
            .check(FAST_TCP_CHECK)
            .with("sorry", &format!("\"{}\"", real(3)))
            .real(RealConf::n(1))
            .real(RealConf::n(2).with("backup", "true"));
        let mut stage = Stage::new(3, Offloads::Defaults, &Conf::one(service));
        let only = |stage: &Stage, server: &str| {
            let answers = stage.curl(20);
            assert_eq!(spread(&answers), BTreeMap::from([(server.to_owned(), 20)]));
        };
        only(&stage, "rs1");
        stage.servers[0].stop();
        stage.lbd.wait_real("web", "rs1", "down", DECIDED);
        only(&stage, "rs2");
        stage.servers[1].stop();
        stage.lbd.wait_real("web", "rs2", "down", DECIDED);
        only(&stage, "rs3");
        stage.serve(1);
        stage.lbd.wait_real("web", "rs1", "up", DECIDED);
        only(&stage, "rs1");
    });
}

#[test]
fn t29_panic_keeps_the_last_good_set_and_min_healthy_zero_does_not() {
    isolated_within(Duration::from_secs(60), || {
        let conf = |min_healthy: u8| {
            let min_healthy = min_healthy.to_string();
            Conf::one(
                web(2)
                    .check(FAST_TCP_CHECK)
                    .with("min_healthy", &min_healthy),
            )
        };
        let stage = Stage::new(2, Offloads::Defaults, &conf(1));
        assert_eq!(stage.curl(20).len(), 20);
        // The checks fail; the service itself goes on (it is the checks' path that is cut).
        for netns in &stage.switch.reals {
            netns.nft(&format!(
                "add table netdev cut; \
                 add chain netdev cut in {{ type filter hook ingress device eth0 priority -300; }}; \
                 add rule netdev cut in ip saddr {} tcp dport {PORT} drop",
                integration::topology::LB
            ));
        }
        let state = |stage: &Stage| stage.lbd.service("web")["state"].clone();
        wait_until("panic", DECIDED, || state(&stage) == "panic");
        assert_eq!(
            stage
                .lbd
                .metrics()
                .value("lbd_service_panic", &[("service", "web")]),
            1.0
        );
        let answers = stage.curl(50);
        assert_eq!(answers.len(), 50, "the last good set goes on");
        assert!(
            stage.lbd.ctl(&["health", "--service", "web"]).code() == 0,
            "it serves"
        );

        // Checks that go on failing are no news: no table is built for them.
        let failed = || {
            let metrics = stage.lbd.metrics();
            let of = |real: &str| {
                let labels = [("service", "web"), ("real", real), ("result", "fail")];
                metrics.value("lbd_check_results_total", &labels)
            };
            of("rs1").min(of("rs2"))
        };
        let both_down = || ["rs1", "rs2"].map(|real| stage.lbd.real("web", real)["state"].clone());
        wait_until("both down", DECIDED, || both_down() == ["down", "down"]);
        let generation = || stage.lbd.status()["generation"].clone();
        // One may be built for news of the host (links, neighbours), but not in all ten rounds.
        wait_until("ten rounds build no table", Duration::from_secs(30), || {
            let (rounds, built) = (failed(), generation());
            wait_until("ten rounds", Duration::from_secs(20), || {
                failed() >= rounds + 10.0
            });
            generation() == built
        });

        stage.lbd.reload(&conf(0));
        wait_until("down", DECIDED, || state(&stage) == "down");
        let dropped = || {
            stage
                .lbd
                .metrics()
                .value("lbd_drops_total", &[("reason", "no_real")])
        };
        let before = dropped();
        let refused = request_within(&stage.switch.cl, vip(), Duration::from_millis(300));
        assert!(refused.is_err());
        wait_until("it was dropped", DECIDED, || dropped() > before);
        stage.lbd.ctl(&["health", "--service", "web"]).exits(1);

        for netns in &stage.switch.reals {
            netns.nft("delete table netdev cut");
        }
        wait_until("up again", DECIDED, || state(&stage) == "up");
        assert_eq!(stage.curl(20).len(), 20);
    });
}

#[test]
fn lbd_is_ready_when_every_real_was_judged_once() {
    isolated_within(Duration::from_secs(60), || {
        // rs2's first probe begins after 0.6 of the interval. Without its answer lbd would be ready
        // after the interval and the timeout: seconds later.
        let check = [
            ("type", "\"tcp\""),
            ("interval", "\"10s\""),
            ("fast_interval", "\"2s\""),
            ("timeout", "\"1500ms\""),
        ];
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &Conf::one(web(2).check(&check)));
        black_hole(&stage.switch.reals[1]);
        stage.lbd.spawn();
        wait_until("lbd answers", Duration::from_secs(3), || {
            stage.lbd.try_status().is_some()
        });
        // rs2 has not answered and its first probe has not timed out yet.
        let status = stage.lbd.status();
        assert_eq!(status["ready"], false, "{status:#}");
        assert_eq!(stage.lbd.http("/readyz").0, 503);
        assert_eq!(stage.lbd.real("web", "rs2")["state"], "checking");
        stage.lbd.wait_ready();
        assert_eq!(stage.lbd.http("/readyz").0, 200);
        assert_eq!(stage.lbd.http("/healthz").0, 200);
        assert_eq!(stage.lbd.real("web", "rs1")["state"], "up");
        assert_eq!(stage.lbd.real("web", "rs2")["state"], "down");
        assert_eq!(
            spread(&stage.curl(20)),
            BTreeMap::from([("rs1".to_owned(), 20)])
        );
    });
}

#[test]
fn an_http_check_looks_at_the_answer() {
    isolated(|| {
        let check = |body: &'static str| {
            let check = [
                ("type", "\"http\""),
                ("path", "\"/health\""),
                ("interval", "\"200ms\""),
                ("timeout", "\"200ms\""),
                ("body", body),
            ];
            Conf::one(web(2).check(&check))
        };
        // `whoami` names itself in the body.
        let stage = Stage::new(2, Offloads::Defaults, &check("\"rs1\""));
        assert_eq!(stage.lbd.real("web", "rs1")["state"], "up");
        assert_eq!(stage.lbd.real("web", "rs2")["state"], "down");
        stage.lbd.reload(&check("\"rs\""));
        stage.lbd.wait_real("web", "rs2", "up", DECIDED);
        assert_eq!(spread(&stage.curl(60)).len(), 2);
    });
}

/// A real whose own firewall drops its answers to clients passes its checks; clients' handshakes
/// tell. A SYN counts as unanswered when its flow is forgotten, after a minute.
#[test]
fn a_real_whose_answers_reach_no_client_is_told() {
    isolated_within(Duration::from_secs(180), || {
        let stage = Stage::new(
            2,
            Offloads::Defaults,
            &Conf::one(web(2).check(FAST_TCP_CHECK)),
        );
        stage.switch.reals[0].nft(&format!(
            "add table inet own; \
             add chain inet own out {{ type filter hook output priority 0; }}; \
             add rule inet own out ip saddr {} ip daddr {CLIENT} drop",
            vip().ip()
        ));
        let limit = Duration::from_millis(200);
        let tries = (0..100).map(|_| request_within(&stage.switch.cl, vip(), limit));
        let lost = tries.filter(Result::is_err).count() as u64;
        // One to rs2 that this machine was late with is lost, too; nothing else goes to rs1.
        let got = |real: &str| {
            let labels = [("service", "web"), ("real", real)];
            let metrics = stage.lbd.metrics();
            metrics.value("lbd_real_new_flows_total", &labels) as u64
        };
        let (silent, served) = (got("rs1"), got("rs2"));
        assert!(silent >= 25, "{silent} of 100 went to rs1");
        assert!(lost >= silent, "{lost} lost, {silent} went to rs1");
        assert_eq!(stage.lbd.real("web", "rs1")["state"], "up");

        let warned = format!("web/rs1: 0 of {silent} SYNs answered");
        wait_until("the warning", Duration::from_secs(100), || {
            let status = stage.lbd.status();
            let warnings = status["warnings"].as_array().expect("warnings");
            warnings
                .iter()
                .any(|w| w.as_str().is_some_and(|w| w.starts_with(&warned)))
        });
        let counted = |real: &str, result: &str| {
            let labels = [("service", "web"), ("real", real), ("result", result)];
            stage
                .lbd
                .metrics()
                .value("lbd_real_handshakes_total", &labels)
        };
        assert_eq!(counted("rs1", "completed"), 0.0);
        assert_eq!(counted("rs1", "unanswered"), silent as f64);
        // Who gave up before rs2's answer came has completed nothing.
        let completed = counted("rs2", "completed") as u64;
        assert!((100 - lost..=served).contains(&completed), "{completed}");
        assert_eq!(counted("rs2", "unanswered"), 0.0);
        let doctor = stage.lbd.ctl(&["-o", "json", "doctor"]).exits(1).stdout();
        let doctor: serde_json::Value = serde_json::from_str(&doctor).expect("a document");
        let finding = &doctor["findings"][0];
        assert_eq!(finding["code"], "syns-unanswered");
        assert_eq!(finding["about"], "web/rs1");
    });
}
