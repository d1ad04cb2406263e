//! Every key of every section: what may stand in the file.

use super::faults::Fault;
use super::value::quote;

/// A kind of section and its keys.
pub(super) struct Shape {
    /// As written in the file.
    pub(super) header: &'static str,
    /// Keys this version reads.
    pub(super) keys: &'static [&'static str],
    /// Keys of versions to come, each with the value that asks for nothing (`""`: none does).
    pub(super) later: &'static [(&'static str, &'static str)],
}

pub(super) const TOP: Shape = Shape {
    header: "the file",
    keys: &["lbd", "network", "service"],
    later: &[],
};

pub(super) const LBD: Shape = Shape {
    header: "[lbd]",
    keys: &[
        "run_dir",
        "bpf_dir",
        "state_dir",
        "metrics",
        "watch",
        "write_back",
        "admin_group",
        "read_group",
        "allow_exec",
        "shutdown_timeout",
        "log",
        "log_format",
    ],
    later: &[],
};

pub(super) const NETWORK: Shape = Shape {
    header: "[network]",
    keys: &[
        "interface",
        "interfaces",
        "engine",
        "xdp_mode",
        "workers",
        "flow_entries",
        "hash_key_file",
        "link_holddown",
        "ring_mib",
    ],
    later: &[],
};

pub(super) const SERVICE: Shape = Shape {
    header: "[[service]]",
    keys: &[
        "name",
        "description",
        "labels",
        "vip",
        "port",
        "protocol",
        "mode",
        "scheduler",
        "admin",
        "on_dead",
        "dead_grace",
        "drain_timeout",
        "idle_timeout",
        "slow_start",
        "damping",
        "passive",
        "track",
        "min_healthy",
        "announce",
        "sorry",
        "fragments",
        "check",
        "real",
        "proxy",
    ],
    later: &[("max_new_flows_per_source", "0")],
};

pub(super) const CHECK: Shape = Shape {
    header: "[[service.check]]",
    keys: &[
        "type",
        "via",
        "source",
        "port",
        "interval",
        "fast_interval",
        "down_interval",
        "timeout",
        "rise",
        "fall",
        "path",
        "host",
        "method",
        "expect",
        "body",
        "headers",
        "sni",
        "verify",
        "ca_file",
        "query",
        "record",
        "send",
        "command",
        "service",
        "weight",
    ],
    later: &[],
};

pub(super) const REAL: Shape = Shape {
    header: "[[service.real]]",
    keys: &[
        "name",
        "description",
        "labels",
        "address",
        "port",
        "weight",
        "admin",
        "mac",
        "interface",
        "backup",
        "max_connections",
    ],
    later: &[],
};

pub(super) const PROXY: Shape = Shape {
    header: "[service.proxy]",
    keys: &[
        "source",
        "send_proxy",
        "accept_proxy",
        "trusted_sources",
        "connect_timeout",
        "retries",
        "max_connections",
        "max_connections_per_source",
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
    fn knows(&self, key: &str) -> bool {
        self.keys.contains(&key) || self.later.iter().any(|(later, _)| *later == key)
    }

    /// The fault of a key this section does not have.
    pub(super) fn unknown(&self, key: &str) -> Fault {
        let fault = Fault::new(format!("unknown key {} in {}", quote(key), self.header));
        let translated = OTHER_WORDS
            .iter()
            .find(|(other, ours)| *other == key && self.knows(ours))
            .map(|(_, ours)| *ours);
        if let Some(name) = translated.or_else(|| closest(key, self.keys)) {
            return fault.help(format!("did you mean `{name}`?"));
        }
        match SECTIONS.iter().find(|section| section.knows(key)) {
            Some(section) if key == "check" || key == "real" => fault.help(format!(
                "write `[[service.{key}]]`, below its `{}`",
                section.header
            )),
            Some(section) => fault.help(format!("`{key}` is a key of `{}`", section.header)),
            None => fault.help(format!("the keys here are: {}", self.keys.join(", "))),
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
