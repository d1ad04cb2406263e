//! `lbctl import`: files that their owners take, what is printed of them, and that what comes of
//! them forwards.

use integration::client::{Identity, curl, spread};
use integration::conf::Conf;
use integration::daemon::{Daemon, binary};
use integration::isolated;
use integration::netns::run;
use integration::routed::{self, CLIENT};
use integration::stage::{PORT, REAL_PORT, RoutedStage, Stage, proxied, vip, web};
use integration::topology::{self, Offloads, VIP, real};
use serde_json::Value;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(10);

fn fixture(name: &str) -> PathBuf {
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/../lbcore/src/import/fixtures");
    Path::new(fixtures).join(name)
}

fn import(args: &[&str], file: &Path) -> Output {
    let mut command = Command::new(binary("lbctl"));
    command.arg("import").args(args).arg(file);
    command.output().expect("lbctl")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// keepalived and HAProxy themselves find nothing wrong with the files that are imported in tests.
#[test]
fn inputs_are_what_their_owners_take() {
    isolated(|| {
        // keepalived wants its interfaces to be there.
        let link = "link add eth0 type veth peer name eth1";
        run(Command::new("ip").args(link.split(' ')));
        let small = tempfile::tempdir().expect("a directory");
        let files = [
            ("keepalived", keepalived_conf()),
            ("haproxy", haproxy_cfg()),
        ];
        for (name, text) in files {
            std::fs::write(small.path().join(name), text).expect("a file");
        }
        for (program, args, file) in [
            ("keepalived", &["-t", "-f"][..], fixture("keepalived.conf")),
            ("keepalived", &["-t", "-f"], small.path().join("keepalived")),
            ("haproxy", &["-c", "-f"], fixture("haproxy.cfg")),
            ("haproxy", &["-c", "-f"], small.path().join("haproxy")),
        ] {
            let output = Command::new(program).args(args).arg(&file).output();
            let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
            let said = text(&output.stdout) + &text(&output.stderr);
            assert!(output.status.success(), "{program} {file:?}: {said}");
        }
    });
}

#[test]
fn every_line_without_an_equivalent_is_said_with_its_number() {
    for (kind, name, options, lines) in [
        (
            "ipvsadm",
            "rules.ipvsadm",
            &[][..],
            &[
                "line 5: -A -t 192.0.2.10:443 -s sed -p 300 -M 255.255.255.0: -M 255.255.255.0: no equivalent",
                "line 17: -A -f 7 -s lblc: left out: lbd has no firewall marks",
                "line 18: -a -f 7 -r 192.0.2.21:0 -g -w 1: left out with its service",
                "must hold: IPVS checks nobody",
            ][..],
        ),
        (
            "keepalived",
            "keepalived.conf",
            &[],
            &[
                "lines 20-33: vrrp_instance EDGE: no equivalent: lbd has no VRRP",
                "misc_dynamic: an exit code is no weight here",
                "include /etc/keepalived/conf.d/*.conf: not read",
                "must hold: keepalived goes on with its vrrp parts",
            ],
        ),
        (
            "haproxy",
            "haproxy.cfg",
            &["--vip", "192.0.2.19", "--trusted", "198.51.100.0/24"],
            &[
                "line 3: log /dev/log local0: no equivalent: it is about HAProxy itself",
                "frontend pages from pages: left out, all of it: lbd is of layer 4",
                "use_backend admin if admin: no equivalent",
                "must hold: HAProxy no longer listens on these VIPs",
            ],
        ),
    ] {
        let file = fixture(name);
        let output = import(&[&[kind][..], options].concat(), &file);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{kind}: {said}");
        for line in lines {
            assert!(said.contains(line), "{kind}: {line}: {said}");
        }
        assert!(said.contains("what was imported: good: "), "{kind}: {said}");

        // The same for programs: all of it in one document.
        let json = import(&[&[kind, "-o", "json"][..], options].concat(), &file);
        assert_eq!(
            (json.status.code(), text(&json.stderr)),
            (Some(0), String::new())
        );
        let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
        assert_eq!(
            (&json["api_version"], &json["good"]),
            (&"v1".into(), &true.into())
        );
        assert_eq!(json["toml"].as_str(), Some(text(&output.stdout).as_str()));
        let findings = json["findings"].as_array().expect("a list");
        let told = said.lines().filter(|line| line.starts_with("line"));
        assert_eq!(findings.len(), told.count(), "{kind}");
        for finding in findings {
            assert!(
                finding["line"].is_u64() && finding["last_line"].is_u64(),
                "{finding}"
            );
            assert!(
                finding["about"].is_string() && finding["what"].is_string(),
                "{finding}"
            );
        }

        // And stdout alone is a file that lbd takes.
        let dir = tempfile::tempdir().expect("a directory");
        let made = dir.path().join("lbd.toml");
        std::fs::write(&made, &output.stdout).expect("a file");
        let check = Command::new(binary("lbctl"))
            .args(["config", "check"])
            .arg(&made)
            .output();
        assert!(check.expect("lbctl").status.success(), "{kind}");
    }
}

#[test]
fn what_cannot_be_imported_is_an_error_with_the_way_out() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("file");
    for (kind, content, code, words) in [
        ("ipvsadm", "", 1, "error: no service could be imported"),
        (
            "keepalived",
            "virtual_server 192.0.2.1 80 {\n",
            1,
            "line 1: the block that begins here is never closed; nothing was imported",
        ),
        (
            "haproxy",
            "listen a\n bind *:80\n",
            1,
            "line 2: bind *:80: left out",
        ),
        (
            "haproxy",
            "global\n log \"x\n",
            1,
            "hint:  what does HAProxy say? haproxy -c -f FILE",
        ),
        (
            "haproxy",
            "listen \x1b[2Ja\n mode tcp\n bind 192.0.2.1:1 \u{202e}x y\n",
            0,
            "\\u{202e}x y: no equivalent",
        ),
        ("nginx", "", 2, "unrecognized subcommand"),
    ] {
        std::fs::write(&file, content).expect("a file");
        let output = import(&[kind], &file);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{kind}: {said}");
        assert!(said.contains(words), "{kind}: {said}");
        let printed = text(&output.stdout) + &said;
        let odd = |c: char| c == '\x1b' || c == '\u{202e}';
        assert!(!printed.contains(odd), "{kind}: {printed:?}");
        if code != 0 {
            assert_eq!(text(&output.stdout), "", "{kind}");
        }
    }
    let missing = import(&["ipvsadm"], &dir.path().join("missing"));
    assert_eq!(missing.status.code(), Some(1));
}

/// Puts what an import printed into force, in directories of the test.
fn start(lbd: &mut Daemon, kind: &str, source: &str) {
    let file = lbd.dir().join("source");
    std::fs::write(&file, source).expect("a file");
    let path = file.to_str().expect("a path");
    let toml = lbd.ctl(&["import", kind, path]).ok().stdout();
    let dirs = format!(
        "[lbd]\nrun_dir = \"{}\"\nstate_dir = \"{}\"\n",
        lbd.run_dir().display(),
        lbd.state_dir().display()
    );
    let network = "[network]\nflow_entries = 65536\n";
    lbd.write_text(&(dirs + &toml.replace("[network]\n", network)));
    lbd.spawn();
    lbd.wait_ready();
}

fn ipvsadm_rules() -> String {
    let real = |n: u8, weight: u8| format!("-a -t {VIP}:80 -r {}:80 -g -w {weight}\n", real(n));
    format!("-A -t {VIP}:80 -s wrr\n{}{}", real(1, 3), real(2, 1))
}

fn keepalived_conf() -> String {
    let real = |n: u8| {
        format!(
            "    real_server {} {PORT} {{\n        weight 1\n        TCP_CHECK {{\n            \
             connect_timeout 1\n            retry 1\n            delay_before_retry 0.2\n        }}\n    }}\n",
            topology::real(n)
        )
    };
    format!(
        "virtual_server {VIP} {PORT} {{\n    delay_loop 0.5\n    lb_algo rr\n    lb_kind DR\n    \
         protocol TCP\n{}{}}}\n",
        real(1),
        real(2)
    )
}

fn haproxy_cfg() -> String {
    let server = |n: u8| format!("    server rs{n} {}:{REAL_PORT} check\n", routed::real(n));
    format!(
        "defaults\n    mode tcp\n    timeout connect 2s\n    timeout client 1m\n    timeout server 1m\n    \
         default-server inter 300ms rise 1 fall 2\n\n\
         frontend web\n    bind {VIP}:{PORT} transparent\n    default_backend web\n\n\
         backend web\n    balance roundrobin\n    source 0.0.0.0 usesrc clientip\n{}{}",
        server(1),
        server(2)
    )
}

fn from_clients(answers: &[Identity], client: IpAddr) {
    assert!(answers.iter().all(|answer| answer.peer.ip() == client));
}

/// Weights of IPVS's wrr are lbd's: three to one, exactly.
#[test]
fn rules_of_ipvsadm_forward() {
    isolated(|| {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &Conf::one(web(2)));
        start(&mut stage.lbd, "ipvsadm", &ipvsadm_rules());
        stage.lbd.wait_announced();
        let answers = stage.curl(40);
        assert_eq!(answers.len(), 40);
        from_clients(&answers, topology::CLIENT.into());
        let spread = spread(&answers);
        assert_eq!((spread["rs1"], spread["rs2"]), (30, 10), "{spread:?}");
    });
}

#[test]
fn a_keepalived_conf_forwards_and_checks() {
    isolated(|| {
        let mut stage = Stage::before_lbd(2, Offloads::Defaults, &Conf::one(web(2)));
        start(&mut stage.lbd, "keepalived", &keepalived_conf());
        stage.lbd.wait_announced();
        let answers = stage.curl(20);
        assert_eq!(answers.len(), 20);
        from_clients(&answers, topology::CLIENT.into());
        assert_eq!(spread(&answers).len(), 2);
        stage.servers[0].stop();
        let (service, real) = (format!("{VIP}-{PORT}"), real(1).to_string());
        stage.lbd.wait_real(&service, &real, "down", SOON);
        let answers = stage.curl(20);
        assert_eq!(spread(&answers).get("rs2"), Some(&20), "{answers:?}");
    });
}

#[test]
fn a_haproxy_cfg_forwards_and_checks() {
    isolated(|| {
        let mut stage = RoutedStage::before_lbd(2, &Conf::one(proxied(2)));
        // HAProxy's host has the address it binds.
        stage.net.lb.ip(&format!("addr add {VIP}/32 dev eth0"));
        start(&mut stage.lbd, "haproxy", &haproxy_cfg());
        let answers = curl(&stage.net.cl, vip(), 20);
        assert_eq!(answers.len(), 20);
        from_clients(&answers, CLIENT.into());
        assert_eq!(spread(&answers).len(), 2);
        stage.servers[0].stop();
        stage.lbd.wait_real("web", "rs1", "down", SOON);
        let answers = curl(&stage.net.cl, vip(), 20);
        assert_eq!(spread(&answers).get("rs2"), Some(&20), "{answers:?}");
    });
}
