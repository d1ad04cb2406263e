//! Files that are right, and what they mean.

use super::{HEAD, WEB, web};
use crate::config::*;
use crate::net::Protocol;
use crate::sched::Kind;
use std::time::Duration;

const FULL: &str = include_str!("../../../../config/lbd.toml");
const MINIMAL: &str = include_str!("../../../../config/dr-minimal.toml");
const TPROXY: &str = include_str!("../../../../config/tproxy.toml");

#[test]
fn the_samples_are_good_and_without_warnings() {
    for (name, text) in [
        ("lbd.toml", FULL),
        ("dr-minimal.toml", MINIMAL),
        ("tproxy.toml", TPROXY),
    ] {
        let report = offline_check(name, text.as_bytes(), false);
        assert_eq!(
            report.outcome.map(|checked| checked.warnings),
            Ok(vec![]),
            "{}",
            report.text
        );
    }
}

#[test]
fn the_full_sample_gives_the_defaults() {
    let full = parse(FULL).unwrap();
    let minimal = parse(MINIMAL).unwrap();
    assert_eq!(full.lbd, minimal.lbd);
    assert_eq!(full.network, minimal.network);
    let (full, minimal) = (&full.services[0], &minimal.services[0]);
    let same = Service {
        vips: minimal.vips.clone(),
        ports: minimal.ports.clone(),
        checks: minimal.checks.clone(),
        reals: minimal.reals.clone(),
        ..full.clone()
    };
    assert_eq!(&same, minimal);
    let (full_check, minimal_check) = (&full.checks[0], &minimal.checks[0]);
    let same = Check {
        kind: CheckKind::Tcp,
        port: None,
        ..full_check.clone()
    };
    assert_eq!(&same, minimal_check);
    let real = Real {
        name: "192.0.2.21".into(),
        ..full.reals[0].clone()
    };
    assert_eq!(real, minimal.reals[0]);
}

/// A key commented out in the sample has to be a key all the same.
#[test]
fn what_the_full_sample_comments_out_is_good_too() {
    let keys = [
        "read_group",
        "log_format",
        "hash_key_file",
        "sorry",
        "source",
        "host",
        "body",
        "mac",
    ];
    let all: String = FULL
        .lines()
        .map(|line| {
            let bare = line.strip_prefix("# ").unwrap_or(line);
            let key = bare.split_whitespace().next().unwrap_or_default();
            let wanted = keys.contains(&key) || bare.starts_with("interface = \"eth1\"");
            if wanted && bare.contains('=') {
                format!("{bare}\n")
            } else {
                format!("{line}\n")
            }
        })
        .collect();
    let config = parse(&all).unwrap();
    let service = &config.services[0];
    assert_eq!(config.lbd.read_group.as_deref(), Some("adm"));
    assert_eq!(config.lbd.log_format, Some(LogFormat::Text));
    assert_eq!(service.sorry, Some("192.0.2.99".parse().unwrap()));
    assert_eq!(service.checks[0].source, Some("192.0.2.5".parse().unwrap()));
    assert_eq!(service.reals[0].interface.as_deref(), Some("eth1"));
    assert_eq!(
        service.reals[0].mac.unwrap().to_string(),
        "02:00:00:00:00:21"
    );
    let CheckKind::Http(http) = &service.checks[0].kind else {
        panic!("an http check")
    };
    assert_eq!(http.body.as_deref(), Some("welcome"));
}

/// The values of interface.md section 1, written out.
#[test]
fn defaults_are_those_of_the_contract() {
    let config = parse(&web()).unwrap();
    assert_eq!(config.lbd.metrics, Some("127.0.0.1:9380".parse().unwrap()));
    assert_eq!(config.lbd.run_dir.to_str(), Some("/run/lbd"));
    assert_eq!(config.lbd.shutdown_timeout, Duration::from_secs(30));
    assert!(config.lbd.write_back && !config.lbd.watch && !config.lbd.allow_exec);
    assert_eq!(config.network.flow_entries, 1_048_576);
    assert_eq!(config.network.link_holddown, Duration::from_secs(5));
    assert_eq!((config.network.workers, config.network.ring_mib), (0, 64));
    let service = &config.services[0];
    assert_eq!((service.protocol, service.mode), (Protocol::Tcp, Mode::Dr));
    assert_eq!(
        (service.scheduler, service.admin),
        (Kind::Maglev, Admin::Enabled)
    );
    assert_eq!(
        (service.on_dead, service.dead_grace),
        (OnDead::Rehash, Duration::from_secs(10))
    );
    assert_eq!(service.drain_timeout, Duration::ZERO);
    assert_eq!(service.idle_timeout, Duration::from_secs(900));
    assert_eq!((service.track, service.min_healthy), (Track::Flows, 1));
    assert_eq!((service.announce, service.sorry), (Announce::Always, None));
    let check = &service.checks[0];
    assert_eq!(
        (check.interval, check.timeout),
        (Duration::from_secs(2), Duration::from_secs(1))
    );
    assert_eq!(check.fast_interval, Duration::from_millis(500));
    assert_eq!(check.down_interval, check.interval);
    assert_eq!((check.rise.get(), check.fall.get()), (2, 3));
    assert_eq!(
        (service.reals[0].weight, service.reals[0].backup),
        (1, false)
    );
}

/// The values of interface.md section 1, written out in the sample.
#[test]
fn the_tproxy_sample_gives_the_defaults() {
    let config = parse(TPROXY).unwrap();
    let service = &config.services[0];
    assert_eq!(service.mode, Mode::Tproxy);
    assert_eq!(service.proxy, Proxy::default());
    let expected = Proxy {
        source: Source::Client,
        send_proxy: SendProxy::Off,
        accept_proxy: false,
        trusted_sources: vec![],
        connect_timeout: Duration::from_secs(3),
        retries: 2,
        max_connections: 0,
        max_connections_per_source: 0,
    };
    assert_eq!(service.proxy, expected);
    let real = &service.reals[0];
    assert_eq!((real.port, real.max_connections), (Some(8080), 0));
    assert_eq!(real.place(), "10.20.0.21:8080".parse().unwrap());
}

#[test]
fn a_proxied_service_needs_no_interface_and_tells_reals_apart_by_port() {
    let text = "[[service]]\nname = \"web\"\nvip = \"192.0.2.10\"\nport = 80\nmode = \"tproxy\"\n\
        [service.proxy]\nsource = \"self\"\nsend_proxy = \"v2\"\naccept_proxy = true\n\
        trusted_sources = [\"198.51.100.0/24\", \"2001:db8::1\"]\n\
        [[service.check]]\ntype = \"tcp\"\n\
        [[service.real]]\nname = \"a\"\naddress = \"10.0.0.1\"\nport = 8080\nmax_connections = 9\n\
        [[service.real]]\nname = \"b\"\naddress = \"10.0.0.1\"\nport = 8081\n\
        [[service.real]]\nname = \"c\"\naddress = \"2001:db8::9\"\n";
    let checked = check(text).unwrap();
    assert_eq!(checked.warnings, vec![]);
    let service = &checked.config.services[0];
    assert_eq!(service.proxy.trusted_sources.len(), 2);
    let ports: Vec<_> = service.reals.iter().map(|r| r.port).collect();
    assert_eq!(ports, [Some(8080), Some(8081), None]);
}

#[test]
fn udp_has_its_own_idle_timeout() {
    let udp = web().replace(
        "port = 80\n",
        "port = 53\nprotocol = \"udp\"\ntrack = \"none\"\n",
    );
    let config = parse(&udp).unwrap();
    assert_eq!(config.services[0].idle_timeout, Duration::from_secs(300));
    assert_eq!(config.services[0].track, Track::None);
}

/// Keys of versions to come may be written with the value that asks for nothing.
#[test]
fn later_keys_are_accepted_with_their_default() {
    let service = "slow_start = \"0s\"\nmax_new_flows_per_source = 0\nfragments = \"drop\"\n";
    let text = web()
        .replace("port = 80\n", &format!("port = 80\n{service}"))
        .replace("address", "port = 80\naddress")
        .replace("[network]\n", "[network]\nxdp_mode = \"auto\"\n");
    let text = format!("[lbd]\nwrite_back = true\nbpf_dir = \"/sys/fs/bpf/lbd\"\n{text}");
    assert_eq!(parse(&text), parse(&web()));
}

#[test]
fn lists_and_inline_tables_say_the_same() {
    let inline = "[network]\ninterfaces = [\"eth0\"]\n[[service]]\nname = \"web\"\n\
        vip = [\"192.0.2.10\"]\nport = [80]\ncheck = [{ type = \"tcp\" }]\n\
        real = [{ name = \"rs1\", address = \"192.0.2.21\" }, { name = \"rs2\", address = \"192.0.2.22\" }]\n";
    assert_eq!(parse(inline), parse(&web()));
}

#[test]
fn what_a_file_may_leave_out() {
    let empty = check("").unwrap();
    assert_eq!(empty.config.services, vec![]);
    assert_eq!(empty.warnings.len(), 1);
    let no_reals = format!("{HEAD}[[service]]\nname = \"a\"\nvip = \"192.0.2.10\"\nport = 1\n");
    assert_eq!(check(&no_reals).unwrap().warnings.len(), 1, "unchecked");
    let windows = web().replace('\n', "\r\n");
    assert_eq!(parse(&windows), parse(&web()));
    assert_eq!(parse(&format!("\u{feff}{}", web())), parse(&web()));
}

/// The same VIP and port in another protocol, or another port of the VIP, is another service; the
/// same machine may serve both; and a frame's family need not be that of a real's address.
#[test]
fn what_services_may_share() {
    let dns = WEB
        .replace("\"web\"", "\"dns\"")
        .replace("port = 80", "port = 80\nprotocol = \"udp\"");
    let tls = WEB
        .replace("\"web\"", "\"tls\"")
        .replace("port = 80", "port = 443");
    let six = WEB
        .replace("\"web\"", "\"six\"")
        .replace("192.0.2.10", "2001:db8::10");
    let config = parse(&format!("{HEAD}{WEB}{dns}{tls}{six}")).unwrap();
    assert_eq!(config.services.len(), 4);
}

#[test]
fn http_expectations() {
    let http = |keys: &str| {
        let text = web().replace("type = \"tcp\"", &format!("type = \"http\"\n{keys}"));
        match &parse(&text).unwrap().services[0].checks[0].kind {
            CheckKind::Http(http) => http.clone(),
            _ => panic!("an http check"),
        }
    };
    assert_eq!(http("").expect, [(200, 399)]);
    assert_eq!(http("expect = 204").expect, [(204, 204)]);
    assert_eq!(http("expect = \"401\"").expect, [(401, 401)]);
    assert_eq!(
        http("expect = [200, \"300-308\"]").expect,
        [(200, 200), (300, 308)]
    );
    assert_eq!(
        http("headers = { Accept = \"a/b\" }").headers["Accept"],
        "a/b"
    );
}

fn kind(keys: &str) -> CheckKind {
    let text = web().replace("type = \"tcp\"", keys);
    let config = check(&format!("[lbd]\nallow_exec = true\n{text}"));
    config.unwrap().config.services[0].checks[0].kind.clone()
}

#[test]
fn each_kind_of_check_with_its_defaults() {
    let CheckKind::Https(http, tls) = kind("type = \"https\"\npath = \"/x\"") else {
        panic!("https")
    };
    assert_eq!((http.path.as_str(), tls.verify), ("/x", true));
    assert_eq!((tls.sni, tls.ca_file), (None, None));
    let udp = UdpCheck {
        send: "\0ping\r\n".to_owned(),
        expect: Some("pong".to_owned()),
    };
    let keys = "type = \"udp\"\nsend = \"\\u0000ping\\r\\n\"\nexpect = \"pong\"";
    assert_eq!(kind(keys), CheckKind::Udp(udp));
    assert_eq!(kind("type = \"icmp\""), CheckKind::Icmp);
    let dns = DnsCheck {
        query: "shop.example".to_owned(),
        record: crate::health::dns::Record::A,
    };
    let keys = "type = \"dns\"\nquery = \"shop.example\"";
    assert_eq!(kind(keys), CheckKind::Dns(dns));
    let CheckKind::Grpc(grpc) = kind("type = \"grpc\"") else {
        panic!("grpc")
    };
    assert_eq!(grpc.service, "");
    let CheckKind::Exec(exec) = kind("type = \"exec\"\ncommand = [\"/bin/true\", \"\"]") else {
        panic!("exec")
    };
    assert_eq!(exec.command, ["/bin/true", ""]);
}

/// The sample's commented checks, each put in the place of one.
#[test]
fn every_kind_in_the_sample_is_right() {
    let begin = "# Other kinds";
    let block = FULL
        .split_once(begin)
        .unwrap()
        .1
        .split("\n\n")
        .next()
        .unwrap();
    let mut kinds = Vec::new();
    for one in block.split("# [[service.check]]").skip(1) {
        let keys: String = one
            .lines()
            .skip(1)
            .filter_map(|line| line.strip_prefix("# "))
            .map(|line| format!("{line}\n"))
            .collect();
        kinds.push(kind(&keys).word());
    }
    assert_eq!(
        kinds,
        ["https", "udp", "icmp", "dns", "grpc", "exec", "kubernetes"]
    );
}

/// Running programs is the file's owner's decision, made in one place.
#[test]
fn exec_checks_need_to_be_allowed() {
    let exec = "type = \"exec\"\ncommand = [\"/bin/true\"]";
    let text = web().replace("type = \"tcp\"", exec);
    for refused in [text.clone(), format!("[lbd]\nallow_exec = false\n{text}")] {
        let errors = parse(&refused).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].message, "exec checks are not allowed");
        assert!(
            refused
                .lines()
                .nth(errors[0].line - 1)
                .unwrap()
                .starts_with("type")
        );
    }
    assert!(parse(&format!("[lbd]\nallow_exec = true\n{text}")).is_ok());
}

#[test]
fn commands_are_lists_that_begin_with_a_path() {
    for wrong in [
        "\"/bin/true\"",
        "[]",
        "[\"true\"]",
        "[\"/bin/true\", 1]",
        "[\"/bin/true\", \"\\u0000\"]",
    ] {
        let exec = format!("type = \"exec\"\ncommand = {wrong}");
        let text = web().replace("type = \"tcp\"", &exec);
        let errors = parse(&format!("[lbd]\nallow_exec = true\n{text}")).unwrap_err();
        assert_eq!(errors.len(), 1, "{wrong}: {errors:?}");
        assert!(errors[0].path.ends_with("command"), "{}", errors[0].path);
    }
}

#[test]
fn keys_a_kind_of_check_cannot_be_without() {
    for (kind, key) in [
        ("dns", "query"),
        ("exec", "command"),
        ("kubernetes", "port"),
    ] {
        let text = web().replace("type = \"tcp\"", &format!("type = \"{kind}\""));
        let errors = parse(&format!("[lbd]\nallow_exec = true\n{text}")).unwrap_err();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].message, format!("`{key}` is missing"));
    }
}

#[test]
fn kubernetes_checks() {
    let text =
        |keys: &str| web().replace("type = \"tcp\"", &format!("type = \"kubernetes\"\n{keys}"));
    let read = |keys: &str| match &parse(&text(keys)).unwrap().services[0].checks[0].kind {
        CheckKind::Kubernetes(check) => check.clone(),
        _ => panic!("a kubernetes check"),
    };
    let check = read("port = 32000\nservice = \"default/web\"");
    assert_eq!(check.path, "/healthz");
    assert_eq!(check.service.unwrap().to_string(), "default/web");
    assert_eq!(check.weight, NodeWeight::Endpoints);
    assert_eq!(
        read("port = 10256\nweight = \"observe\"").weight,
        NodeWeight::Observe
    );

    let errors = parse(&text("service = \"default/web\"")).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0].message, "`port` is missing");
}

/// Warnings are for what is legal and surprises.
#[test]
fn warnings() {
    let slow = web().replace("type = \"tcp\"", "type = \"tcp\"\ntimeout = \"3s\"");
    let panicky = web().replace("port = 80", "port = 80\nmin_healthy = 3");
    let deaf = web().replace("type = \"tcp\"", "type = \"udp\"\nsend = \"a\"");
    let anyone = web().replace("type = \"tcp\"", "type = \"kubernetes\"\nport = 32000");
    for (text, line, words) in [
        (anyone, 9, "another Service"),
        (slow, 9, "longer"),
        (panicky, 7, "2 reals"),
        (deaf, 8, "silence"),
    ] {
        let warnings = check(&text).unwrap().warnings;
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert_eq!(
            (warnings[0].severity, warnings[0].line),
            (Severity::Warning, line)
        );
        assert!(warnings[0].message.contains(words), "{}", warnings[0]);
    }
}

#[test]
fn the_way_of_a_check() {
    let tproxy = |keys: &str| {
        web()
            .replace("port = 80", "port = 80\nmode = \"tproxy\"")
            .replace("type = \"tcp\"", keys)
    };
    let via = |text: &str| parse(text).unwrap().services[0].checks[0].via;
    let from = "source = \"198.51.100.250\"";
    assert_eq!(via(&web()), Via::Vip);
    let dr = |keys: &str| web().replace("type = \"tcp\"", keys);
    let dr_with = |keys: &str| via(&dr(keys));
    assert_eq!(dr_with("type = \"https\"\nport = 80"), Via::Vip);
    assert_eq!(dr_with("type = \"http\"\nport = 8080"), Via::Real);
    assert_eq!(dr_with("type = \"udp\""), Via::Real, "a tcp service");
    assert_eq!(dr_with("type = \"icmp\""), Via::Real);
    assert_eq!(dr_with("type = \"kubernetes\"\nport = 32000"), Via::Real);
    assert_eq!(dr_with("type = \"tcp\"\nvia = \"real\""), Via::Real);
    assert_eq!(via(&tproxy("type = \"tcp\"")), Via::Real);
    for kind in ["tcp", "http", "udp", "grpc"] {
        let client = tproxy(&format!("type = \"{kind}\"\n{from}"));
        assert_eq!(via(&client), Via::Client, "{kind}");
        let real = tproxy(&format!("type = \"{kind}\"\n{from}\nvia = \"real\""));
        assert_eq!(via(&real), Via::Real, "{kind}");
    }
    let icmp = tproxy(&format!("type = \"icmp\"\n{from}"));
    assert_eq!(via(&icmp), Via::Real);
    let own = format!(
        "{}[service.proxy]\nsource = \"self\"\n",
        tproxy(&format!("type = \"tcp\"\n{from}"))
    );
    assert_eq!(via(&own), Via::Real);

    let refused = |text: &str| parse(text).unwrap_err()[0].message.clone();
    let client = "type = \"tcp\"\nvia = \"client\"";
    let with_source = format!("{client}\n{from}");
    assert_eq!(refused(&tproxy(client)), "via `client` needs `source`");
    assert!(refused(&dr(&with_source)).contains("mode tproxy"));
    let vip = "type = \"tcp\"\nvia = \"vip\"";
    assert!(refused(&tproxy(vip)).contains("direct routing"));
    assert!(refused(&dr(&vip.replace("tcp", "udp"))).contains("where traffic goes"));
    assert!(refused(&dr(&format!("{vip}\nport = 81"))).contains("where traffic goes"));
    assert!(refused(&dr(&vip.replace("tcp", "icmp"))).contains("asks the machine"));
    assert!(refused(&dr("type = \"tcp\"\nsource = \"2001:db8::5\"")).contains("the VIP"));
    assert!(refused(&own.replace("type = \"tcp\"", client)).contains("mode tproxy"));
    let machine = tproxy(&with_source.replace("tcp", "icmp"));
    assert!(refused(&machine).contains("asks the machine"));
}
