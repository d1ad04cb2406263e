//! `[service.proxy]`

use super::super::faults::Fault;
use super::super::model::{Mode, Proxy, Real, SendProxy, Source};
use super::super::raw::Section;
use super::super::{value, words};
use crate::net::Protocol;
use std::net::IpAddr;
use std::time::Duration;
use toml::Spanned;

/// A client does not wait longer for a connection.
const MAX_CONNECT: Duration = Duration::from_secs(60);

/// More reals than anybody would try for one client.
const MAX_RETRIES: u32 = 16;

/// Reads the section of a service, or gives its defaults.
pub(super) fn proxy(
    service: &Section<'_>,
    section: Option<&Section<'_>>,
    mode: Option<Mode>,
    protocol: Option<Protocol>,
) -> Proxy {
    let default = Proxy::default();
    let Some(s) = section else {
        return default;
    };
    if mode == Some(Mode::Dr) {
        let fault = Fault::new("[service.proxy] is for mode tproxy")
            .help("write mode = \"tproxy\" in the service, or leave the section out");
        let span = service.key_span("proxy");
        service.faults.error(span, &service.path_of("proxy"), fault);
    }
    let send_proxy = s.get("send_proxy", |v| words::SEND_PROXY.read(v));
    let udp = protocol == Some(Protocol::Udp);
    if let Some(version) = &send_proxy
        && udp
        && *version.get_ref() == SendProxy::V1
    {
        let fault = Fault::new("version 1 of the PROXY protocol speaks of tcp only")
            .help("udp: send_proxy = \"v2\"");
        s.faults
            .error(version.span(), &s.path_of("send_proxy"), fault);
    }
    let (accept_proxy, trusted_sources) = accepting(s, udp);
    let connect = value::duration(Duration::from_millis(10), MAX_CONNECT);
    let retries = value::integer("the number of other reals to try", 0, MAX_RETRIES);
    Proxy {
        source: s.get_or("source", |v| words::SOURCE.read(v), default.source),
        send_proxy: send_proxy.map_or(default.send_proxy, Spanned::into_inner),
        accept_proxy,
        trusted_sources,
        connect_timeout: s.get_or("connect_timeout", connect, default.connect_timeout),
        retries: s.get_or("retries", retries, default.retries),
        max_connections: s.get_or("max_connections", value::connections, 0),
        max_connections_per_source: s.get_or("max_connections_per_source", value::connections, 0),
    }
}

/// Whoever may say who the client is must be named: anybody else could claim to be anybody.
fn accepting(s: &Section<'_>, udp: bool) -> (bool, Vec<crate::net::Prefix>) {
    let accept = s.get_or("accept_proxy", value::boolean, false);
    let trusted = s.one_or_more("trusted_sources", value::prefix);
    let error = |key: &str, fault| s.faults.error(s.key_span(key), &s.path_of(key), fault);
    if accept && udp {
        let fault = Fault::new("`accept_proxy` is for tcp services")
            .help("a udp header may be lost, and with it the client");
        error("accept_proxy", fault);
    } else if accept && !s.has("trusted_sources") {
        let fault = Fault::new("`accept_proxy` needs `trusted_sources`").help(
            "name the balancers in front, such as [\"198.51.100.0/24\"]: anybody else could \
             claim any address",
        );
        error("accept_proxy", fault);
    } else if !accept && s.has("trusted_sources") {
        let fault = Fault::new("`trusted_sources` does nothing without `accept_proxy = true`")
            .help("write both, or neither");
        error("trusted_sources", fault);
    }
    let trusted = trusted.into_iter().map(Spanned::into_inner).collect();
    (accept, trusted)
}

/// A client's address is of one family, and so must be the real that is dialled from it.
pub(super) fn families(s: &Section<'_>, proxy: &Proxy, vips: &[Spanned<IpAddr>], reals: &[Real]) {
    if proxy.source != Source::Client {
        return;
    }
    for vip in vips {
        let ip = *vip.get_ref();
        let Some(real) = reals.iter().find(|r| r.address.is_ipv4() != ip.is_ipv4()) else {
            continue;
        };
        let message = format!(
            "clients of {ip} cannot be shown to {}: their addresses are of another family",
            real.address
        );
        let fault = Fault::new(message)
            .help("one service a family, or source = \"self\" with send_proxy in [service.proxy]");
        s.faults.error(vip.span(), &s.path_of("vip"), fault);
        return;
    }
}
