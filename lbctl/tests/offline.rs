//! What works without a daemon: help, completion, the check of a configuration.
#![allow(clippy::unwrap_used)]

mod common;

use common::lbctl;
use serde_json::Value;
use std::process::{Command, Stdio};

#[test]
fn every_help_runs() {
    let mut nouns = 0;
    let mut pending = vec![String::new()];
    while let Some(command) = pending.pop() {
        let output = lbctl(&format!("{command} --help")).assert().success();
        let help = String::from_utf8(output.get_output().stdout.clone()).unwrap();
        assert!(help.contains("Usage: lbctl"), "{command}: {help}");
        nouns += 1;
        let commands = help.split("Commands:\n").nth(1).unwrap_or_default();
        for line in commands.lines().take_while(|line| !line.is_empty()) {
            // Continuation lines of a description are indented further.
            let Some(word) = line
                .strip_prefix("  ")
                .filter(|line| !line.starts_with(' '))
            else {
                continue;
            };
            let word = word.split_whitespace().next().unwrap();
            if word != "help" {
                pending.push(format!("{command} {word}"));
            }
        }
    }
    assert!(nouns > 20, "only {nouns} found");
}

#[test]
fn completion_for_three_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let output = lbctl(&format!("completion {shell}")).assert().success();
        let script = output.get_output().stdout.clone();
        assert!(
            String::from_utf8_lossy(&script).contains("lbctl"),
            "{shell}"
        );
        // Where the shell is installed, it must at least be able to read the script.
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), script).unwrap();
        let check = Command::new(shell)
            .arg("-n")
            .arg(file.path())
            .stderr(Stdio::piped())
            .output();
        if let Ok(check) = check {
            assert!(check.status.success(), "{shell}: {check:?}");
        }
    }
}

const GOOD: &str = r#"
[network]
interface = "eth0"

[[service]]
name = "web"
vip = "192.0.2.10"
port = 443
protocol = "tcp"

[[service.check]]
type = "tcp"

[[service.real]]
address = "192.0.2.21"
"#;

#[test]
fn config_check_tells_every_fault_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let good = directory.path().join("good.toml");
    std::fs::write(&good, GOOD).unwrap();
    lbctl("config check").arg(&good).assert().success();
    lbctl("config check -").write_stdin(GOOD).assert().success();

    let bad = directory.path().join("bad.toml");
    std::fs::write(&bad, GOOD.replace("443", "0").replace("address", "adress")).unwrap();
    let output = lbctl("config check").arg(&bad).assert().code(78);
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(
        said.contains("bad.toml:8:") && said.contains("bad.toml:15:"),
        "{said}"
    );
    assert!(!said.contains('\x1b'), "no colours into a pipe: {said}");
    assert!(output.get_output().stdout.is_empty());

    let output = lbctl("config check -o json").arg(&bad).assert().code(78);
    let json: Value = serde_json::from_slice(&output.get_output().stdout).unwrap();
    assert_eq!(
        (&json["api_version"], &json["good"]),
        (&"v1".into(), &false.into())
    );
    assert!(json["faults"].as_array().unwrap().len() >= 2, "{json}");

    let missing = directory.path().join("missing.toml");
    lbctl("config check").arg(&missing).assert().code(1);
}

/// TOML on stdout that `config check` takes, words on stderr.
#[test]
fn what_kubectl_printed_becomes_a_file() {
    let cluster = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../lbcore/src/import/kubernetes/fixtures/cluster.json"
    );
    let output = lbctl("import kubernetes --node-selector pool=edge --interface bond0.7")
        .arg(cluster)
        .assert()
        .success();
    let toml = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(toml.contains("interface = \"bond0.7\""), "{toml}");
    assert!(!toml.contains("worker-3"), "{toml}");
    for words in [
        "Service prod/sip: port 5060 left out: lbd has no SCTP",
        "must hold: Nodes in kube-proxy's ipvs mode have strictARP: true",
        "what was imported: good: ",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    lbctl("config check -").write_stdin(toml).assert().success();

    let output = lbctl("import kubernetes -")
        .write_stdin("apiVersion: v1")
        .assert()
        .code(1);
    let said = String::from_utf8(output.get_output().stderr.clone()).unwrap();
    assert!(said.contains("hint:  make it by: kubectl get"), "{said}");
    lbctl("import kubernetes --services prod/sip")
        .arg(cluster)
        .assert()
        .code(1);
}

#[test]
fn usage_mistakes_are_exit_code_2() {
    for line in [
        "",
        "sattus",
        "real drain web",
        "status -o yaml",
        "flows --limit many",
    ] {
        lbctl(line).assert().code(2);
    }
}

#[test]
fn a_keys_fingerprint_needs_no_lbd() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("hash.key");
    std::fs::write(&file, [7; 16]).unwrap();
    let line = format!("key fingerprint --file {}", file.display());
    let output = lbctl(&line).assert().success();
    let expected = lbcore::net::HashKey::new([7; 16]).fingerprint() + "\n";
    assert_eq!(
        String::from_utf8_lossy(&output.get_output().stdout),
        expected
    );
    for wrong in [&[7; 15][..], &[7; 17], &[]] {
        std::fs::write(&file, wrong).unwrap();
        let output = lbctl(&line).assert().code(1);
        let stderr = String::from_utf8_lossy(&output.get_output().stderr).into_owned();
        assert!(stderr.contains("has not 16 bytes"), "{stderr}");
    }
    lbctl("key fingerprint --file /nonexistent")
        .assert()
        .code(1);
}
