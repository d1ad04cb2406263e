//! Checks that are dialled as clients are: a real whose answers do not come back through lbd is down.

use integration::conf::{Conf, ServiceConf};
use integration::stage::{PORT, REAL_PORT, RoutedStage, proxied, proxied6};
use integration::topology::VIP6;
use integration::{isolated_within, wait_until};
use std::time::Duration;

const DECIDED: Duration = Duration::from_secs(10);

/// Addresses of nobody, behind the router.
const SOURCE: &str = "\"198.51.100.250\"";
const SOURCE6: &str = "\"2001:db8:1::250\"";

/// A quick check from `source`: `via` is then `client` by default.
fn check<'a>(keys: &[(&'a str, &'a str)], source: &'a str) -> Vec<(&'a str, &'a str)> {
    let pace = [
        ("interval", "\"1s\""),
        ("fast_interval", "\"200ms\""),
        ("timeout", "\"1s\""),
        ("rise", "1"),
        ("fall", "2"),
        ("source", source),
    ];
    [keys, &pace].concat()
}

fn udp(name: &str) -> ServiceConf {
    ServiceConf::udp(name, PORT).with("mode", "\"tproxy\"")
}

/// Waits until rs2 is down in these words: the reason may become known after the state.
fn rs2_is_down(stage: &RoutedStage, service: &str, words: &str) {
    let what = format!("rs2 of {service} is down: {words}");
    wait_until(&what, DECIDED, || {
        let rs2 = stage.lbd.real(service, "rs2");
        rs2["state"] == "down" && rs2["reason"].to_string().contains(words)
    });
}

#[test]
fn a_real_whose_answers_to_clients_go_elsewhere_is_down_in_those_words() {
    isolated_within(Duration::from_secs(60), || {
        let tcp = [("type", "\"tcp\"")];
        let http = [("type", "\"http\"")];
        let echo = [
            ("type", "\"udp\""),
            ("send", "\"ping\""),
            ("expect", "\"ping\""),
        ];
        let conf = Conf::one(proxied(2).check(&check(&tcp, SOURCE)))
            .service(proxied6(2).check(&check(&http, SOURCE6)))
            .service(
                udp("dns")
                    .routed(1..=2, REAL_PORT)
                    .check(&check(&echo, SOURCE)),
            )
            .service(
                udp("dns6")
                    .with("vip", &format!("\"{VIP6}\""))
                    .routed6(1..=2, REAL_PORT)
                    .check(&check(&echo, SOURCE6)),
            );
        let stage = RoutedStage::new(2, &conf);
        let services = ["web", "web6", "dns", "dns6"];
        for service in services {
            for real in ["rs1", "rs2"] {
                stage.lbd.wait_real(service, real, "up", DECIDED);
            }
        }

        let rs2 = &stage.net.reals[1];
        rs2.ip("route add 198.51.100.0/24 via 203.0.113.99");
        rs2.ip("route add 2001:db8:1::/64 via 2001:db8:2::99");
        for service in services {
            let words = "to clients do not come back through this host";
            rs2_is_down(&stage, service, words);
            assert_eq!(stage.lbd.real(service, "rs1")["state"], "up");
        }

        rs2.ip("route del 198.51.100.0/24");
        rs2.ip("route del 2001:db8:1::/64");
        for service in services {
            stage.lbd.wait_real(service, "rs2", "up", DECIDED);
        }
    });
}

#[test]
fn other_ways_to_be_down_keep_their_own_words() {
    isolated_within(Duration::from_secs(60), || {
        let tcp = [("type", "\"tcp\"")];
        let conf = Conf::one(proxied(2).check(&check(&tcp, SOURCE)));
        let mut stage = RoutedStage::new(2, &conf);
        stage.lbd.wait_real("web", "rs1", "up", DECIDED);
        stage.servers[0].stop();
        stage.lbd.wait_real("web", "rs1", "down", DECIDED);
        let reason = stage.lbd.real("web", "rs1")["reason"].to_string();
        assert_eq!(reason, "\"connection refused\"");

        stage.net.reals[1].nft(
            "add table ip fw; \
             add chain ip fw in { type filter hook input priority 0; }; \
             add rule ip fw in ip saddr 198.51.100.0/24 reject with icmp type port-unreachable",
        );
        rs2_is_down(&stage, "web", "refuses clients' addresses");
    });
}

/// A check's own port, and a protocol that is not the service's: answers come back from there, too.
#[test]
fn a_check_may_have_a_port_of_its_own() {
    isolated_within(Duration::from_secs(60), || {
        let health = [("type", "\"http\""), ("port", "9090")];
        let dns = udp("dns").routed(1..=1, REAL_PORT);
        let conf = Conf::one(dns.check(&check(&health, SOURCE)));
        let mut stage = RoutedStage::before_lbd(1, &conf);
        let _health = stage.net.serve(1, 9090);
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_real("dns", "rs1", "up", DECIDED);
        let reason = stage.lbd.real("dns", "rs1")["reason"].to_string();
        assert!(reason.contains("http 200"), "{reason}");
    });
}
