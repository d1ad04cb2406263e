#![allow(clippy::unwrap_used)]

use super::super::tests::{good, options, plain, told};
use super::*;
use rstest::rstest;

fn given() -> Given {
    Given {
        vips: vec!["192.0.2.19".parse().unwrap()],
        trusted: vec!["198.51.100.0/24".parse().unwrap()],
    }
}

fn imported(text: &str) -> Imported {
    good(import(text.as_bytes(), &options(), &given()))
}

#[test]
fn a_grown_configuration_becomes_a_file() {
    let imported = imported(include_str!("../fixtures/haproxy.cfg"));
    insta::assert_snapshot!("haproxy", imported.toml);
    insta::assert_snapshot!("haproxy_findings", told(&imported));
}

/// A `listen` with a statement and a server.
fn listen(own: &str, server: &str) -> String {
    format!(
        "listen shop\n mode tcp\n bind 192.0.2.10:80\n {own}\n server one 10.0.0.1:8080 {server}\n"
    )
}

#[rstest]
#[case("balance roundrobin", "", "scheduler = \"wrr\"")]
#[case("balance leastconn", "", "scheduler = \"wlc\"")]
#[case("balance source", "", "scheduler = \"sh\"")]
#[case("timeout connect 700", "", "connect_timeout = \"700ms\"")]
#[case("timeout client 1m\ntimeout server 30s", "", "idle_timeout = \"30s\"")]
#[case("timeout client 1m\ntimeout tunnel 2h", "", "idle_timeout = \"2h\"")]
#[case("timeout client 0\ntimeout server 0", "", "idle_timeout = \"7days\"")]
#[case("timeout client 0\ntimeout server 30s", "", "idle_timeout = \"30s\"")]
#[case("timeout client 1m\ntimeout tunnel 0", "", "idle_timeout = \"7days\"")]
#[case("timeout connect 0", "", "connect_timeout = \"1m\"")]
#[case("timeout check 0", "check inter 4s", "timeout = \"4s\"")]
#[case("option httpchk GET /up", "check send-proxy", "type = \"tcp\"")]
#[case(
    "option httpchk GET /up",
    "check send-proxy port 8080",
    "type = \"http\""
)]
#[case("maxconn 77", "", "max_connections = 77")]
#[case("disabled", "", "admin = \"disabled\"")]
#[case("source 0.0.0.0 usesrc clientip", "", "= \"client\"")]
#[case("", "source 0.0.0.0 usesrc client", "= \"client\"")]
#[case("", "", "= \"self\"")]
#[case("", "send-proxy", "send_proxy = \"v1\"")]
#[case("", "send-proxy-v2", "send_proxy = \"v2\"")]
#[case("", "maxconn 9", "max_connections = 9")]
#[case("", "weight 7", "= 7\n")]
#[case("", "backup", "= true")]
#[case("", "on-marked-down shutdown-sessions", "on_dead = \"rehash\"")]
#[case("", "check inter 1s", "interval = \"1s\"")]
#[case("default-server inter 4s fall 9", "check", "fall = 9")]
#[case("option httpchk", "check", "= \"OPTIONS\"")]
#[case(
    "option httpchk GET /up HTTP/1.0\\r\\nHost:\\ shop.example",
    "check",
    "= \"shop.example\""
)]
#[case("option httpchk /up", "check check-ssl verify none", "= \"https\"")]
#[case(
    "option httpchk\nhttp-check expect status 200,301-303",
    "check",
    "= [200, \"301-303\"]"
)]
#[case("option httpchk\nhttp-check expect string fine", "check", "= \"fine\"")]
fn a_proxy_says(#[case] own: &str, #[case] server: &str, #[case] line: &str) {
    let toml = imported(&listen(own, server)).toml;
    assert!(plain(&toml).contains(line), "{line}: {toml}");
}

/// Port 0, however it is written, is the one the client dialled.
#[rstest]
#[case("", None)]
#[case(":0", None)]
#[case(":000", None)]
#[case(":+0", None)]
#[case(":0080", Some(80))]
fn a_server_says_its_port(#[case] text: &str, #[case] port: Option<u16>) {
    let text = format!("10.0.0.1{text}");
    assert_eq!(address::server(&text), Ok(("10.0.0.1", port)));
}

/// What has no equivalent is told with its line.
#[rstest]
#[case("balance uri", "", "line 4: balance uri: ")]
#[case("use_backend x if y", "", "line 4: use_backend x if y: no equivalent")]
#[case("acl a src 10.0.0.0/8", "", "line 4: acl a src 10.0.0.0/8: ")]
#[case("option tcpka", "", "line 4: option tcpka: ")]
#[case("timeout queue 5s", "", "line 4: timeout queue 5s: ")]
#[case("some-future-word 7", "", "line 4: some-future-word 7: no equivalent")]
#[case(
    "",
    "check check-ssl verify none",
    "line 5: server one 10.0.0.1:8080 check check-ssl verify none: check-ssl: lbd"
)]
#[case(
    "option httpchk GET /up",
    "check send-proxy",
    "line 5: server one 10.0.0.1:8080 check send-proxy: its check is tcp here"
)]
#[case(
    "tcp-check expect string PONG",
    "",
    "line 4: tcp-check expect string PONG: "
)]
#[case(
    "server-template x 5 app.internal:80",
    "",
    "line 4: server-template x 5 app.internal:80: left out"
)]
#[case(
    "",
    "cookie a",
    "line 5: server one 10.0.0.1:8080 cookie a: cookie a: no equivalent"
)]
#[case(
    "",
    "agent-check",
    "line 5: server one 10.0.0.1:8080 agent-check: agent-check: no equivalent"
)]
#[case(
    "",
    "ssl verify none",
    "line 5: server one 10.0.0.1:8080 ssl verify none: left out"
)]
#[case(
    "server two nowhere.example:80",
    "",
    "line 4: server two nowhere.example:80: left out"
)]
#[case(
    "bind *:443 ssl crt /x.pem",
    "",
    "line 4: bind *:443 ssl crt /x.pem: left out"
)]
#[case(
    "bind /run/x.sock",
    "",
    "line 4: bind /run/x.sock: /run/x.sock left out"
)]
fn what_has_no_equivalent_is_told(#[case] own: &str, #[case] server: &str, #[case] begins: &str) {
    let told = told(&imported(&listen(own, server)));
    assert!(told.lines().any(|line| line.starts_with(begins)), "{told}");
}

/// Reading HTTP is no business of layer 4: said of the whole section, once.
#[test]
fn proxies_in_mode_http_are_said() {
    let text = "defaults\n mode http\nfrontend a\n bind 192.0.2.1:80\n default_backend b\n\
                backend b\n server s 10.0.0.1:80\n";
    let imported = imported(text);
    assert_eq!(imported.services, 0);
    let told = told(&imported);
    assert!(
        told.contains("lines 3-5: frontend a: left out, all of it"),
        "{told}"
    );
    assert!(
        told.contains("lines 6-7: backend b: left out, all of it"),
        "{told}"
    );
}

/// What HAProxy has of its environment, lbd has to be told.
#[test]
fn what_is_open_in_the_file_is_asked_for() {
    let text = "listen a\n mode tcp\n bind *:80\n server s 10.0.0.1:80\n\
                listen b\n mode tcp\n bind 192.0.2.1:81 accept-proxy\n server s 10.0.0.1:80\n";
    let alone = good(import(text.as_bytes(), &options(), &Given::default()));
    assert_eq!(alone.services, 0);
    let told = told(&alone);
    assert!(
        told.contains("line 3: bind *:80: left out") && told.contains("--vip"),
        "{told}"
    );
    assert!(
        told.contains("line 7: ") && told.contains("--trusted"),
        "{told}"
    );
    let asked = imported(text);
    assert_eq!(asked.services, 2);
    assert!(asked.toml.contains("\"192.0.2.19\""), "{}", asked.toml);
    assert!(
        asked
            .toml
            .contains("trusted_sources = [\"198.51.100.0/24\"]"),
        "{}",
        asked.toml
    );
}

/// `defaults` hold until the next; `from` names one.
#[test]
fn defaults_are_inherited() {
    let text = "defaults one\n mode tcp\n timeout client 1m\n default-server check inter 7s\n\
                defaults two\n mode tcp\n timeout client 2m\n\
                listen a from one\n bind 192.0.2.1:1\n server s 10.0.0.1:80\n\
                listen b\n bind 192.0.2.1:2\n server s 10.0.0.1:80\n";
    let config = crate::config::parse(&imported(text).toml).unwrap();
    let idle = |n: usize| config.services[n].idle_timeout.as_secs();
    assert_eq!((idle(0), idle(1)), (60, 120));
    let checks = |n: usize| config.services[n].checks.len();
    assert_eq!((checks(0), checks(1)), (1, 0));
    assert_eq!(config.services[0].checks[0].interval.as_secs(), 7);
}

/// A name that lbd has no use for, or that another server has already.
#[test]
fn names_that_change_are_told() {
    let text = "listen a\n mode tcp\n bind 192.0.2.1:1\n server s/1 10.0.0.1:80\n \
                server s 10.0.0.2:80\n server s 10.0.0.3:80\n server 10.0.0.2 10.0.0.4:80\n";
    let imported = imported(text);
    let told = told(&imported);
    for (line, name) in [(4, "10.0.0.1"), (6, "s-2"), (7, "10.0.0.4")] {
        let line = format!("line {line}: ");
        let said = told
            .lines()
            .find(|told| told.starts_with(&line) && told.contains("called"));
        assert!(
            said.is_some_and(|said| said.contains(&format!("`{name}` here"))),
            "{told}"
        );
    }
}

#[test]
fn an_open_quote_is_refused() {
    let error = import(b"global\n log \"x\n", &options(), &given());
    assert_eq!(error, Err(ImportError::Quote(2)));
}

/// A backend that many frontends share: more than lbd would read is refused, after bounded work.
#[test]
fn the_product_of_frontends_and_servers_is_bounded() {
    let of = |frontends: u32| {
        let mut text = String::from("defaults\n mode tcp\n timeout client 1m\n");
        for n in 0..frontends {
            let (host, port) = (1 + n % 4, 1000 + n);
            text += &format!("frontend f{n}\n bind 192.0.2.{host}:{port}\n default_backend b\n");
        }
        text += "backend b\n";
        for n in 0..200 {
            let (net, host) = (n / 100, 1 + n % 100);
            text += &format!(" server s{n} 10.0.{net}.{host}:80\n");
        }
        import(text.as_bytes(), &options(), &given())
    };
    assert_eq!(good(of(100)).services, 100);
    assert_eq!(of(20_000), Err(ImportError::TooMuch));
}
