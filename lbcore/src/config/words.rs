//! The words keys take, in one place: for reading a file and for naming a value.

use super::faults::Fault;
use super::keys::closest;
use super::model::{
    Admin, Announce, EngineChoice, LogFormat, Mode, NodeWeight, OnDead, SendProxy, Source, Track,
    Via, XdpMode,
};
use super::value::{quote, string};
use crate::health::dns;
use crate::net::Protocol;
use crate::sched::Kind;
use toml::de::DeValue;

/// The words one key takes.
pub(super) struct Words<T: 'static> {
    known: &'static [(&'static str, T)],
    /// Words of versions to come.
    later: &'static [&'static str],
}

pub(super) const PROTOCOL: Words<Protocol> = Words {
    known: &[("tcp", Protocol::Tcp), ("udp", Protocol::Udp)],
    later: &[],
};

pub(super) const MODE: Words<Mode> = Words {
    known: &[("dr", Mode::Dr), ("tproxy", Mode::Tproxy)],
    later: &[],
};

pub(super) const SOURCE: Words<Source> = Words {
    known: &[("client", Source::Client), ("self", Source::OwnAddress)],
    later: &[],
};

pub(super) const SEND_PROXY: Words<SendProxy> = Words {
    known: &[
        ("off", SendProxy::Off),
        ("v1", SendProxy::V1),
        ("v2", SendProxy::V2),
    ],
    later: &[],
};

pub(super) const SCHEDULER: Words<Kind> = Words {
    known: &[
        ("rr", Kind::Rr),
        ("wrr", Kind::Wrr),
        ("lc", Kind::Lc),
        ("wlc", Kind::Wlc),
        ("sh", Kind::Sh),
        ("maglev", Kind::Maglev),
    ],
    later: &[],
};

pub(super) const ADMIN: Words<Admin> = Words {
    known: &[
        ("enabled", Admin::Enabled),
        ("drain", Admin::Drain),
        ("disabled", Admin::Disabled),
    ],
    later: &[],
};

pub(super) const ON_DEAD: Words<OnDead> = Words {
    known: &[
        ("rehash", OnDead::Rehash),
        ("keep", OnDead::Keep),
        ("drop", OnDead::Drop),
    ],
    later: &[],
};

pub(super) const TRACK: Words<Track> = Words {
    known: &[
        ("flows", Track::Flows),
        ("none", Track::None),
        ("changes", Track::Changes),
    ],
    later: &[],
};

pub(super) const ANNOUNCE: Words<Announce> = Words {
    known: &[
        ("always", Announce::Always),
        ("when-owned", Announce::WhenOwned),
        ("never", Announce::Never),
    ],
    later: &[],
};

/// Fragments that cannot be matched to a flow are dropped; nothing else is there to choose yet.
pub(super) const FRAGMENTS: Words<()> = Words {
    known: &[("drop", ())],
    later: &["track"],
};

pub(super) const VIA: Words<Via> = Words {
    known: &[
        ("vip", Via::Vip),
        ("real", Via::Real),
        ("client", Via::Client),
    ],
    later: &[],
};

pub(super) const ENGINE: Words<EngineChoice> = Words {
    known: &[
        ("auto", EngineChoice::Auto),
        ("af_packet", EngineChoice::AfPacket),
        ("af_xdp", EngineChoice::AfXdp),
        ("xdp", EngineChoice::Xdp),
    ],
    later: &[],
};

pub(super) const XDP_MODE: Words<XdpMode> = Words {
    known: &[
        ("auto", XdpMode::Auto),
        ("native", XdpMode::Native),
        ("generic", XdpMode::Generic),
    ],
    later: &[],
};

pub(super) const LOG_FORMAT: Words<LogFormat> = Words {
    known: &[
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
        ("journald", LogFormat::Journald),
    ],
    later: &[],
};

/// `type` of a check, before its own keys are read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum CheckType {
    Tcp,
    Http,
    Https,
    Udp,
    Icmp,
    Dns,
    Grpc,
    Exec,
    Kubernetes,
}

pub(super) const CHECK_TYPE: Words<CheckType> = Words {
    known: &[
        ("tcp", CheckType::Tcp),
        ("http", CheckType::Http),
        ("https", CheckType::Https),
        ("udp", CheckType::Udp),
        ("icmp", CheckType::Icmp),
        ("dns", CheckType::Dns),
        ("grpc", CheckType::Grpc),
        ("exec", CheckType::Exec),
        ("kubernetes", CheckType::Kubernetes),
    ],
    later: &[],
};

pub(super) const RECORD: Words<dns::Record> = Words {
    known: &dns::Record::ALL,
    later: &[],
};

pub(super) const NODE_WEIGHT: Words<NodeWeight> = Words {
    known: &[
        ("endpoints", NodeWeight::Endpoints),
        ("observe", NodeWeight::Observe),
        ("static", NodeWeight::Static),
    ],
    later: &[],
};

/// The words of a key, whatever they stand for.
pub(super) trait Named: Sync {
    /// Those of this version, as they are written.
    fn names(&self) -> Vec<&'static str>;
}

impl<T: Sync> Named for Words<T> {
    fn names(&self) -> Vec<&'static str> {
        self.known.iter().map(|(word, _)| *word).collect()
    }
}

impl<T: Copy + PartialEq + Sync> Words<T> {
    /// The value a word of the file stands for.
    pub(super) fn read(&self, value: &DeValue<'_>) -> Result<T, Fault> {
        let typed = string(value)?;
        if let Some((_, value)) = self.known.iter().find(|(word, _)| *word == typed) {
            return Ok(*value);
        }
        let known = self.names();
        if self.later.contains(&typed.as_str()) {
            let fault = Fault::new(format!("`{typed}` is not supported by this version yet"));
            return Err(fault.help(format!("supported: {}", known.join(", "))));
        }
        let fault = Fault::new(format!(
            "{} is none of: {}",
            quote(&typed),
            known.join(", ")
        ));
        Err(match closest(&typed, &known) {
            Some(word) => fault.help(format!("did you mean `{word}`?")),
            None => fault,
        })
    }

    /// The word for a value.
    pub(super) fn word(&self, value: T) -> &'static str {
        self.known
            .iter()
            .find(|(_, known)| *known == value)
            .map_or("?", |(word, _)| word)
    }
}
