//! Every key of every section: what may stand in the file.

use super::faults::Fault;
use super::kind::Kind::{self, *};
use super::value::quote;
use super::words;

/// A kind of section and its keys.
pub(super) struct Shape {
    /// As written in the file.
    pub(super) header: &'static str,
    /// Keys this version reads, each with what it takes.
    pub(super) keys: &'static [(&'static str, Kind)],
    /// Keys of versions to come, each with the value that asks for nothing (`""`: none does).
    pub(super) later: &'static [(&'static str, &'static str)],
}

pub(super) const TOP: Shape = Shape {
    header: "the file",
    keys: &[
        ("lbd", Table(&LBD)),
        ("network", Table(&NETWORK)),
        ("service", Tables(&SERVICE)),
    ],
    later: &[],
};

pub(super) const LBD: Shape = Shape {
    header: "[lbd]",
    keys: &[
        ("run_dir", Path),
        ("bpf_dir", Path),
        ("state_dir", Path),
        ("metrics", Listen),
        ("watch", Bool),
        ("write_back", Bool),
        ("admin_group", Text),
        ("read_group", Text),
        ("allow_exec", Bool),
        ("shutdown_timeout", Duration),
        ("log", Text),
        ("log_format", Words(&words::LOG_FORMAT)),
    ],
    later: &[],
};

pub(super) const NETWORK: Shape = Shape {
    header: "[network]",
    keys: &[
        ("interface", Text),
        ("interfaces", OneOrMore(&Text)),
        ("engine", Words(&words::ENGINE)),
        ("xdp_mode", Words(&words::XDP_MODE)),
        ("workers", Integer(0, 1024)),
        ("flow_entries", Integer(1024, 1 << 27)),
        ("hash_key_file", Path),
        ("link_holddown", Duration),
        ("ring_mib", Integer(1, 1024)),
    ],
    later: &[],
};

pub(super) const SERVICE: Shape = Shape {
    header: "[[service]]",
    keys: &[
        ("name", Text),
        ("description", Text),
        ("labels", Texts),
        ("vip", OneOrMore(&Address)),
        ("port", OneOrMore(&Integer(1, 65_535))),
        ("protocol", Words(&words::PROTOCOL)),
        ("mode", Words(&words::MODE)),
        ("scheduler", Words(&words::SCHEDULER)),
        ("admin", Words(&words::ADMIN)),
        ("on_dead", Words(&words::ON_DEAD)),
        ("dead_grace", Duration),
        ("drain_timeout", Duration),
        ("idle_timeout", Duration),
        ("slow_start", Duration),
        ("damping", Bool),
        ("passive", Bool),
        ("track", Words(&words::TRACK)),
        ("min_healthy", Integer(0, 65_535)),
        ("announce", Words(&words::ANNOUNCE)),
        ("sorry", Address),
        ("fragments", Words(&words::FRAGMENTS)),
        ("check", Tables(&CHECK)),
        ("real", Tables(&REAL)),
        ("proxy", Table(&PROXY)),
    ],
    later: &[("max_new_flows_per_source", "0")],
};

pub(super) const CHECK: Shape = Shape {
    header: "[[service.check]]",
    keys: &[
        ("type", Words(&words::CHECK_TYPE)),
        ("via", Words(&words::VIA)),
        ("source", Address),
        ("port", Integer(1, 65_535)),
        ("interval", Duration),
        ("fast_interval", Duration),
        ("down_interval", Duration),
        ("timeout", Duration),
        ("rise", Integer(1, 1000)),
        ("fall", Integer(1, 1000)),
        ("path", Text),
        ("host", Text),
        ("method", Text),
        ("expect", Expect),
        ("body", Text),
        ("headers", Texts),
        ("sni", Text),
        ("verify", Bool),
        ("ca_file", Path),
        ("query", Text),
        ("record", Words(&words::RECORD)),
        ("send", Text),
        ("command", List(&Text)),
        ("service", Text),
        ("weight", Words(&words::NODE_WEIGHT)),
    ],
    later: &[],
};

pub(super) const REAL: Shape = Shape {
    header: "[[service.real]]",
    keys: &[
        ("name", Text),
        ("description", Text),
        ("labels", Texts),
        ("address", Address),
        ("port", Integer(1, 65_535)),
        ("weight", Integer(0, 256)),
        ("admin", Words(&words::ADMIN)),
        ("mac", Mac),
        ("interface", Text),
        ("backup", Bool),
        ("max_connections", Integer(0, 100_000_000)),
    ],
    later: &[],
};

pub(super) const PROXY: Shape = Shape {
    header: "[service.proxy]",
    keys: &[
        ("source", Words(&words::SOURCE)),
        ("send_proxy", Words(&words::SEND_PROXY)),
        ("accept_proxy", Bool),
        ("trusted_sources", OneOrMore(&Network)),
        ("connect_timeout", Duration),
        ("retries", Integer(0, 16)),
        ("max_connections", Integer(0, 100_000_000)),
        ("max_connections_per_source", Integer(0, 100_000_000)),
    ],
    later: &[],
};

/// Sections a stray key may have been meant for, most likely first.
const SECTIONS: [&Shape; 6] = [&SERVICE, &REAL, &CHECK, &PROXY, &NETWORK, &LBD];

/// Words of other balancers for our keys.
const OTHER_WORDS: &[(&str, &str)] = &[
    ("algorithm", "scheduler"),
    ("strategy", "scheduler"),
    ("lb_algo", "scheduler"),
    ("method", "mode"),
    ("forwarding", "mode"),
    ("lb_kind", "mode"),
    ("frontend", "vip"),
    ("address", "vip"),
    ("ip", "vip"),
    ("ip", "address"),
    ("vserver", "service"),
    ("listener", "service"),
    ("virtual_server", "service"),
    ("backend", "real"),
    ("upstream", "real"),
    ("endpoint", "real"),
    ("destination", "real"),
    ("server", "real"),
    ("real_server", "real"),
    ("monitor", "check"),
    ("health_check", "check"),
    ("healthcheck", "check"),
    ("delay_loop", "interval"),
    ("sorry_server", "sorry"),
];

impl Shape {
    /// The names of its keys.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(name, _)| *name)
    }

    /// Whether this section has such a key, in this version or a later one.
    pub(super) fn knows(&self, key: &str) -> bool {
        self.names().any(|name| name == key) || self.later.iter().any(|(later, _)| *later == key)
    }

    /// The fault of a key this section does not have.
    pub(super) fn unknown(&self, key: &str) -> Fault {
        let fault = Fault::new(format!("unknown key {} in {}", quote(key), self.header));
        let translated = OTHER_WORDS
            .iter()
            .find(|(other, ours)| *other == key && self.knows(ours))
            .map(|(_, ours)| *ours);
        let names: Vec<&str> = self.names().collect();
        if let Some(name) = translated.or_else(|| closest(key, &names)) {
            return fault.help(format!("did you mean `{name}`?"));
        }
        match SECTIONS.iter().find(|section| section.knows(key)) {
            Some(section) if key == "check" || key == "real" => fault.help(format!(
                "write `[[service.{key}]]`, below its `{}`",
                section.header
            )),
            Some(section) => fault.help(format!("`{key}` is a key of `{}`", section.header)),
            None => fault.help(format!("the keys here are: {}", names.join(", "))),
        }
    }
}

/// The word a mistyped one most likely stands for.
pub(super) fn closest<'w>(typed: &str, words: &[&'w str]) -> Option<&'w str> {
    /// Longer than any word of ours: comparing would only cost time.
    const MAX_TYPED: usize = 40;
    if typed.len() > MAX_TYPED {
        return None;
    }
    let allowed = (typed.len() / 3).max(1);
    let typed = typed.to_ascii_lowercase().replace('-', "_");
    words
        .iter()
        .map(|word| (strsim::osa_distance(&typed, word), *word))
        .filter(|(distance, word)| *distance <= allowed && *distance < word.len())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
