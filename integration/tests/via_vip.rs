//! Checks along the path of direct routing: what a check to the real's own address cannot see.

use integration::client::curl;
use integration::conf::{Conf, RealConf, ServiceConf};
use integration::isolated_within;
use integration::netns::Netns;
use integration::real_server::{RealServer, Settings};
use integration::stage::{PORT, Stage, vip, vip6, web};
use integration::topology::{LB, LB6, Offloads, VIP, VIP6, real, real6};
use integration::wait_until;
use std::time::Duration;

const DECIDED: Duration = Duration::from_secs(10);

/// In every test: tcp and http, udp, both families.
const SERVICES: [&str; 4] = ["web", "web6", "dns", "dns6"];

/// A quick check; `via` is `vip` by default.
fn check<'a>(keys: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let pace = [
        ("interval", "\"1s\""),
        ("fast_interval", "\"200ms\""),
        ("timeout", "\"1s\""),
        ("rise", "1"),
        ("fall", "2"),
    ];
    [keys, &pace].concat()
}

/// `SERVICES` over real servers 1 and 2, each checked in its own way.
fn conf() -> Conf {
    let echo = [
        ("type", "\"udp\""),
        ("send", "\"ping\""),
        ("expect", "\"ping\""),
    ];
    let http = [("type", "\"http\""), ("body", "\"rs\"")];
    let in_ipv6 = |service: ServiceConf| {
        (1..=2).fold(service.with("vip", &format!("\"{VIP6}\"")), |service, n| {
            service.real(RealConf::new(&format!("rs{n}"), real6(n)))
        })
    };
    Conf::one(web(2).check(&check(&[("type", "\"tcp\"")])))
        .service(in_ipv6(ServiceConf::tcp("web6", PORT)).check(&check(&http)))
        .service(
            ServiceConf::udp("dns", PORT)
                .reals(1..=2)
                .check(&check(&echo)),
        )
        .service(in_ipv6(ServiceConf::udp("dns6", PORT)).check(&check(&echo)))
}

fn all_up(stage: &Stage) {
    for service in SERVICES {
        for real in ["rs1", "rs2"] {
            stage.lbd.wait_real(service, real, "up", DECIDED);
        }
    }
}

/// Waits until rs2 is down in these words: the reason may become known after the state.
fn rs2_is_down(stage: &Stage, service: &str, words: &str) {
    let what = format!("rs2 of {service} is down: {words}");
    wait_until(&what, DECIDED, || {
        let rs2 = stage.lbd.real(service, "rs2");
        rs2["state"] == "down" && rs2["reason"].to_string().contains(words)
    });
}

/// rs2 is down everywhere, for the reason that names the leg, and rs1 is not.
fn rs2_lacks_the_vip(stage: &Stage, services: &[&str]) {
    for service in services {
        let words = "answers at its own address but not for the VIP";
        rs2_is_down(stage, service, words);
        assert_eq!(stage.lbd.real(service, "rs1")["state"], "up");
    }
}

fn take_vip(netns: &Netns) {
    netns.ip(&format!("addr del {VIP}/32 dev lo"));
    netns.ip(&format!("addr del {VIP6}/128 dev lo"));
}

fn give_vip(netns: &Netns) {
    netns.ip(&format!("addr add {VIP}/32 dev lo"));
    netns.ip(&format!("addr add {VIP6}/128 dev lo nodad"));
}

#[test]
fn a_real_without_the_vip_is_down() {
    isolated_within(Duration::from_secs(60), || {
        let stage = Stage::new(2, Offloads::Defaults, &conf());
        all_up(&stage);
        let rs2 = &stage.switch.reals[1];
        take_vip(rs2);
        rs2_lacks_the_vip(&stage, &SERVICES);
        assert_eq!(stage.curl(20).len(), 20, "nobody is sent there");
        give_vip(rs2);
        all_up(&stage);
    });
}

/// Sockets could not ask so: the local table would win, and answers be martians.
#[test]
fn the_same_while_this_host_owns_the_vip() {
    isolated_within(Duration::from_secs(60), || {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &conf());
        let lb = &stage.switch.lb;
        lb.ip(&format!("addr add {VIP}/24 dev eth0"));
        lb.ip(&format!("addr add {VIP6}/64 dev eth0 nodad"));
        // Nothing but this host's own addresses may ask rs1.
        stage.switch.reals[0].nft(&format!(
            "add table inet only; \
             add chain inet only in {{ type filter hook input priority 0; }}; \
             add rule inet only in ip daddr {VIP} ip saddr {VIP} drop; \
             add rule inet only in ip6 daddr {VIP6} ip6 saddr {VIP6} drop"
        ));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_announced();
        all_up(&stage);
        take_vip(&stage.switch.reals[1]);
        rs2_lacks_the_vip(&stage, &SERVICES);
        for vip in [vip(), vip6()] {
            assert_eq!(curl(&stage.switch.cl, vip, 20).len(), 20);
        }
        give_vip(&stage.switch.reals[1]);
        all_up(&stage);
    });
}

#[test]
fn nobody_listens_on_the_vip_or_a_firewall_is_before_it() {
    isolated_within(Duration::from_secs(60), || {
        let mut stage = Stage::new(2, Offloads::Off, &conf());
        all_up(&stage);
        // Datagrams are taken at the real's own addresses only: it refuses those for the VIP.
        stage.servers[1].stop();
        stage.servers[1] = RealServer::start(
            stage.switch.reals[1].handle(),
            Settings {
                name: "rs2".to_owned(),
                port: PORT,
                udp_addresses: vec![real(2).into(), real6(2).into()],
            },
        );
        rs2_lacks_the_vip(&stage, &["dns", "dns6"]);
        rs2_is_down(&stage, "dns", "connection refused");
        for service in ["web", "web6"] {
            stage.lbd.wait_real(service, "rs2", "up", DECIDED);
        }

        let rs2 = &stage.switch.reals[1];
        rs2.nft(&format!(
            "add table inet fw; \
             add chain inet fw in {{ type filter hook input priority 0; }}; \
             add rule inet fw in ip daddr {VIP} meta l4proto tcp reject with tcp reset; \
             add rule inet fw in ip6 daddr {VIP6} meta l4proto tcp drop"
        ));
        rs2_lacks_the_vip(&stage, &["web", "web6"]);
        rs2_is_down(&stage, "web", "connection refused");
        rs2.nft("delete table inet fw");
        for service in ["web", "web6"] {
            stage.lbd.wait_real(service, "rs2", "up", DECIDED);
        }
    });
}

/// A node has no VIP on `lo`: kube-proxy's rules take what is for VIP:port, as long as it owns it.
#[test]
fn a_node_whose_kube_proxy_does_not_own_the_vip_is_down() {
    isolated_within(Duration::from_secs(60), || {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &conf());
        let rs2 = &stage.switch.reals[1];
        take_vip(rs2);
        rs2.nft(&format!(
            "add table inet kube; \
             add chain inet kube pre {{ type nat hook prerouting priority -100; }}; \
             add rule inet kube pre ip daddr {VIP} meta l4proto {{ tcp, udp }} th dport {PORT} dnat ip to {}; \
             add rule inet kube pre ip6 daddr {VIP6} meta l4proto {{ tcp, udp }} th dport {PORT} dnat ip6 to {}",
            real(2),
            real6(2)
        ));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        all_up(&stage);
        stage.switch.reals[1].nft("flush chain inet kube pre");
        // What conntrack knows would go on being translated.
        stage.switch.reals[1].nft("delete table inet kube");
        rs2_lacks_the_vip(&stage, &SERVICES);
    });
}

#[test]
fn every_family_of_the_vip_is_asked() {
    isolated_within(Duration::from_secs(60), || {
        let both = format!("[\"{VIP}\", \"{VIP6}\"]");
        let service = web(2)
            .with("vip", &both)
            .check(&check(&[("type", "\"http\"")]));
        let stage = Stage::new(2, Offloads::Defaults, &Conf::one(service));
        stage.lbd.wait_real("web", "rs2", "up", DECIDED);
        let rs2 = &stage.switch.reals[1];
        rs2.ip(&format!("addr del {VIP6}/128 dev lo"));
        rs2_lacks_the_vip(&stage, &["web"]);
        rs2_is_down(&stage, "web", &VIP6.to_string());
    });
}

#[test]
fn a_source_is_where_the_check_comes_from_and_must_be_ours() {
    isolated_within(Duration::from_secs(60), || {
        let from = |source: &'static str| {
            Conf::one(web(1).check(&check(&[("type", "\"tcp\""), ("source", source)])))
        };
        let mut stage = Stage::before_lbd(1, Offloads::Defaults, &from("\"192.0.2.3\""));
        stage.switch.lb.ip("addr add 192.0.2.3/24 dev eth0");
        stage.switch.reals[0].nft(&format!(
            "add table inet only; \
             add chain inet only in {{ type filter hook input priority 0; }}; \
             add rule inet only in ip saddr {LB} drop; \
             add rule inet only in ip6 saddr {LB6} drop"
        ));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        stage.lbd.wait_real("web", "rs1", "up", DECIDED);

        // An address that is not here says nothing of the real.
        stage.lbd.reload(&from("\"192.0.2.77\""));
        let labels = [
            ("service", "web"),
            ("real", "rs1"),
            ("check", "tcp"),
            ("result", "own_trouble"),
        ];
        wait_until("the check cannot be done", DECIDED, || {
            let metrics = stage.lbd.metrics();
            metrics.has("lbd_check_results_total", &labels)
                && metrics.value("lbd_check_results_total", &labels) >= 3.0
        });
        assert_eq!(stage.lbd.real("web", "rs1")["state"], "up");
    });
}
