//! `lbctl doctor` about the host, the file, and networks that forbid what lbd does; and without lbd.

use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::daemon::{Answer, Daemon};
use integration::doctor::{check, doctor, fix, has, wrong};
use integration::netns::Netns;
use integration::stage::{RoutedStage, Stage, proxied, web};
use integration::topology::{CLIENT_MAC, Offloads, VIP};
use integration::{isolated, wait_until};
use nix::sys::signal::Signal;
use serde_json::Value;
use std::time::Duration;

const NOTHING: [[&str; 3]; 0] = [];

/// `lbctl doctor` where no lbd answers, with the file that lbd would read.
fn offline(lbd: &Daemon, args: &[&str]) -> Answer {
    let file = lbd.config_path();
    let file = file.to_str().expect("a path");
    let socket = lbd.socket_path();
    let mut lbctl = lbd.netns_command("lbctl");
    lbctl.args(["doctor", "--config", file]).args(args);
    lbctl.env("LBCTL_SOCKET", socket);
    Answer::of("lbctl doctor", lbctl.output().expect("nsenter"))
}

fn view_of(answer: &Answer) -> Value {
    let text = answer.stdout();
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}{}", answer.stderr()))
}

#[test]
fn without_lbd_it_says_why_nobody_answers_and_looks_at_the_host_all_the_same() {
    isolated(|| {
        let mut stage = Stage::before_lbd(1, Offloads::Defaults, &Conf::one(web(1)));
        let lbd = &mut stage.lbd;
        let answer = offline(lbd, &["-o", "json"]);
        assert_eq!(answer.code(), 5, "{answer:?}");
        assert!(answer.stderr().contains("is lbd running?"), "{answer:?}");
        let view = view_of(&answer);
        assert_eq!(view["api_version"], "v1");
        assert_eq!(wrong(&view), [["lbd-not-reachable", "fault", ""]], "{view}");
        let seen = check(&view, "control socket").1;
        assert!(seen.contains("no process is called lbd"), "{seen}");
        assert!(fix(&view, "lbd-not-reachable").contains("systemctl start lbd"));
        for name in ["kernel", "interface eth0", "nft", "listeners of others"] {
            assert_eq!(check(&view, name).0, "good", "{name}: {view}");
        }
        let table = offline(lbd, &[]);
        let text = table.stdout();
        assert_eq!(table.code(), 5);
        assert!(text.starts_with("fault [lbd-not-reachable] "), "{text}");

        // By the file alone nothing is wrong; then something is.
        assert_eq!(offline(lbd, &["--offline"]).code(), 0);
        stage.switch.lb.ip("link set eth0 down");
        let answer = offline(lbd, &["--offline", "-o", "json"]);
        let view = view_of(&answer);
        assert_eq!(answer.code(), 1);
        assert_eq!(
            wrong(&view),
            [["interface-down", "fault", "eth0"]],
            "{view}"
        );
        stage.switch.lb.sh(fix(&view, "interface-down"));

        lbd.write_text("[network]\ninterface = 1\n");
        let view = view_of(&offline(lbd, &["--offline", "-o", "json"]));
        assert_eq!(wrong(&view), [["config-bad", "fault", ""]], "{view}");
        std::fs::remove_file(lbd.config_path()).expect("removed");
        let view = view_of(&offline(lbd, &["--offline", "-o", "json"]));
        assert_eq!(wrong(&view), [["config-missing", "fault", ""]], "{view}");
    });
}

#[test]
fn a_killed_lbd_and_a_stranger_at_its_socket_are_told_apart() {
    isolated(|| {
        let mut stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)));
        stage.lbd.stop(Signal::SIGKILL);
        let view = view_of(&offline(&stage.lbd, &["-o", "json"]));
        let seen = check(&view, "control socket").1;
        assert!(seen.contains("nobody listens: lbd was killed"), "{seen}");
        let socket = stage.lbd.socket_path();
        std::fs::remove_file(&socket).expect("removed");
        let stranger = std::os::unix::net::UnixListener::bind(&socket).expect("bound");
        let closes = std::thread::spawn(move || drop(stranger.accept()));
        let answer = offline(&stage.lbd, &["-o", "json"]);
        let seen = view_of(&answer);
        let seen = check(&seen, "control socket").1;
        assert!(seen.contains("does not answer as lbd does"), "{seen}");
        assert_eq!(answer.code(), 5);
        closes.join().expect("no panic");
    });
}

#[test]
fn the_file_beside_what_runs() {
    isolated(|| {
        let conf = Conf::one(web(2));
        let stage = Stage::new(2, Offloads::Defaults, &conf);
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!((code, wrong(&view)), (0, NOTHING.to_vec()), "{view}");
        assert_eq!(check(&view, "configuration file").0, "good", "{view}");
        for name in [
            "running",
            "guard",
            "flow table",
            "descriptors",
            "receive ring of eth0",
        ] {
            assert_eq!(check(&view, name).0, "good", "{name}: {view}");
        }

        stage.lbd.write(&Conf::one(web(1)));
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!(code, 0, "a note: {view}");
        assert!(has(&view, "config-not-loaded"), "{view}");
        assert!(
            check(&view, "configuration file").1.contains("rs2"),
            "{view}"
        );

        stage.lbd.write_text("nonsense");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), [["config-bad", "warning", ""]], "{view}");
        stage.lbd.write(&conf);

        stage.lbd.ctl(&["vip", "release", &VIP.to_string()]).ok();
        let (code, view) = doctor(&stage.lbd, &[]);
        assert_eq!(code, 0, "a note: {view}");
        assert!(has(&view, "config-drift"), "{view}");
    });
}

#[test]
fn the_last_good_configuration_is_told_of() {
    isolated(|| {
        let mut stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)));
        stage.lbd.stop(Signal::SIGTERM);
        // Where the state is can still be read of it.
        let file = stage.lbd.config_path();
        let good = std::fs::read_to_string(file).expect("a file");
        stage.lbd.write_text(&format!("{good}\nnonsense\n"));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let (_, view) = doctor(&stage.lbd, &[]);
        let found = [
            ["last-good-in-use", "warning", ""],
            ["config-bad", "warning", ""],
        ];
        assert_eq!(wrong(&view), found, "{view}");
    });
}

/// As a cloud does: what is addressed to the VIP does not get through, whatever its MAC.
#[test]
fn a_network_that_forbids_direct_routing_is_told_from_a_real_that_is_down() {
    isolated(|| {
        let conf = Conf::one(web(2).check(FAST_TCP_CHECK));
        let stage = Stage::new(2, Offloads::Defaults, &conf);
        let wait = |real: &str, state: &str| {
            stage
                .lbd
                .wait_real("web", real, state, Duration::from_secs(10));
        };
        wait("rs1", "up");
        wait("rs2", "up");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
        assert_eq!(check(&view, "network for web").0, "good", "{view}");
        let forbid = |machine: &Netns| {
            machine.nft("add table netdev cloud");
            machine.nft(
                "add chain netdev cloud c { type filter hook ingress device eth0 priority 0; }",
            );
            machine.nft(&format!("add rule netdev cloud c ip daddr {VIP} drop"));
        };
        forbid(&stage.switch.reals[0]);
        wait("rs1", "down");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert!(!has(&view, "network-forbids"), "one real alone: {view}");
        forbid(&stage.switch.reals[1]);
        wait_until("the network is to blame", Duration::from_secs(10), || {
            has(&doctor(&stage.lbd, &[]).1, "network-forbids")
        });
        let (_, view) = doctor(&stage.lbd, &[]);
        assert!(
            wrong(&view).contains(&["network-forbids", "fault", "web"]),
            "{view}"
        );
        let words = fix(&view, "network-forbids");
        for part in ["lbctl gen realserver --service web", "docs/networks.md"] {
            assert!(words.contains(part), "{words}");
        }
        for machine in &stage.switch.reals {
            machine.nft("delete table netdev cloud");
        }
        wait("rs1", "up");
        wait("rs2", "up");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}

#[test]
fn a_vip_in_use_elsewhere_and_one_of_this_host_are_told() {
    isolated(|| {
        let mut stage = Stage::before_lbd(1, Offloads::Defaults, &Conf::one(web(1)));
        let cl = &stage.switch.cl;
        cl.ip(&format!("addr add {VIP}/32 dev eth0"));
        stage.lbd.spawn();
        stage.lbd.wait_ready();
        let vip = VIP.to_string();
        let conflict = ["vip-conflict", "fault", vip.as_str()];
        wait_until("it is in use", Duration::from_secs(10), || {
            wrong(&doctor(&stage.lbd, &[]).1).contains(&conflict)
        });
        let (_, view) = doctor(&stage.lbd, &[]);
        let seen = check(&view, &format!("VIP {VIP} on eth0")).1;
        assert!(seen.contains(CLIENT_MAC), "{seen}");
        cl.ip(&format!("addr del {VIP}/32 dev eth0"));
        stage.lbd.ctl(&["vip", "take", &vip]).ok();
        wait_until("it is announced", Duration::from_secs(10), || {
            stage.lbd.status()["vips"][0]["state"] == "announced"
        });
        stage.switch.lb.ip(&format!("addr add {VIP}/32 dev eth0"));
        wait_until("the host has it", Duration::from_secs(10), || {
            has(&doctor(&stage.lbd, &[]).1, "vip-on-host")
        });
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "a note: {view}");
    });
}

#[test]
fn what_kube_proxy_takes_from_proxied_services_is_told() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        let lb = &stage.net.lb;
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
        lb.nft("add table ip kube-proxy");
        lb.nft("add chain ip kube-proxy web");
        lb.nft("add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }");
        lb.nft(&format!(
            "add element ip kube-proxy service-ips {{ {VIP} . tcp . 80 : goto web }}"
        ));
        let (_, view) = doctor(&stage.lbd, &[]);
        let vip = VIP.to_string();
        assert_eq!(
            wrong(&view),
            [["kube-proxy-has-vip", "fault", &vip]],
            "{view}"
        );
        lb.nft("delete table ip kube-proxy");
        let (_, view) = doctor(&stage.lbd, &[]);
        assert_eq!(wrong(&view), NOTHING, "{view}");
    });
}
