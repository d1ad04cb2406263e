//! `lbctl doctor`: each thing it finds is brought about for real.

use integration::conf::Conf;
use integration::dial::{dial_from, echo};
use integration::doctor::{check, doctor, fix, has, wrong};
use integration::host::Host;
use integration::routed::CLIENT;
use integration::stage::{PORT, RoutedStage, proxied, vip};
use integration::{isolated, wait_until};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

fn as_client() -> [String; 2] {
    ["--client".to_owned(), CLIENT.to_string()]
}

/// T36
#[test]
fn a_healthy_network_is_clean_and_the_client_seen_last_is_borrowed() {
    isolated(|| {
        let stage = RoutedStage::new(2, &Conf::one(proxied(2)));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), [] as [[&str; 3]; 0], "{view}");
        assert!(
            has(&view, "ip-forward-off"),
            "the host forwards nothing: {view}"
        );
        let (result, seen) = check(&view, "return path of web/rs1");
        assert_eq!(result, "skipped", "nobody has called yet");
        assert!(seen.contains("--client ADDRESS"), "{seen}");

        let [flag, client] = as_client();
        let (_, view) = doctor(&stage.lbd, &[&flag, &client]);
        assert_eq!(check(&view, "return path of web/rs1").0, "good", "{view}");

        let (_stream, _) = echo(&stage.net.cl.handle(), vip()).expect("proxied");
        let (_, view) = doctor(&stage.lbd, &[]);
        for real in ["web/rs1", "web/rs2"] {
            let words = format!("answers to {CLIENT} come back");
            let check = check(&view, &format!("return path of {real}"));
            assert_eq!(check, ("good", words.as_str()), "{view}");
        }
        let table = stage.lbd.ctl(&["doctor"]).ok().stdout();
        assert!(table.contains("nothing is wrong"), "{table}");
    });
}

#[test]
fn a_real_whose_default_route_leads_elsewhere_is_found() {
    isolated(|| {
        let mut stage = RoutedStage::new(3, &Conf::one(proxied(3)));
        let rs2 = &stage.net.reals[1];
        rs2.ip("route replace default via 203.0.113.99");
        // A reset is an answer, too.
        stage.servers[2].stop();
        let [flag, client] = as_client();
        let (code, view) = doctor(&stage.lbd, &[&flag, &client]);
        assert_eq!(code, 1);
        assert_eq!(
            wrong(&view),
            [["return-path", "fault", "web/rs2"]],
            "{view}"
        );
        assert_eq!(check(&view, "return path of web/rs3").0, "good", "{view}");
        let table = stage.lbd.ctl(&["doctor", &flag, &client]).exits(1).stdout();
        assert!(
            table.starts_with("fault [return-path] web/rs2: "),
            "{table}"
        );
        assert!(
            table.contains("\n  fix: on the real: ip route replace default"),
            "{table}"
        );
    });
}

#[test]
fn what_another_tool_takes_away_is_missing_or_was_restored() {
    isolated(|| {
        let stage = RoutedStage::before_lbd(1, &Conf::one(proxied(1)));
        let mut lbd = stage.lbd;
        let before = Host::of(&stage.net.lb);
        lbd.spawn();
        lbd.wait_ready();
        let ours = Host::of(&stage.net.lb).since(&before);
        assert!(!ours.rules.is_empty());
        // A tool that keeps at it is answered every few seconds only: then they are missing.
        let (mut missing, mut restored) = (false, false);
        wait_until("missing and restored", Duration::from_secs(30), || {
            let there = Host::of(&stage.net.lb).since(&before);
            for rule in &there.rules {
                let (family, rule) = match rule.strip_prefix("-6 ") {
                    Some(rest) => ("-6", rest),
                    None => ("-4", rule.as_str()),
                };
                let (preference, _) = rule.split_once(':').expect("a preference");
                // It may have gone meanwhile.
                let mut ip = stage.net.lb.command("ip");
                let _ = ip
                    .args([family, "rule", "del", "pref", preference])
                    .output();
            }
            let (code, view) = doctor(&lbd, &[]);
            restored |= has(&view, "rules-restored");
            if has(&view, "rules-missing") {
                assert_eq!(code, 1);
                missing = true;
            }
            missing && restored
        });
        wait_until("all is back", Duration::from_secs(15), || {
            let (_, view) = doctor(&lbd, &[]);
            !has(&view, "rules-missing")
        });
    });
}

#[test]
fn a_strict_filter_that_drops_clients_is_found() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        let lb = &stage.net.lb;
        lb.sysctl("ipv4.conf.eth0.rp_filter", "1");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert!(has(&view, "rp-filter-strict"), "{view}");
        assert_eq!(wrong(&view), [] as [[&str; 3]; 0], "it has dropped nothing");
        // The way back to this client leads by another interface than the one it comes by.
        stage.net.add_client([198, 51, 100, 200]);
        lb.ip("route add 198.51.100.200/32 via 203.0.113.21");
        let source: SocketAddr = "198.51.100.200:0".parse().expect("an address");
        dial_from(&stage.net.cl.handle(), Some(source), vip()).expect_err("dropped");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(
            wrong(&view),
            [["rp-filter-strict", "warning", "eth0"]],
            "{view}"
        );
        // What it says to do helps.
        lb.sh(fix(&view, "rp-filter-strict"));
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), [] as [[&str; 3]; 0], "{view}");
    });
}

/// T37
#[test]
fn ports_that_run_out_are_found_before_clients_notice() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        stage
            .net
            .lb
            .sysctl("ipv4.ip_local_port_range", "40000 40019");
        let open: Vec<TcpStream> = (0..17)
            .map(|_| echo(&stage.net.cl.handle(), vip()).expect("proxied").0)
            .collect();
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(
            wrong(&view),
            [["ports-low", "warning", "web/rs1"]],
            "{view}"
        );
        drop(open);
    });
}

#[test]
fn a_port_somebody_else_has_is_found() {
    isolated(|| {
        let stage = RoutedStage::before_lbd(1, &Conf::one(proxied(1)));
        let mut lbd = stage.lbd;
        let everywhere = SocketAddr::from(([0, 0, 0, 0], PORT));
        let squatter = stage
            .net
            .lb
            .run(|| TcpListener::bind(everywhere))
            .expect("bound");
        lbd.spawn_with(&["--force"]);
        wait_until("the doctor finds it", Duration::from_secs(10), || {
            lbd.try_status().is_some() && has(&doctor(&lbd, &[]).1, "not-listening")
        });
        drop(squatter);
        wait_until("lbd listens", Duration::from_secs(10), || {
            !has(&doctor(&lbd, &[]).1, "not-listening")
        });
    });
}
