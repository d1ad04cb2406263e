#![allow(clippy::unwrap_used)]

use super::super::tests::{good, options, plain, told};
use super::*;
use rstest::rstest;

fn imported(text: &str) -> Imported {
    good(import(text.as_bytes(), &options()))
}

#[test]
fn a_grown_configuration_becomes_a_file() {
    let imported = imported(include_str!("../fixtures/keepalived.conf"));
    insta::assert_snapshot!("keepalived", imported.toml);
    insta::assert_snapshot!("keepalived_findings", told(&imported));
}

/// One virtual server, with statements of its own and of its real's.
fn server(own: &str, real: &str) -> String {
    format!(
        "virtual_server 192.0.2.10 80 {{\n lb_kind DR\n {own}\n real_server 192.0.2.21 80 {{\n \
         {real}\n }}\n}}\n"
    )
}

#[rstest]
#[case("lb_algo rr", "scheduler = \"rr\"")]
#[case("lvs_sched wrr", "scheduler = \"wrr\"")]
#[case("", "scheduler = \"wlc\"")]
#[case("lb_algo mh", "scheduler = \"sh\"")]
#[case("lb_algo mh\nmh-port", "scheduler = \"maglev\"")]
#[case("lb_algo rr\npersistence_timeout 50", "scheduler = \"sh\"")]
#[case("sorry_server 192.0.2.99 80", "sorry = \"192.0.2.99\"")]
#[case("snmp_name The_Shop", "name = \"the_shop\"")]
#[case("inhibit_on_failure", "on_dead = \"keep\"")]
fn a_virtual_server_says(#[case] own: &str, #[case] line: &str) {
    let toml = imported(&server(own, "TCP_CHECK {\n}")).toml;
    assert!(plain(&toml).contains(line), "{line}: {toml}");
}

/// Whatever stands there for a weight, lbd gets one of its own.
#[rstest]
#[case("0", "weight = 0")]
#[case("256", "weight = 256")]
#[case("65535", "weight = 256")]
#[case("18446744073709551615", "weight = 256")]
#[case("18446744073709551616", "weight = 1")]
fn a_weight_is_within_bounds(#[case] weight: &str, #[case] line: &str) {
    let toml = imported(&server("", &format!("weight {weight}"))).toml;
    assert!(plain(&toml).contains(line), "{line}: {toml}");
}

/// Each default is keepalived's own, written out.
#[rstest]
#[case("TCP_CHECK {\n}", &["\"tcp\"", "interval = \"1m\"", "fast_interval = \"1s\"", "timeout = \"5s\"", "rise = 1", "fall = 2"])]
#[case("HTTP_GET {\nurl {\npath /\n}\n}", &["\"http\"", "expect = [\"200-299\"]", "fast_interval = \"3s\"", "fall = 2"])]
#[case("SSL_GET {\nurl {\npath /\n}\n}", &["\"https\"", "verify = false"])]
#[case("DNS_CHECK {\n}", &["\"dns\"", "query = \".\"", "record = \"SOA\"", "fast_interval = \"1m\"", "fall = 4"])]
#[case("PING_CHECK {\nretry 4\n}", &["\"icmp\"", "fall = 5"])]
#[case("UDP_CHECK {\npayload 70696e67\nrequire_reply 706f6e67\n}", &["send = \"ping\"", "expect = \"pong\""])]
#[case("MISC_CHECK {\nmisc_path \"/bin/check 'a b' c\"\n}", &["command = [\"/bin/check\", \"a b\", \"c\"]", "fall = 1", "timeout = \"1m\"", "allow_exec = true"])]
#[case("MISC_CHECK {\nmisc_path \"/bin/check\"\nconnect_timeout 2\nmisc_timeout 9\n}", &["timeout = \"9s\""])]
#[case("TCP_CHECK {\nconnect_port 81\nconnect_timeout 0.5\ndelay_loop 1.5\nbindto 192.0.2.5\n}", &["port = 81", "timeout = \"500ms\"", "interval = \"1s 500ms\"", "source = \"192.0.2.5\""])]
fn a_check_says(#[case] check: &str, #[case] lines: &[&str]) {
    let toml = imported(&server("", check)).toml;
    for line in lines {
        assert!(plain(&toml).contains(line), "{line}: {toml}");
    }
}

/// What has no equivalent is told with its line.
#[rstest]
#[case("quorum 2", "", "line 3: quorum 2: ")]
#[case("ha_suspend", "", "line 3: ha_suspend: ")]
#[case("quorum_down \"/bin/x y\"", "", "line 3: quorum_down /bin/x y: ")]
#[case("some_future_word 7", "", "line 3: some_future_word 7: no equivalent")]
#[case("", "notify_up /bin/x", "line 5: notify_up /bin/x: ")]
#[case("", "BFD_CHECK {\nname x\n}", "lines 5-7: BFD_CHECK: left out")]
#[case(
    "",
    "HTTP_GET {\nurl {\npath /\ndigest 0af\n}\n}",
    "line 8: digest 0af: "
)]
#[case(
    "",
    "HTTP_GET {\nurl {\npath /\nregex a.*b\n}\n}",
    "line 8: regex a.*b: "
)]
#[case(
    "",
    "TCP_CHECK {\nconnect_ip 192.0.2.77\n}",
    "line 6: connect_ip 192.0.2.77: "
)]
#[case("", "TCP_CHECK {\nfwmark 3\n}", "line 6: fwmark 3: no equivalent")]
#[case(
    "",
    "uthreshold 10",
    "lines 4-6: real_server 192.0.2.21 80: upper threshold"
)]
#[case(
    "protocol SCTP",
    "",
    "lines 1-7: virtual_server 192.0.2.10 80: left out"
)]
#[case("@main quorum 3", "", "line 3: @main quorum 3: ")]
#[case(
    "include /etc/more.conf",
    "",
    "line 3: include /etc/more.conf: not read"
)]
fn what_has_no_equivalent_is_told(#[case] own: &str, #[case] real: &str, #[case] begins: &str) {
    let told = told(&imported(&server(own, real)));
    assert!(told.lines().any(|line| line.starts_with(begins)), "{told}");
}

/// A tunnel is no mode of lbd's, and a mixed service has one.
#[test]
fn methods_of_lvs() {
    let of = |kinds: [&str; 3]| {
        let [service, one, two] = kinds;
        let text = format!(
            "virtual_server 192.0.2.10 80 {{\n lb_kind {service}\n real_server 192.0.2.21 8080 {{\n \
             {one}\n }}\n real_server 192.0.2.22 8080 {{\n {two}\n }}\n}}\n"
        );
        imported(&text)
    };
    let nat = of(["NAT", "", ""]);
    assert!(
        plain(&nat.toml).contains("mode = \"tproxy\""),
        "{}",
        nat.toml
    );
    assert!(plain(&nat.toml).contains("port = 8080"), "{}", nat.toml);
    let tunnel = of(["TUN", "", ""]);
    assert_eq!(tunnel.services, 0);
    assert!(told(&tunnel).contains("lbd has no tunnel"));
    let mixed = of(["DR", "", "lvs_method TUN"]);
    assert_eq!(mixed.services, 1);
    assert!(!mixed.toml.contains("192.0.2.22"), "{}", mixed.toml);
    assert!(told(&mixed).contains("lines 6-8: real_server 192.0.2.22 8080: left out"));
}

#[test]
fn checks_that_differ_are_those_of_most() {
    let real = |n: u8, check: &str| format!("real_server 192.0.2.{n} 80 {{\n{check}\n}}\n");
    let tcp = "TCP_CHECK {\n}";
    let text = format!(
        "virtual_server 192.0.2.10 80 {{\nlb_kind DR\n{}{}{}{}}}\n",
        real(21, "PING_CHECK {\n}"),
        real(22, tcp),
        real(23, tcp),
        real(24, ""),
    );
    let imported = imported(&text);
    assert!(imported.toml.contains("\"tcp\"") && !imported.toml.contains("icmp"));
    let told = told(&imported);
    assert!(
        told.contains("lines 3-6: real_server 192.0.2.21 80: its checks are not"),
        "{told}"
    );
    assert!(
        told.contains("real_server 192.0.2.24 80: has no check"),
        "{told}"
    );
}

#[test]
fn ranges_of_groups() {
    let of = |entry: &str| {
        let text = format!(
            "virtual_server_group G {{\n{entry}\n}}\nvirtual_server group G {{\nlb_kind DR\n\
             real_server 192.0.2.21 80 {{\nTCP_CHECK {{\n}}\n}}\n}}\n"
        );
        imported(&text)
    };
    for (entry, first, last, count) in [
        ("198.51.100.1-3 80", "198.51.100.1", "198.51.100.3", 3),
        (
            "198.51.100.255-198.51.101.1 80",
            "198.51.100.255",
            "198.51.101.1",
            3,
        ),
        ("198.51.100.9/30 80", "198.51.100.8", "198.51.100.11", 4),
        ("2001:db8:7::a-c 80", "2001:db8:7::a", "2001:db8:7::c", 3),
    ] {
        let toml = of(entry).toml;
        let config = crate::config::parse(&toml).unwrap();
        let vips = &config.services[0].vips;
        assert_eq!(vips.len(), count, "{entry}");
        assert_eq!(vips.first().copied(), first.parse().ok(), "{entry}");
        assert_eq!(vips.last().copied(), last.parse().ok(), "{entry}");
    }
    for entry in [
        "198.51.100.3-1 80",
        "10.0.0.0/8 80",
        "x 80",
        "198.51.100.1 x",
    ] {
        let imported = of(entry);
        assert_eq!(imported.services, 0, "{entry}");
        assert!(told(&imported).contains("line 2: "), "{entry}");
    }
}

#[rstest]
#[case("virtual_server 192.0.2.1 80 {\n", ImportError::Unclosed(1))]
#[case("a {\n}\n}\n", ImportError::Unopened(3))]
#[case("misc_path \"x\n", ImportError::Quote(1))]
#[case(&"a {\n".repeat(100), ImportError::TooDeep(17))]
fn broken_files_are_refused(#[case] text: &str, #[case] error: ImportError) {
    assert_eq!(import(text.as_bytes(), &options()), Err(error));
}

/// Parameters that hold themselves do not grow without end.
#[test]
fn parameters_are_bounded() {
    let text = "$A=${A}${A}\nx $A\n$B=1\nvirtual_server 192.0.2.${B} 80 {\n}\n";
    assert_eq!(imported(text).services, 1);
}
