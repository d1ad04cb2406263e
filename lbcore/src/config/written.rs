//! A configuration written out, key by key, to compare two and to tell what differs.

use super::secrets::TAKEN_OUT;
use super::words;
use super::{
    Check, CheckKind, DnsCheck, ExecCheck, GrpcCheck, HttpCheck, KubernetesCheck, Lbd, Network,
    Proxy, Real, Service, TlsCheck, UdpCheck,
};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Keys with their values as the file would write them. The structs are taken apart by name, so
/// that no key can be forgotten here.
pub(super) type Keys = Vec<(&'static str, String)>;

fn time(duration: Duration) -> String {
    humantime::format_duration(duration).to_string()
}

fn list<T: fmt::Display>(items: &[T]) -> String {
    items
        .iter()
        .map(T::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}

fn or<T: fmt::Display>(value: Option<T>, none: &str) -> String {
    value.map_or_else(|| none.to_owned(), |value| value.to_string())
}

fn map(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "none".to_owned();
    }
    let pairs: Vec<String> = map
        .iter()
        .map(|(key, value)| format!("{key} = {value:?}"))
        .collect();
    format!("{{ {} }}", pairs.join(", "))
}

pub(super) fn lbd(section: &Lbd) -> Keys {
    let Lbd {
        run_dir,
        bpf_dir,
        state_dir,
        metrics,
        watch,
        write_back,
        admin_group,
        read_group,
        allow_exec,
        shutdown_timeout,
        log,
        log_format,
    } = section;
    vec![
        ("run_dir", run_dir.display().to_string()),
        ("bpf_dir", bpf_dir.display().to_string()),
        ("state_dir", state_dir.display().to_string()),
        ("metrics", or(*metrics, "off")),
        ("watch", watch.to_string()),
        ("write_back", write_back.to_string()),
        ("admin_group", admin_group.clone()),
        ("read_group", or(read_group.as_ref(), "everybody")),
        ("allow_exec", allow_exec.to_string()),
        ("shutdown_timeout", time(*shutdown_timeout)),
        ("log", log.clone()),
        (
            "log_format",
            or(
                log_format.map(|format| words::LOG_FORMAT.word(format)),
                "by itself",
            ),
        ),
    ]
}

pub(super) fn network(section: &Network) -> Keys {
    let Network {
        interfaces,
        engine,
        xdp_mode,
        workers,
        flow_entries,
        hash_key_file,
        link_holddown,
        ring_mib,
        busy_poll,
    } = section;
    let key_file = hash_key_file
        .as_ref()
        .map(|path| path.display().to_string());
    vec![
        ("interfaces", list(interfaces)),
        ("engine", words::ENGINE.word(*engine).to_owned()),
        ("xdp_mode", words::XDP_MODE.word(*xdp_mode).to_owned()),
        ("workers", workers.to_string()),
        ("flow_entries", flow_entries.to_string()),
        ("hash_key_file", or(key_file, "in state_dir")),
        ("link_holddown", time(*link_holddown)),
        ("ring_mib", ring_mib.to_string()),
        ("busy_poll", time(*busy_poll)),
    ]
}

pub(super) fn service(service: &Service) -> Keys {
    let Service {
        name: _,
        description,
        labels,
        vips,
        ports,
        protocol,
        mode,
        scheduler,
        admin,
        on_dead,
        dead_grace,
        drain_timeout,
        idle_timeout,
        slow_start,
        damping,
        passive,
        track,
        min_healthy,
        announce,
        sorry,
        proxy,
        checks: _,
        reals: _,
    } = service;
    let mut keys = vec![
        ("description", format!("{description:?}")),
        ("labels", map(labels)),
        ("vip", list(vips)),
        ("port", list(ports)),
        ("protocol", protocol.to_string()),
        ("mode", words::MODE.word(*mode).to_owned()),
        ("scheduler", scheduler.to_string()),
        ("admin", words::ADMIN.word(*admin).to_owned()),
        ("on_dead", words::ON_DEAD.word(*on_dead).to_owned()),
        ("dead_grace", time(*dead_grace)),
        ("drain_timeout", time(*drain_timeout)),
        ("idle_timeout", time(*idle_timeout)),
        ("slow_start", time(*slow_start)),
        ("damping", damping.to_string()),
        ("passive", passive.to_string()),
        ("track", words::TRACK.word(*track).to_owned()),
        ("min_healthy", min_healthy.to_string()),
        ("announce", words::ANNOUNCE.word(*announce).to_owned()),
        ("sorry", or(*sorry, "none")),
    ];
    keys.extend(self::proxy(proxy));
    keys
}

fn proxy(proxy: &Proxy) -> Keys {
    let Proxy {
        source,
        send_proxy,
        accept_proxy,
        trusted_sources,
        connect_timeout,
        retries,
        max_connections,
        max_connections_per_source,
    } = proxy;
    vec![
        ("proxy.source", words::SOURCE.word(*source).to_owned()),
        (
            "proxy.send_proxy",
            words::SEND_PROXY.word(*send_proxy).to_owned(),
        ),
        ("proxy.accept_proxy", accept_proxy.to_string()),
        ("proxy.trusted_sources", list(trusted_sources)),
        ("proxy.connect_timeout", time(*connect_timeout)),
        ("proxy.retries", retries.to_string()),
        ("proxy.max_connections", max_connections.to_string()),
        (
            "proxy.max_connections_per_source",
            max_connections_per_source.to_string(),
        ),
    ]
}

pub(super) fn check(check: &Check) -> Keys {
    let Check {
        kind,
        via,
        source,
        port,
        interval,
        fast_interval,
        down_interval,
        timeout,
        rise,
        fall,
    } = check;
    vec![
        ("type", check_kind(kind)),
        ("via", words::VIA.word(*via).to_owned()),
        ("source", or(*source, "by route")),
        ("port", or(*port, "the service's")),
        ("interval", time(*interval)),
        ("fast_interval", time(*fast_interval)),
        ("down_interval", time(*down_interval)),
        ("timeout", time(*timeout)),
        ("rise", rise.to_string()),
        ("fall", fall.to_string()),
    ]
}

/// What a check asks, in words that anybody may read: they go into logs, events and drift. What
/// [`without_secrets`](super::without_secrets) takes out of a file is taken out here, too.
pub(super) fn check_kind(kind: &CheckKind) -> String {
    let word = kind.word();
    match kind {
        CheckKind::Tcp | CheckKind::Icmp => word.to_owned(),
        CheckKind::Http(check) => format!("{word} ({})", http(check)),
        CheckKind::Https(
            check,
            TlsCheck {
                sni,
                verify,
                ca_file,
            },
        ) => {
            let (sni, ca) = (
                or(sni.as_ref(), "the host"),
                or(ca_file.as_ref().map(|f| f.display()), "the system's"),
            );
            let http = http(check);
            format!("{word} ({http}, sni {sni}, verify {verify}, authorities {ca})")
        }
        CheckKind::Udp(UdpCheck { send, expect }) => {
            let expect = expect.as_ref().map_or("no refusal", |_| TAKEN_OUT);
            let bytes = send.len();
            format!("{word} (send {bytes} bytes {TAKEN_OUT}, expect {expect})")
        }
        CheckKind::Dns(DnsCheck { query, record }) => format!("{word} ({query} {record})"),
        CheckKind::Grpc(GrpcCheck { service }) => format!("{word} (service {service:?})"),
        CheckKind::Exec(ExecCheck { command }) => {
            let program = or(command.first(), "nothing");
            match command.len() {
                0 | 1 => format!("{word} ({program})"),
                words => format!("{word} ({program} and {} words {TAKEN_OUT})", words - 1),
            }
        }
        CheckKind::Kubernetes(KubernetesCheck {
            path,
            service,
            weight,
        }) => {
            let service = or(service.as_ref(), "any");
            let weight = words::NODE_WEIGHT.word(*weight);
            let path = without_query(path);
            format!("{word} ({path}, service {service}, weight {weight})")
        }
    }
}

fn http(check: &HttpCheck) -> String {
    let HttpCheck {
        method,
        path,
        host,
        expect,
        body,
        headers,
    } = check;
    let codes: Vec<_> = expect
        .iter()
        .map(|(from, to)| format!("{from}-{to}"))
        .collect();
    let host = or(host.as_ref(), "by address");
    let body = body.as_ref().map_or(String::new(), |body| {
        format!(", body of {} bytes {TAKEN_OUT}", body.len())
    });
    let headers: Vec<_> = headers.keys().map(String::as_str).collect();
    let headers = match headers.as_slice() {
        [] => "none".to_owned(),
        names => format!("{} {TAKEN_OUT}", names.join(", ")),
    };
    let path = without_query(path);
    let codes = codes.join(", ");
    format!("{method} {path}, host {host}, expect {codes}{body}, headers {headers}")
}

fn without_query(path: &str) -> String {
    match path.split_once('?') {
        Some((path, _)) => format!("{path}?{TAKEN_OUT}"),
        None => path.to_owned(),
    }
}

pub(super) fn real(real: &Real) -> Keys {
    let Real {
        name,
        description,
        labels,
        address: _,
        port: _,
        weight,
        admin,
        mac,
        interface,
        backup,
        max_connections,
    } = real;
    vec![
        ("name", name.clone()),
        ("description", format!("{description:?}")),
        ("labels", map(labels)),
        ("weight", weight.to_string()),
        ("admin", words::ADMIN.word(*admin).to_owned()),
        ("mac", or(*mac, "learned")),
        ("interface", or(interface.as_ref(), "by route")),
        ("backup", backup.to_string()),
        ("max_connections", max_connections.to_string()),
    ]
}
