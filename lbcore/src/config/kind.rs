//! What a key takes, as far as one value shows it. What depends on other keys, or on more than its
//! form, only [`super::check`] knows.

use super::keys::Shape;
use super::words::Named;

/// The sort of value.
#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `true` or `false`.
    Bool,
    /// A string of some form.
    Text,
    /// A whole number, from here to there.
    Integer(u32, u32),
    /// A string such as `"1m 30s"`.
    Duration,
    /// A string that begins with `/`.
    Path,
    /// One of a few strings.
    Words(&'static dyn Named),
    /// A string with the address of a machine.
    Address,
    /// A string such as `"198.51.100.0/24"`.
    Network,
    /// A string such as `"127.0.0.1:9380"`, or `"off"`.
    Listen,
    /// A string such as `"02:00:00:00:00:21"`.
    Mac,
    /// A table of strings.
    Texts,
    /// What an answer must be: status codes for http, text for udp.
    Expect,
    /// A list of at least one.
    List(&'static Kind),
    /// One, or a list of at least one.
    OneOrMore(&'static Kind),
    /// A section that stands once.
    Table(&'static Shape),
    /// A section that may stand any number of times.
    Tables(&'static Shape),
}

impl Kind {
    /// What it takes, in words.
    pub(super) fn words(&self) -> String {
        let plain = match self {
            Kind::Bool => "true or false",
            Kind::Text => "string",
            Kind::Integer(min, max) => return format!("integer, {min} to {max}"),
            Kind::Duration => "duration",
            Kind::Path => "path",
            Kind::Words(words) => {
                let quoted: Vec<String> =
                    words.names().iter().map(|w| format!("\"{w}\"")).collect();
                return quoted.join(", ");
            }
            Kind::Address => "IP address",
            Kind::Network => "network, such as \"198.51.100.0/24\"",
            Kind::Listen => "address with a port, or \"off\"",
            Kind::Mac => "MAC address",
            Kind::Texts => "table of strings",
            Kind::Expect => "status code, range \"200-399\", or a list of them; for udp a string",
            Kind::List(one) => return format!("list of: {}", one.words()),
            Kind::OneOrMore(one) => return format!("{}; one, or a list", one.words()),
            Kind::Table(_) => "section",
            Kind::Tables(_) => "sections",
        };
        plain.to_owned()
    }
}
