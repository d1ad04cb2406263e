//! `lbctl bundle`: what is in the archive, and what is not.

use integration::conf::{Conf, FAST_TCP_CHECK};
use integration::daemon::{Daemon, binary};
use integration::isolated;
use integration::netns::run;
use integration::stage::{Stage, web};
use integration::topology::{CLIENT, Offloads};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

const HEADER: &str = "Bearer s3cr3t-of-the-shop";
/// The header before it was changed.
const OLD_HEADER: &str = "Bearer 0ld-one-of-the-shop";
const ARGUMENT: &str = "--password=hunter22hunter22";

fn stage() -> Stage {
    let headers = format!("{{ Authorization = \"{HEADER}\" }}");
    let command = format!("[\"/bin/true\", \"{ARGUMENT}\"]");
    let http = [
        ("type", "\"http\""),
        ("interval", "\"300ms\""),
        ("headers", headers.as_str()),
    ];
    let exec = [("type", "\"exec\""), ("command", command.as_str())];
    let service = web(2).check(FAST_TCP_CHECK).check(&http).check(&exec);
    Stage::new(
        2,
        Offloads::Defaults,
        &Conf::one(service).lbd("allow_exec", "true"),
    )
}

/// `lbctl bundle args`, where lbd runs: its metrics, and the host as it sees it.
fn bundle(stage: &Stage, args: &[&str]) -> std::process::Output {
    let mut command = stage.switch.lb.command(binary("lbctl"));
    command.env("LBCTL_SOCKET", stage.lbd.socket_path());
    command.arg("bundle").args(args).output().expect("lbctl")
}

/// The archive's files.
fn unpack(archive: &Path) -> BTreeMap<String, Vec<u8>> {
    let dir = tempfile::tempdir().expect("a directory");
    run(Command::new("tar")
        .arg("-xzf")
        .arg(archive)
        .arg("-C")
        .arg(dir.path()));
    let listed = run(Command::new("tar").arg("-tzf").arg(archive));
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let read = |name: &str| {
        let bytes = std::fs::read(dir.path().join(name)).expect("an unpacked file");
        let name = name.strip_prefix("lbd-bundle/").expect("one directory");
        (name.to_owned(), bytes)
    };
    listed.lines().map(read).collect()
}

fn text(parts: &BTreeMap<String, Vec<u8>>, name: &str) -> String {
    let bytes = parts
        .get(name)
        .unwrap_or_else(|| panic!("no {name} in {:?}", parts.keys()));
    String::from_utf8_lossy(bytes).into_owned()
}

fn holds(parts: &BTreeMap<String, Vec<u8>>, what: &[u8]) -> Option<String> {
    let found = parts
        .iter()
        .find(|(_, bytes)| bytes.windows(what.len()).any(|w| w == what));
    found.map(|(name, _)| name.clone())
}

fn key(lbd: &Daemon) -> Vec<u8> {
    std::fs::read(lbd.state_dir().join("hash.key")).expect("the key")
}

#[test]
fn t60f_the_bundle_holds_no_secret() {
    isolated(|| {
        let stage = stage();
        stage.curl(20);
        // A header that was changed, and a file that is included.
        let new = std::fs::read_to_string(stage.lbd.config_path()).expect("the file");
        let old = new.replace(HEADER, OLD_HEADER);
        let more = "[[service]]\nname = \"more\"\nvip = \"192.0.2.10\"\nport = 8443\n\
                    [[service.check]]\ntype = \"udp\"\nsend = \"magic-w0rd-inside\"\n";
        std::fs::write(stage.lbd.dir().join("more.toml"), more).expect("written");
        for text in [old, format!("include = [\"more.toml\"]\n{new}")] {
            stage.lbd.write_text(&text);
            stage.lbd.ctl(&["reload"]).ok();
        }
        let changes = stage.lbd.log();
        assert!(changes.contains("other values are (redacted)"), "{changes}");
        let file = stage.lbd.dir().join("report.tar.gz");
        let file_arg = file.to_str().expect("a path");
        let output = bundle(&stage, &["--file", file_arg]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}{words}");
        let mode = std::fs::metadata(&file)
            .expect("the file")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);

        let parts = unpack(&file);
        for name in [
            "config/lbd.toml",
            "config/more.toml",
            "status.json",
            "doctor.json",
            "flows.json",
            "events.jsonl",
            "metrics.txt",
            "host/addresses.txt",
            "host/routes.txt",
            "host/rules.txt",
            "host/nft.txt",
            "host/kernel.txt",
            "versions.txt",
            "contents.json",
        ] {
            assert!(parts.contains_key(name), "{name}: {said}{words}");
            assert!(
                name == "contents.json" || said.contains(name),
                "{name} is listed: {said}"
            );
        }
        assert!(text(&parts, "metrics.txt").contains("lbd_real_up"));
        assert!(text(&parts, "host/nft.txt").contains("lbd"), "the guard");
        assert!(
            text(&parts, "host/addresses.txt").contains("192.0.2.2"),
            "this host's own address"
        );
        let config = text(&parts, "config/lbd.toml");
        assert!(
            config.contains("Authorization = \"(redacted)\""),
            "{config}"
        );
        assert!(
            config.contains("command = [\"/bin/true\", \"(redacted)\"]"),
            "{config}"
        );
        let flows = text(&parts, "flows.json");
        assert!(
            flows.contains("\"client\": \"client-") || flows.contains("\"client\":\"client-"),
            "{flows}"
        );
        assert!(
            flows.contains("192.0.2.10:80"),
            "VIPs are no secret: {flows}"
        );

        let key = key(&stage.lbd);
        let hex: String = key.iter().map(|byte| format!("{byte:02x}")).collect();
        let client = CLIENT.to_string();
        for secret in [
            &key[..],
            hex.as_bytes(),
            hex.to_uppercase().as_bytes(),
            HEADER.as_bytes(),
            OLD_HEADER.as_bytes(),
            b"magic-w0rd-inside",
            b"s3cr3t-of-the-shop",
            ARGUMENT.as_bytes(),
            b"hunter22",
            client.as_bytes(),
        ] {
            let found = holds(&parts, secret);
            assert_eq!(found, None, "{}", String::from_utf8_lossy(secret));
        }
        assert!(
            said.contains("redacted: 3 values of the configuration"),
            "{said}"
        );
        assert!(
            words.contains("look through it before you send it"),
            "{words}"
        );

        // Never overwritten.
        let before = std::fs::read(&file).expect("the file");
        let again = bundle(&stage, &["--file", file_arg]);
        let words = String::from_utf8_lossy(&again.stderr).into_owned();
        assert_eq!(again.status.code(), Some(4), "{words}");
        assert!(
            words.contains("is there already; nothing was written"),
            "{words}"
        );
        assert_eq!(std::fs::read(&file).expect("the file"), before);
    });
}

#[test]
fn clients_stay_in_when_that_is_wanted_and_a_dead_lbd_leaves_a_bundle() {
    isolated(|| {
        let mut stage = stage();
        stage.curl(5);
        let at = |name: &str| stage.lbd.dir().join(name);
        let (with, without) = (at("with.tar.gz"), at("without.tar.gz"));
        let output = bundle(
            &stage,
            &[
                "--with-clients",
                "-o",
                "json",
                "--file",
                with.to_str().expect("a path"),
            ],
        );
        let made: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        assert_eq!(made["api_version"], "v1");
        assert_eq!(made["redacted"]["with_clients"], true);
        assert!(
            made["parts"]
                .as_array()
                .is_some_and(|parts| parts.len() > 10),
            "{made}"
        );
        let parts = unpack(&with);
        assert!(text(&parts, "flows.json").contains(&CLIENT.to_string()));
        assert_eq!(holds(&parts, HEADER.as_bytes()), None);

        stage.lbd.stop(Signal::SIGTERM);
        let config = stage.lbd.config_path();
        let (file, config) = (
            without.to_str().expect("a path"),
            config.to_str().expect("a path"),
        );
        let output = bundle(&stage, &["--file", file, "--config", config]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(
            said.contains("missing: status.json: lbd does not answer on"),
            "{said}"
        );
        let parts = unpack(&without);
        assert!(
            parts.contains_key("host/nft.txt") || said.contains("missing: host/nft.txt"),
            "{said}"
        );
        assert!(text(&parts, "config/lbd.toml").contains("(redacted)"));
        assert_eq!(holds(&parts, HEADER.as_bytes()), None);
    });
}
