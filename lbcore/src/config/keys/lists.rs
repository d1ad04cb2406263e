//! Every key of every section: what may stand in the file, and what may be typed of it.

use super::super::kind::Kind::{self, *};
use super::super::words;
use super::{Key, Shape};

const fn key(name: &'static str, kind: Kind, about: &'static str) -> Key {
    Key { name, kind, about }
}

pub(in crate::config) const TOP: Shape = Shape {
    header: "the file",
    keys: &[
        key(
            "include",
            OneOrMore(&Text),
            "further files with services, such as conf.d/*.toml",
        ),
        key("lbd", Table(&LBD), "the daemon itself"),
        key(
            "network",
            Table(&NETWORK),
            "interfaces, engine, table sizes",
        ),
        key("service", Tables(&SERVICE), "a virtual service"),
    ],
    later: &[],
};

pub(in crate::config) const INCLUDED: Shape = Shape {
    header: "an included file",
    keys: &[key("service", Tables(&SERVICE), "a virtual service")],
    later: &[],
};

pub(in crate::config) const LBD: Shape = Shape {
    header: "[lbd]",
    keys: &[
        key(
            "run_dir",
            Path,
            "tmpfs for the control socket and the flow table",
        ),
        key("bpf_dir", Path, "pins of the xdp engine"),
        key(
            "state_dir",
            Path,
            "hash key, last good configuration, history",
        ),
        key(
            "metrics",
            Listen,
            "where metrics and the status page are served; off = nowhere",
        ),
        key("watch", Bool, "reload when a file changes"),
        key("write_back", Bool, "what lbctl changes goes into the file"),
        key("admin_group", Text, "unix group that may change things"),
        key(
            "read_group",
            Text,
            "unix group that may look; without it everybody",
        ),
        key("allow_exec", Bool, "exec checks are allowed"),
        key(
            "shutdown_timeout",
            Duration,
            "proxied connections may finish this long after SIGTERM",
        ),
        key("log", Text, "log filter: info, or a list of target=level"),
        key(
            "log_format",
            Words(&words::LOG_FORMAT),
            "text, json or journald",
        ),
    ],
    later: &[],
};

pub(in crate::config) const NETWORK: Shape = Shape {
    header: "[network]",
    keys: &[
        key("interface", Text, "interface VIP traffic arrives on"),
        key(
            "interfaces",
            OneOrMore(&Text),
            "interfaces VIP traffic arrives on",
        ),
        key(
            "engine",
            Words(&words::ENGINE),
            "auto, xdp, af_xdp or af_packet",
        ),
        key(
            "xdp_mode",
            Words(&words::XDP_MODE),
            "auto, native (in the driver) or generic (behind it)",
        ),
        key(
            "workers",
            Integer(0, 1024),
            "0 = one for each receive queue, at most one a core",
        ),
        key(
            "flow_entries",
            Integer(1024, 1 << 27),
            "capacity of the flow table",
        ),
        key("hash_key_file", Path, "16 random bytes; peers share it"),
        key(
            "link_holddown",
            Duration,
            "after carrier-up, failures change nothing this long",
        ),
        key(
            "ring_mib",
            Integer(1, 1024),
            "receive ring of one af_packet worker, in MiB",
        ),
        key(
            "busy_poll",
            Duration,
            "af_xdp workers poll the card, so long at a time; 0s = they sleep",
        ),
    ],
    later: &[],
};

pub(in crate::config) const SERVICE: Shape = Shape {
    header: "[[service]]",
    keys: &[
        key("name", Text, "unique; [a-z0-9._-]{1,63}"),
        key("description", Text, "free text"),
        key("labels", Texts, "free labels: KEY=VALUE, joined by commas"),
        key(
            "vip",
            OneOrMore(&Address),
            "address clients dial, or several joined by commas",
        ),
        key(
            "port",
            OneOrMore(&Integer(1, 65_535)),
            "port clients dial, or several joined by commas",
        ),
        key("protocol", Words(&words::PROTOCOL), "tcp or udp"),
        key("mode", Words(&words::MODE), "dr or tproxy"),
        key(
            "scheduler",
            Words(&words::SCHEDULER),
            "rr, wrr, lc, wlc, sh or maglev",
        ),
        key("admin", Words(&words::ADMIN), "enabled, drain or disabled"),
        key(
            "on_dead",
            Words(&words::ON_DEAD),
            "flows of a real that died: rehash, keep or drop",
        ),
        key("dead_grace", Duration, "they stay with it this long first"),
        key(
            "drain_timeout",
            Duration,
            "draining flows may stay this long; 0s = until they end",
        ),
        key(
            "idle_timeout",
            Duration,
            "a flow without packets is forgotten after this long",
        ),
        key(
            "slow_start",
            Duration,
            "a real that comes back has its whole weight after this long",
        ),
        key(
            "damping",
            Bool,
            "a real that flaps stays down longer each time",
        ),
        key(
            "passive",
            Bool,
            "a real that most clients get no answer from is left out a while",
        ),
        key(
            "track",
            Words(&words::TRACK),
            "flows, or none: each packet for itself",
        ),
        key(
            "min_healthy",
            Integer(0, 65_535),
            "panic when fewer reals are up because checks failed; 0 = never",
        ),
        key(
            "announce",
            Words(&words::ANNOUNCE),
            "always, when-owned or never",
        ),
        key("sorry", Address, "real of last resort"),
        key("fragments", Words(&words::FRAGMENTS), "drop"),
        key(
            "check",
            Tables(&CHECK),
            "a check: tcp, or type=http,port=80,path=/healthz, or JSON; may be repeated",
        ),
        key(
            "real",
            Tables(&REAL),
            "a real: ADDRESS, or address=ADDRESS,weight=2, or JSON; may be repeated",
        ),
        key("proxy", Table(&PROXY), "see --proxy-.."),
    ],
    later: &[("max_new_flows_per_source", "0")],
};

pub(in crate::config) const CHECK: Shape = Shape {
    header: "[[service.check]]",
    keys: &[
        key(
            "type",
            Words(&words::CHECK_TYPE),
            "tcp, http, https, udp, icmp, dns, grpc, exec or kubernetes",
        ),
        key("via", Words(&words::VIA), "vip, real or client"),
        key("source", Address, "address it comes from"),
        key("port", Integer(1, 65_535), "port asked"),
        key("interval", Duration, "between two of a settled real"),
        key("fast_interval", Duration, "while in transition"),
        key("down_interval", Duration, "while down"),
        key("timeout", Duration, "longer has failed"),
        key(
            "rise",
            Integer(1, 1000),
            "passes in a row that bring a real up",
        ),
        key(
            "fall",
            Integer(1, 1000),
            "failures in a row that take it down",
        ),
        key("path", Text, "http: request target"),
        key("host", Text, "http: Host"),
        key("method", Text, "http: request method"),
        key(
            "expect",
            Expect,
            "http: codes or ranges; udp: text of the answer",
        ),
        key("body", Text, "http: the body contains it"),
        key("headers", Texts, "http: further headers"),
        key("sni", Text, "https: server name"),
        key("verify", Bool, "https: the certificate has to be good"),
        key("ca_file", Path, "https: trusted instead of the system's"),
        key("query", Text, "dns: name asked for"),
        key("record", Words(&words::RECORD), "dns: A, AAAA and so on"),
        key("send", Text, "udp: the datagram"),
        key("command", List(&Text), "exec: program and arguments"),
        key("service", Text, "grpc: service; kubernetes: namespace/name"),
        key(
            "weight",
            Words(&words::NODE_WEIGHT),
            "kubernetes: endpoints, observe or static",
        ),
    ],
    later: &[],
};

pub(in crate::config) const REAL: Shape = Shape {
    header: "[[service.real]]",
    keys: &[
        key(
            "name",
            Text,
            "unique in its service; without it the address",
        ),
        key("description", Text, "free text"),
        key("labels", Texts, "free labels: KEY=VALUE, joined by commas"),
        key("address", Address, "its own address"),
        key("port", Integer(1, 65_535), "tproxy: port it is dialled at"),
        key("weight", Integer(0, 256), "0 to 256; 0 = no new flows"),
        key("admin", Words(&words::ADMIN), "enabled, drain or disabled"),
        key("mac", Mac, "its MAC, where it is not to be learned"),
        key(
            "interface",
            Text,
            "where it is reached; without it by route",
        ),
        key("backup", Bool, "serves only when no other real is up"),
        key(
            "max_connections",
            Integer(0, 100_000_000),
            "tproxy: connections at once; 0 = any number",
        ),
    ],
    later: &[],
};

pub(in crate::config) const PROXY: Shape = Shape {
    header: "[service.proxy]",
    keys: &[
        key(
            "source",
            Words(&words::SOURCE),
            "the real sees client or self",
        ),
        key(
            "send_proxy",
            Words(&words::SEND_PROXY),
            "PROXY protocol to the real: off, v1 or v2",
        ),
        key(
            "accept_proxy",
            Bool,
            "clients begin with a PROXY protocol header",
        ),
        key(
            "trusted_sources",
            OneOrMore(&Network),
            "from whom such a header is believed, joined by commas",
        ),
        key(
            "connect_timeout",
            Duration,
            "a real that takes longer to accept is given up",
        ),
        key(
            "retries",
            Integer(0, 16),
            "other reals tried before the client is refused",
        ),
        key(
            "max_connections",
            Integer(0, 100_000_000),
            "connections at once; 0 = any number",
        ),
        key(
            "max_connections_per_source",
            Integer(0, 100_000_000),
            "the same of one client address",
        ),
    ],
    later: &[],
};
