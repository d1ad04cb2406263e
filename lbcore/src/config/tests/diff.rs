//! What a reload changes, in words.

use super::{HEAD, WEB, web};
use crate::config::{Diff, diff, parse};

fn between(old: &str, new: &str) -> Diff {
    diff(&parse(old).unwrap(), &parse(new).unwrap())
}

fn words(diff: &Diff) -> Vec<String> {
    diff.changes.iter().map(ToString::to_string).collect()
}

#[test]
fn the_same_file_changes_nothing() {
    let full = include_str!("../../../../config/lbd.toml");
    assert!(between(full, full).is_empty());
    assert!(between(&web(), &format!("# a comment\n{}", web())).is_empty());
    assert!(!between(&web(), full).is_empty());
}

#[test]
fn every_kind_of_change_has_words() {
    let tls = WEB
        .replace("\"web\"", "\"tls\"")
        .replace("port = 80", "port = 443");
    let old = format!("{HEAD}{WEB}{tls}");
    let new = web()
        .replace("eth0", "eth1")
        .replace(
            "port = 80",
            "port = 80\nscheduler = \"wlc\"\nidle_timeout = \"90s\"",
        )
        .replace("type = \"tcp\"", "type = \"http\"\npath = \"/up\"")
        .replace("192.0.2.22\"", "192.0.2.23\"\n")
        .replace(
            "192.0.2.21\"",
            "192.0.2.21\"\nweight = 3\nmac = \"02:00:00:00:00:21\"",
        );
    let new = format!(
        "[lbd]\nmetrics = \"off\"\n{new}[[service]]\nname = \"dns\"\nvip = \"192.0.2.11\"\nport = 53\n"
    );
    insta::assert_snapshot!(words(&between(&old, &new)).join("\n"), @r#"
    lbd: metrics: 127.0.0.1:9380 -> off
    network: interfaces: eth0 -> eth1
    web: scheduler: maglev -> wlc
    web: idle_timeout: 15m -> 1m 30s
    web check 1: type: tcp -> http (GET /up, host by address, expect 200-399, headers none)
    web/rs1: weight: 1 -> 3
    web/rs1: mac: learned -> 02:00:00:00:00:21
    service web: real rs2 (192.0.2.23) added
    service web: real rs2 (192.0.2.22) removed
    service dns: added (reals: 0)
    service tls: removed (reals: 2)
    "#);
}

/// Words of a change go into logs and events, where anybody may read them.
#[test]
fn secrets_of_checks_are_not_in_the_words() {
    let of = |secret: &str| {
        let checks = format!(
            "[[service.check]]\ntype = \"http\"\npath = \"/up?key={secret}\"\nbody = \"{secret}\"\n\
             method = \"POST\"\nheaders = {{ Authorization = \"{secret}\" }}\n\
             [[service.check]]\ntype = \"udp\"\nsend = \"{secret}\"\nexpect = \"{secret}\"\n\
             [[service.check]]\ntype = \"exec\"\ncommand = [\"/bin/true\", \"{secret}\"]\n"
        );
        let head = HEAD.replacen("[network]", "[lbd]\nallow_exec = true\n[network]", 1);
        format!("{head}[[service]]\nname = \"a\"\nvip = \"192.0.2.10\"\nport = 1\n{checks}")
    };
    let same_length = words(&between(&of("hunter1"), &of("hunter2"))).join("\n");
    insta::assert_snapshot!(same_length, @"
    a check 1: type: http (POST /up?(redacted), host by address, expect 200-399, body of 7 bytes (redacted), headers Authorization (redacted)) -> http (POST /up?(redacted), host by address, expect 200-399, body of 7 bytes (redacted), headers Authorization (redacted)), where other values are (redacted)
    a check 2: type: udp (send 7 bytes (redacted), expect (redacted)) -> udp (send 7 bytes (redacted), expect (redacted)), where other values are (redacted)
    a check 3: type: exec (/bin/true and 1 words (redacted)) -> exec (/bin/true and 1 words (redacted)), where other values are (redacted)
    ");
    for text in [
        same_length,
        words(&between(&web(), &of("hunter2"))).join("\n"),
    ] {
        assert!(!text.contains("hunter"), "{text}");
    }
}

#[test]
fn more_than_half_of_all_reals_is_drastic() {
    let reals = |count: usize| {
        let reals: String = (1..=count)
            .map(|n| format!("[[service.real]]\naddress = \"192.0.2.{}\"\n", 100 + n))
            .collect();
        format!("{HEAD}[[service]]\nname = \"a\"\nvip = \"192.0.2.10\"\nport = 1\n{reals}")
    };
    assert!(!between(&reals(4), &reals(2)).is_drastic());
    assert!(between(&reals(4), &reals(1)).is_drastic());
    assert!(between(&reals(4), HEAD).is_drastic());
    assert!(
        between(&reals(0), HEAD).is_drastic(),
        "all services, though none had a real"
    );
    assert!(!between(HEAD, &reals(4)).is_drastic());
    assert!(!between(HEAD, HEAD).is_drastic());
}
