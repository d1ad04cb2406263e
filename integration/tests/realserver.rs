//! `lbctl gen realserver`: the script, run on machines that know nothing of VIPs yet.

use integration::client::curl;
use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::daemon::{Daemon, binary};
use integration::doctor::{check, doctor, has, wrong};
use integration::host::Host;
use integration::netns::Netns;
use integration::routed::BACK;
use integration::stage::{PORT, RoutedStage, Stage, proxied, serve, vip, web};
use integration::topology::{Offloads, Switch, VIP, VIP6};
use integration::{isolated, wait_until};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// `web` in both families, with a check along the way of its traffic.
fn both_families() -> Conf {
    let vips = format!("[\"{VIP}\", \"{VIP6}\"]");
    Conf::one(web(2).with("vip", &vips).check(FAST_TCP_CHECK))
}

/// Prints the script by the running lbd, and keeps it.
fn script(lbd: &Daemon, args: &[&str]) -> PathBuf {
    let line = [&["gen", "realserver", "--service", "web"], args].concat();
    let path = lbd.dir().join("web.sh");
    std::fs::write(&path, lbd.ctl(&line).ok().stdout()).expect("written");
    path
}

/// The same, without an lbd that runs.
fn offline_script(args: &[&str]) -> PathBuf {
    let nobody = Netns::new("nobody");
    let lbd = Daemon::prepare(&nobody, &Conf::one(web(1)));
    let file = lbd.config_path();
    let file = file.to_str().expect("a path");
    let script = script(&lbd, &[&["--config", file], args].concat());
    let kept = PathBuf::from("/run/web.sh");
    std::fs::rename(script, &kept).expect("kept");
    kept
}

/// Runs it there. The machines of a test share `/run`: each remembers in a place of its own.
fn run(machine: &Netns, script: &Path, verb: &str) -> Output {
    let mut sh = machine.command("dash");
    let state = format!("/run/remembered-by-{}", machine.name());
    sh.env("LBD_REALSERVER_STATE", state).arg(script).arg(verb);
    sh.output().expect("dash")
}

fn ok(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    assert!(output.status.success(), "{said}");
    said
}

fn refused(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// All that the script may touch, as the tools print it.
fn look(machine: &Netns) -> (String, Host, Vec<String>) {
    let sysctls = ["arp_ignore", "arp_announce"].map(|key| {
        let path = format!("/proc/sys/net/ipv4/conf/all/{key}");
        machine.run(|| std::fs::read_to_string(path).expect("a sysctl"))
    });
    let addresses = machine.ip("-o address show dev lo");
    (addresses, Host::of(machine), sysctls.to_vec())
}

#[test]
fn machines_that_knew_nothing_serve_silently_and_are_left_as_they_were() {
    isolated(|| {
        let mut switch = Switch::new(0, Offloads::Defaults);
        let conf = both_families();
        switch.add_machine(1);
        switch.add_machine(2);
        let before: Vec<_> = switch.reals.iter().map(look).collect();
        let mut lbd = Daemon::prepare(&switch.lb, &conf);
        lbd.spawn();
        wait_until("lbd answers", Duration::from_secs(10), || {
            lbd.try_status().is_some()
        });
        let script = script(&lbd, &[]);
        for machine in &switch.reals {
            let said = ok(&run(machine, &script, "apply"));
            assert!(said.contains("arp_ignore: 0, now 1"), "{said}");
            assert!(!said.contains("note:"), "{said}");
            // Again: nothing is left to do.
            let again = ok(&run(machine, &script, "apply"));
            assert_eq!(again, "ready: this machine is a real server of web\n");
        }
        let servers = [serve(&switch, 1), serve(&switch, 2)];
        for real in ["rs1", "rs2"] {
            lbd.wait_real("web", real, "up", Duration::from_secs(10));
        }
        lbd.wait_announced();
        assert_eq!(curl(&switch.cl, vip(), 20).len(), 20);
        assert!(servers.iter().all(|server| server.connections() > 0));
        let (code, view) = doctor(&lbd, &[]);
        assert_eq!((code, wrong(&view)), (0, Vec::new()), "{view}");
        for real in ["web/rs1", "web/rs2"] {
            assert_eq!(check(&view, &format!("ARP for VIPs by {real}")).0, "good");
        }
        drop(servers);
        for (machine, before) in switch.reals.iter().zip(before) {
            ok(&run(machine, &script, "undo"));
            assert_eq!(look(machine), before, "{}", machine.name());
            ok(&run(machine, &script, "undo"));
        }
    });
}

#[test]
fn services_share_a_machine_and_what_was_there_before_stays() {
    isolated(|| {
        let machine = Netns::new("rs1");
        machine.sysctl("ipv4.conf.all.arp_announce", "1");
        machine.ip("address add 192.0.2.12/32 dev lo");
        let before = look(&machine);
        let write = |name: &str, vips: &str| {
            let file = format!("/run/{name}.toml");
            let text = format!(
                "[network]\ninterface = \"eth0\"\n[[service]]\nname = \"{name}\"\nvip = {vips}\nport = 80\n"
            );
            std::fs::write(&file, text).expect("written");
            let output = Command::new(binary("lbctl"))
                .args(["gen", "realserver", "--service", name, "--config", &file])
                .output()
                .expect("lbctl");
            let script = PathBuf::from(format!("/run/{name}.sh"));
            std::fs::write(&script, &output.stdout).expect("written");
            assert!(output.status.success(), "{output:?}");
            script
        };
        let web = write("web", "[\"192.0.2.10\", \"192.0.2.12\"]");
        let dns = write("dns", "[\"192.0.2.10\", \"2001:db8::10\"]");
        ok(&run(&machine, &web, "apply"));
        let web_alone = look(&machine);
        ok(&run(&machine, &dns, "apply"));
        ok(&run(&machine, &dns, "undo"));
        assert_eq!(look(&machine), web_alone);
        // The same service with other VIPs: those it no longer has go.
        ok(&run(&machine, &dns, "apply"));
        let web = write("web", "\"192.0.2.11\"");
        ok(&run(&machine, &web, "apply"));
        let addresses = machine.ip("-o address show dev lo");
        for (address, there) in [("192.0.2.10/32", true), ("192.0.2.11/32", true)] {
            assert_eq!(addresses.contains(address), there, "{addresses}");
        }
        ok(&run(&machine, &dns, "undo"));
        assert!(
            !machine
                .ip("-o address show dev lo")
                .contains("192.0.2.10/32")
        );
        ok(&run(&machine, &web, "undo"));
        assert_eq!(look(&machine), before);
    });
}

#[test]
fn a_machine_where_it_would_do_harm_is_left_alone() {
    isolated(|| {
        let script = offline_script(&[]);
        let machine = Netns::new("node");
        machine.ip("link add eth0 type veth peer name eth9");
        let undisturbed = |machine: &Netns| {
            let arp = "/proc/sys/net/ipv4/conf/all/arp_ignore";
            let ignore = machine.run(|| std::fs::read_to_string(arp).expect("a sysctl"));
            assert_eq!(ignore, "0\n");
            assert!(!machine.ip("-o address show dev lo").contains("192.0.2.10"));
        };
        machine.ip(&format!("address add {VIP}/24 dev eth0"));
        let said = refused(&run(&machine, &script, "apply"));
        assert!(said.contains("eth0 has 192.0.2.10"), "{said}");
        undisturbed(&machine);
        // What it says to do helps.
        let fix = said.rsplit_once(": ").expect("a command").1;
        machine.sh(fix.trim());
        // kube-proxy, as it is seen in each of its modes.
        machine.ip("link add kube-ipvs0 type veth peer name kube9");
        machine.ip(&format!("address add {VIP}/32 dev kube-ipvs0"));
        let said = refused(&run(&machine, &script, "apply"));
        assert!(said.contains("kube-proxy serves 192.0.2.10"), "{said}");
        undisturbed(&machine);
        machine.ip("link del kube-ipvs0");
        machine.nft("add table ip kube-proxy");
        machine.nft("add chain ip kube-proxy web");
        machine.nft("add map ip kube-proxy service-ips { type ipv4_addr . inet_proto . inet_service : verdict; }");
        machine.nft("add element ip kube-proxy service-ips { 192.0.2.100 . tcp . 80 : goto web }");
        ok(&run(&machine, &script, "apply"));
        ok(&run(&machine, &script, "undo"));
        machine.nft("add element ip kube-proxy service-ips { 192.0.2.10 . tcp . 80 : goto web }");
        let said = refused(&run(&machine, &script, "apply"));
        assert!(said.contains("kube-proxy serves 192.0.2.10"), "{said}");
        undisturbed(&machine);
        machine.nft("delete table ip kube-proxy");
        for line in [
            "-t nat -N KUBE-SERVICES",
            "-t nat -N KUBE-EXT-WEB",
            "-t nat -A KUBE-SERVICES -d 192.0.2.10/32 -p tcp --dport 80 -j KUBE-EXT-WEB",
        ] {
            machine.sh(&format!("iptables {line}"));
        }
        let said = refused(&run(&machine, &script, "apply"));
        assert!(said.contains("kube-proxy serves 192.0.2.10"), "{said}");
        undisturbed(&machine);
    });
}

#[test]
fn answers_of_a_proxied_service_go_back_through_lbd_by_a_route_for_its_port_alone() {
    isolated(|| {
        let stage = RoutedStage::new(1, &Conf::one(proxied(1)));
        let rs1 = &stage.net.reals[0];
        rs1.ip("route replace default via 203.0.113.99");
        let before = look(rs1);
        assert!(curl(&stage.net.cl, vip(), 1).is_empty(), "astray");
        let missing = stage
            .lbd
            .ctl(&["gen", "realserver", "--service", "web"])
            .exits(2);
        assert!(
            missing.stderr().contains("--gateway ADDRESS"),
            "{missing:?}"
        );
        assert!(missing.stdout().is_empty());
        let script = script(&stage.lbd, &["--gateway", &BACK.to_string()]);
        ok(&run(rs1, &script, "apply"));
        assert_eq!(curl(&stage.net.cl, vip(), 3).len(), 3);
        let route = rs1.ip("route get 198.51.100.100");
        assert!(route.contains("203.0.113.99"), "all else: {route}");
        ok(&run(rs1, &script, "undo"));
        assert_eq!(look(rs1), before);
    });
}

#[test]
fn it_outlives_boots_by_a_unit_that_undo_takes_away() {
    isolated(|| {
        // This test's mounts are its own.
        let sh = |line: &str| {
            let status = Command::new("sh").args(["-c", line]).status();
            assert!(status.expect("sh").success(), "{line}");
        };
        let machine = Netns::new("rs1");
        let script = offline_script(&["--persist"]);
        let said = refused(&run(&machine, &script, "persist"));
        assert!(said.contains("systemd does not run here"), "{said}");
        sh(
            "mkdir -p /run/systemd/system /run/bin /run/etc/systemd/system \
            && mount --bind /run/etc /etc \
            && printf '#!/bin/sh\\necho \"$@\" >>/run/systemctl.log\\n' >/run/bin/systemctl \
            && chmod 755 /run/bin/systemctl",
        );
        let path = format!("/run/bin:{}", std::env::var("PATH").expect("a PATH"));
        let persist = |verb: &[&str]| {
            let mut sh = machine.command("dash");
            sh.env("PATH", &path).arg(&script).args(verb);
            ok(&sh.output().expect("dash"))
        };
        // `--persist`: it is what a script without a word does.
        let said = persist(&[]);
        assert!(
            said.ends_with("and at every boot: lbd-realserver-web.service\n"),
            "{said}"
        );
        let unit = "/etc/systemd/system/lbd-realserver-web.service";
        let text = std::fs::read_to_string(unit).expect("a unit");
        let start = text
            .lines()
            .find_map(|line| line.strip_prefix("ExecStart="));
        let start = start.expect("a command");
        let verified = Command::new("systemd-analyze")
            .args(["verify", unit])
            .output();
        match verified {
            Ok(output) => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                assert!(!said.contains("lbd-realserver"), "{said}");
            }
            Err(_) => println!("skipped: systemd-analyze is not installed"),
        }
        // As the next boot does, with nothing remembered.
        let lo = || machine.ip("-o address show dev lo");
        machine.ip(&format!("address del {VIP}/32 dev lo"));
        sh("rm -r /run/lbd-realserver");
        machine.sh(start);
        assert!(lo().contains("192.0.2.10/32"), "{}", lo());
        persist(&["undo"]);
        assert!(!lo().contains("192.0.2.10/32"), "{}", lo());
        assert!(!Path::new(unit).exists() && !Path::new("/etc/lbd-realserver").exists());
        let log = std::fs::read_to_string("/run/systemctl.log").expect("a log");
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(
            lines,
            [
                "daemon-reload",
                "enable --quiet lbd-realserver-web.service",
                "disable --quiet lbd-realserver-web.service",
                "daemon-reload",
            ]
        );
    });
}

#[test]
fn what_is_printed_is_plain_shell_and_says_what_it_could_not_do() {
    isolated(|| {
        let stage = Stage::new(1, Offloads::Defaults, &Conf::one(web(1)));
        let by_endpoint = format!("{VIP}:{PORT}/tcp");
        let gen_for = |service: &str, args: &[&str]| {
            let line = [&["gen", "realserver", "--service", service], args].concat();
            stage.lbd.ctl(&line)
        };
        let by_name = gen_for("web", &[]).ok().stdout();
        assert_eq!(gen_for(&by_endpoint, &[]).ok().stdout(), by_name);
        let file = stage.lbd.config_path();
        let file = file.to_str().expect("a path");
        let offline = gen_for("web", &["--config", file, "--socket", "/nowhere"]);
        assert_eq!(offline.ok().stdout(), by_name, "the file says the same");
        let json = gen_for("web", &["-o", "json"]).json();
        assert_eq!(json["script"], by_name.as_str());
        assert_eq!(json["api_version"], "v1");
        let undo = gen_for("web", &["--undo"]).ok().stdout();
        assert!(undo.contains("\ndefault='undo'\n"), "{undo}");
        let path = stage.lbd.dir().join("script.sh");
        std::fs::write(&path, &by_name).expect("written");
        let parsed = Command::new("dash").arg("-n").arg(&path).status();
        assert!(parsed.expect("dash").success());
        match Command::new("shellcheck").arg(&path).output() {
            Ok(found) => assert!(found.status.success(), "{found:?}"),
            Err(_) => println!("skipped: shellcheck is not installed"),
        }
        let unknown = gen_for("wed", &[]).exits(3);
        assert!(unknown.stderr().contains("web"), "{unknown:?}");
        gen_for("wed", &["--config", file]).exits(3);
        let bad = stage.lbd.dir().join("bad.toml");
        std::fs::write(&bad, "[network]\nport = 1\n").expect("written");
        let bad = gen_for("web", &["--config", bad.to_str().expect("a path")]).exits(78);
        assert!(
            bad.stdout().is_empty() && bad.stderr().contains("bad.toml"),
            "{bad:?}"
        );
        gen_for("web", &["--socket", "/nowhere"]).exits(5);
        assert!(!has(&doctor(&stage.lbd, &[]).1, "answers-for-vip"));
    });
}
