//! `via` of a check: which way its probes travel.

use super::super::faults::Fault;
use super::super::model::{CheckKind, Mode, Real, Source, Via};
use super::super::raw::Section;
use super::super::words;
use crate::net::Protocol;
use std::net::IpAddr;
use toml::Spanned;

/// What a check has to know of its service.
pub(super) struct Around<'a> {
    pub mode: Option<Mode>,
    pub protocol: Option<Protocol>,
    pub vips: &'a [Spanned<IpAddr>],
    pub ports: &'a [Spanned<u16>],
    pub proxied_from: Source,
    pub reals: &'a [Real],
}

impl Around<'_> {
    /// Whether a check of this kind and port asks where traffic goes. What is wrong already has
    /// been told: it counts as right.
    fn is_served(&self, kind: Option<&CheckKind>, port: Option<u16>) -> bool {
        let kind = kind.and_then(CheckKind::protocol);
        let protocol = kind.is_none() || self.protocol.is_none() || kind == self.protocol;
        let known = |port| self.ports.iter().any(|served| *served.get_ref() == port);
        protocol && port.is_none_or(|port| self.ports.is_empty() || known(port))
    }
}

/// Reads it, or gives its default: the way that traffic takes, where that can be asked.
pub(super) fn via(
    s: &Section<'_>,
    kind: Option<&CheckKind>,
    port: Option<u16>,
    around: &Around<'_>,
) -> Via {
    let asks_a_port = kind.is_none_or(|kind| kind.protocol().is_some());
    let (dr, tproxy) = (
        around.mode == Some(Mode::Dr),
        around.mode == Some(Mode::Tproxy),
    );
    let served = around.is_served(kind, port);
    let as_client = around.proxied_from == Source::Client;
    let Some(via) = s.get("via", |v| words::VIA.read(v)) else {
        return match asks_a_port {
            true if dr && served => Via::Vip,
            true if tproxy && as_client && s.has("source") => Via::Client,
            _ => Via::Real,
        };
    };
    let word = words::VIA.word(*via.get_ref());
    let wrong = match via.get_ref() {
        Via::Real => None,
        _ if !asks_a_port => Some((
            format!(
                "a check of this type asks the machine, not the service: via `{word}` is no way for it"
            ),
            "leave `via` out",
        )),
        Via::Vip if tproxy => Some((
            "via `vip` is the path of direct routing".to_owned(),
            "leave `via` out: this service has mode tproxy",
        )),
        Via::Vip if !served => Some((
            "via `vip` asks where traffic goes: the service's protocol and one of its ports"
                .to_owned(),
            "via = \"real\" asks any port of the real's own address",
        )),
        Via::Client if dr || !as_client => Some((
            "via `client` is for services in mode tproxy whose reals see the client's address"
                .to_owned(),
            "leave `via` out",
        )),
        Via::Client if !s.has("source") => Some((
            "via `client` needs `source`".to_owned(),
            "an address that is neither this host's nor in the reals' network, such as a client would have",
        )),
        Via::Vip | Via::Client => None,
    };
    if let Some((message, help)) = wrong {
        let fault = Fault::new(message).help(help);
        s.faults.error(via.span(), &s.path_of("via"), fault);
    }
    via.into_inner()
}
