use super::*;

fn served(toml: &str) -> Served {
    let text = format!("[network]\ninterface = \"eth0\"\n{toml}");
    let config = config::check(&text).expect("a good file").config;
    Served::of(&config.services[0])
}

const WEB: &str = r#"
[[service]]
name = "web"
vip = ["192.0.2.10", "2001:db8::10"]
port = [80, 443]
[[service.real]]
address = "192.0.2.21"
[[service.real]]
address = "2001:db8::21"
"#;

const SHOP: &str = r#"
[[service]]
name = "shop"
vip = "192.0.2.10"
port = [80, 81]
mode = "tproxy"
[[service.real]]
address = "10.20.0.21"
port = 8080
[[service.real]]
address = "10.20.0.22"
"#;

fn facts(script: &str) -> Vec<(&str, &str)> {
    let lines = script.lines().take_while(|line| !line.starts_with("set -"));
    lines
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once('='))
        .map(|(name, value)| (name, value.trim_matches('\'')))
        .collect()
}

fn fact<'a>(script: &'a str, name: &str) -> &'a str {
    let facts = facts(script);
    let found = facts.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("no {name}: {facts:?}")).1
}

#[test]
fn a_directly_routed_service_puts_its_vips_on_lo() {
    let script = script(&served(WEB), &[], Verb::Apply).expect("a script");
    assert!(script.starts_with("#!/bin/sh\n# A real server of lbd"));
    for (name, value) in [
        ("service", "web"),
        ("mode", "dr"),
        ("default", "apply"),
        ("vips4", "192.0.2.10"),
        ("vips6", "2001:db8::10"),
        ("reals", "192.0.2.21 2001:db8::21"),
        ("gateways", ""),
    ] {
        assert_eq!(fact(&script, name), value, "{name}");
    }
    assert!(
        script.ends_with("main \"$@\"\n"),
        "what is cut off is inert"
    );
}

#[test]
fn a_proxied_one_needs_the_way_back_and_no_vip() {
    let served = served(SHOP);
    let gateway: IpAddr = "10.20.0.1".parse().expect("an address");
    let script = script(&served, &[gateway], Verb::Persist).expect("a script");
    for (name, value) in [
        ("mode", "tproxy"),
        ("default", "persist"),
        ("vips4", ""),
        ("reals", "10.20.0.21 10.20.0.22"),
        ("ports", "80 81 8080"),
        ("gateways", "10.20.0.1"),
        ("after", "network-online.target"),
    ] {
        assert_eq!(fact(&script, name), value, "{name}");
    }
}

#[test]
fn gateways_are_asked_for_where_they_are_needed_and_nowhere_else() {
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    let none = script(&served(SHOP), &[], Verb::Apply).expect_err("no way back");
    assert!(none.to_string().contains("IPv4"), "{none}");
    for (toml, gateways) in [
        (WEB, vec!["192.0.2.1"]),
        (SHOP, vec!["10.20.0.1", "10.20.0.2"]),
        (SHOP, vec!["10.20.0.1", "2001:db8::1"]),
    ] {
        let gateways: Vec<IpAddr> = gateways.into_iter().map(address).collect();
        let spare = script(&served(toml), &gateways, Verb::Apply).expect_err("one too many");
        assert!(matches!(spare, NoScript::SpareGateway { .. }), "{spare}");
    }
}

#[test]
fn who_is_dialled_from_our_own_address_needs_nothing() {
    for (key, told) in [("off", false), ("v2", true)] {
        let toml = format!("{SHOP}[service.proxy]\nsource = \"self\"\nsend_proxy = \"{key}\"\n");
        let script = script(&served(&toml), &[], Verb::Apply).expect("a script");
        assert!(script.contains("nothing has to be set up for shop"));
        assert_eq!(script.contains("proxy_protocol"), told, "{script}");
        assert!(!script.contains("ip "), "{script}");
    }
}
