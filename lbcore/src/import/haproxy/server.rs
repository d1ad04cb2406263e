//! `server` and `default-server`.

use super::super::plan::{Origin, Plan};
use super::address::time;
use crate::health::dns;
use std::time::Duration;

/// What a server, or `default-server` for those after it, says besides name and address.
#[derive(Clone, Debug)]
pub(super) struct Params {
    pub check: bool,
    pub inter: Option<Duration>,
    pub fastinter: Option<Duration>,
    pub downinter: Option<Duration>,
    pub rise: u32,
    pub fall: u32,
    pub check_port: Option<u16>,
    pub check_tls: bool,
    pub sni: Option<String>,
    pub verify: bool,
    pub ca_file: Option<String>,
    pub weight: u32,
    pub backup: bool,
    pub disabled: bool,
    /// 0, or the version of the PROXY protocol.
    pub send_proxy: u8,
    pub maxconn: u32,
    /// Dialled from the client's address.
    pub from_client: Option<bool>,
    pub tls: bool,
    pub shutdown_sessions: bool,
    pub slowstart: Duration,
}

impl Default for Params {
    /// HAProxy's own.
    fn default() -> Params {
        Params {
            check: false,
            inter: None,
            fastinter: None,
            downinter: None,
            rise: 2,
            fall: 3,
            check_port: None,
            check_tls: false,
            sni: None,
            verify: true,
            ca_file: None,
            weight: 1,
            backup: false,
            disabled: false,
            send_proxy: 0,
            maxconn: 0,
            from_client: None,
            tls: false,
            shutdown_sessions: false,
            slowstart: Duration::ZERO,
        }
    }
}

/// Words that take a value, and have no equivalent.
const WITH_VALUE: &[&str] = &[
    "addr",
    "agent-addr",
    "agent-inter",
    "agent-port",
    "agent-send",
    "alpn",
    "check-alpn",
    "check-proto",
    "ciphers",
    "ciphersuites",
    "cookie",
    "crl-file",
    "crt",
    "curves",
    "error-limit",
    "guid",
    "hash-key",
    "id",
    "init-addr",
    "init-state",
    "log-bufsize",
    "log-proto",
    "max-reuse",
    "maxqueue",
    "minconn",
    "namespace",
    "npn",
    "observe",
    "on-error",
    "pool-low-conn",
    "pool-max-conn",
    "pool-purge-delay",
    "proto",
    "proxy-v2-options",
    "redir",
    "resolve-net",
    "resolve-opts",
    "resolve-prefer",
    "resolvers",
    "set-proxy-v2-tlv-fmt",
    "shard",
    "sigalgs",
    "client-sigalgs",
    "socks4",
    "ssl-max-ver",
    "ssl-min-ver",
    "tcp-md5sig",
    "tcp-ut",
    "track",
    "usesrc",
    "verifyhost",
    "ws",
];

impl Params {
    /// Takes the words of a line.
    pub(super) fn take(&mut self, plan: &mut Plan<'_>, origin: &Origin, words: &[String]) {
        let mut words = words.iter().map(String::as_str).peekable();
        while let Some(word) = words.next() {
            let plain = match word {
                "check" => Some(&mut self.check),
                "backup" => Some(&mut self.backup),
                "disabled" => Some(&mut self.disabled),
                "ssl" => Some(&mut self.tls),
                "check-ssl" => Some(&mut self.check_tls),
                _ => None,
            };
            if let Some(flag) = plain {
                *flag = true;
                continue;
            }
            match word {
                "no-check" => self.check = false,
                "no-backup" => self.backup = false,
                "enabled" => self.disabled = false,
                "no-ssl" => self.tls = false,
                "no-check-ssl" => self.check_tls = false,
                "send-proxy" => self.send_proxy = 1,
                "send-proxy-v2" => self.send_proxy = 2,
                "no-send-proxy" | "no-send-proxy-v2" => self.send_proxy = 0,
                "send-proxy-v2-ssl" | "send-proxy-v2-ssl-cn" => {
                    self.send_proxy = 2;
                    plan.tell(
                        origin,
                        format!("{word}: send_proxy = \"v2\", without fields of TLS"),
                    );
                }
                "inter" | "fastinter" | "downinter" | "slowstart" => {
                    let value = words.next().unwrap_or_default();
                    match (word, time(value)) {
                        ("inter", Some(time)) => self.inter = Some(time),
                        ("fastinter", Some(time)) => self.fastinter = Some(time),
                        ("downinter", Some(time)) => self.downinter = Some(time),
                        (_, Some(time)) => self.slowstart = time,
                        (_, None) => plan.tell(origin, format!("{word} {value}: no time")),
                    }
                }
                "rise" | "fall" | "weight" | "maxconn" | "port" => {
                    let value = words.next().unwrap_or_default();
                    let number = value.parse::<u32>();
                    match (word, number) {
                        ("rise", Ok(count @ 1..=1000)) => self.rise = count,
                        ("fall", Ok(count @ 1..=1000)) => self.fall = count,
                        ("weight", Ok(weight @ 0..=256)) => self.weight = weight,
                        ("maxconn", Ok(count @ 0..=100_000_000)) => self.maxconn = count,
                        ("port", Ok(port @ 1..=65_535)) => {
                            self.check_port = u16::try_from(port).ok()
                        }
                        _ => plan.tell(origin, format!("{word} {value}: out of lbd's range")),
                    }
                }
                "verify" => self.verify = words.next() != Some("none"),
                "ca-file" | "check-sni" => {
                    let value = words.next().unwrap_or_default();
                    let absolute =
                        value.starts_with('/') && !value.split('/').any(|part| part == "..");
                    match word {
                        "ca-file" if absolute => self.ca_file = Some(value.to_owned()),
                        "check-sni" if dns::is_name(value) && !value.ends_with('.') => {
                            self.sni = Some(value.to_owned());
                        }
                        "ca-file" => {
                            plan.tell(origin, format!("ca-file {value}: lbd wants the full path"));
                        }
                        _ => plan.tell(origin, format!("check-sni {value}: no host name")),
                    }
                }
                "sni" => {
                    let value = words.next().unwrap_or_default();
                    plan.tell(
                        origin,
                        format!("sni {value}: lbd speaks no TLS for clients"),
                    );
                }
                "source" => {
                    let address = words.next().unwrap_or_default();
                    self.source(
                        plan,
                        origin,
                        address,
                        words.next_if_eq(&"usesrc").is_some(),
                        &mut words,
                    );
                }
                "on-marked-down" => match words.next() {
                    Some("shutdown-sessions") => self.shutdown_sessions = true,
                    value => {
                        let what = format!("on-marked-down {}: no equivalent", value.unwrap_or(""));
                        plan.tell(origin, what);
                    }
                },
                "on-marked-up" => {
                    let value = words.next().unwrap_or_default();
                    let what =
                        format!("on-marked-up {value}: no equivalent; flows on backups stay");
                    plan.tell(origin, what);
                }
                "check-send-proxy" => {
                    let what = "check-send-proxy: no equivalent; lbd's checks send no PROXY header";
                    plan.tell(origin, what);
                }
                "agent-check" => {
                    let what = "agent-check: no equivalent; lbd asks no agent for weights";
                    plan.tell(origin, what);
                }
                "track" => {
                    let value = words.next().unwrap_or_default();
                    plan.tell(
                        origin,
                        format!("track {value}: no equivalent; give it a check"),
                    );
                }
                word if WITH_VALUE.contains(&word) => {
                    let value = words.next().unwrap_or_default();
                    plan.tell(origin, format!("{word} {value}: no equivalent"));
                }
                word => plan.tell(origin, format!("{word}: no equivalent")),
            }
        }
    }

    /// `source ADDRESS [usesrc WHO]`
    pub(super) fn source<'w>(
        &mut self,
        plan: &mut Plan<'_>,
        origin: &Origin,
        address: &str,
        usesrc: bool,
        words: &mut impl Iterator<Item = &'w str>,
    ) {
        match usesrc.then(|| words.next().unwrap_or_default()) {
            Some("client" | "clientip") => self.from_client = Some(true),
            Some(other) => {
                let what = format!("usesrc {other}: no equivalent; lbd's own address is shown");
                plan.tell(origin, what);
                self.from_client = Some(false);
            }
            None => {
                let what =
                    format!("source {address}: no equivalent; the route decides which own address");
                plan.tell(origin, what);
                self.from_client = Some(false);
            }
        }
    }
}
