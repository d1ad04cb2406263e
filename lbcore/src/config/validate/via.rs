//! `via` of a check: which way its probes travel.

use super::super::faults::Fault;
use super::super::model::{CheckKind, Mode, Real, Source, Via};
use super::super::raw::Section;
use super::super::words;

/// What a check has to know of its service.
pub(super) struct Around<'a> {
    pub mode: Option<Mode>,
    pub proxied_from: Source,
    pub reals: &'a [Real],
}

/// Reads it, or gives its default: the way that traffic takes, where that can be asked.
pub(super) fn via(s: &Section<'_>, kind: Option<&CheckKind>, around: &Around<'_>) -> Via {
    let asks_a_port = kind.is_none_or(|kind| kind.protocol().is_some());
    let as_client = around.mode != Some(Mode::Dr) && around.proxied_from == Source::Client;
    let Some(via) = s.get("via", |v| words::VIA.read(v)) else {
        return if as_client && around.mode.is_some() && s.has("source") && asks_a_port {
            Via::Client
        } else {
            Via::Real
        };
    };
    let fault = |message: String, help: &str| {
        let fault = Fault::new(message).help(help);
        s.faults.error(via.span(), &s.path_of("via"), fault);
    };
    let word = words::VIA.word(*via.get_ref());
    match via.get_ref() {
        Via::Real => {}
        Via::Client if !asks_a_port => fault(
            format!(
                "a check of this type asks the machine, not the service, so `{word}` is no way for it"
            ),
            "leave `via` out",
        ),
        Via::Client if !as_client => fault(
            "via `client` is for services in mode tproxy whose reals see the client's address"
                .to_owned(),
            "leave `via` out",
        ),
        Via::Client if !s.has("source") => fault(
            "via `client` needs `source`".to_owned(),
            "an address that is neither this host's nor in the reals' network, such as a client would have",
        ),
        Via::Client => {}
    }
    via.into_inner()
}
