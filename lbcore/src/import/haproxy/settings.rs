//! What the statements of a section amount to, on top of the `defaults` it inherits.

use super::super::plan::{Origin, Plan};
use super::address::{self, Where, time};
use super::check::Asked;
use super::sections::Line;
use super::server::Params;
use std::net::IpAddr;
use std::time::Duration;

/// What a proxy, or a `defaults` section, says.
#[derive(Clone, Default)]
pub(super) struct Settings {
    pub balance: Option<(Origin, Vec<String>)>,
    pub timeouts: Timeouts,
    pub retries: Option<u32>,
    pub redispatch: bool,
    pub all_backups: bool,
    pub maxconn: u32,
    pub asked: Asked,
    /// What `default-server` gives the servers after it.
    pub params: Params,
    pub disabled: bool,
    /// `stick on src`
    pub sticky: bool,
    pub description: Option<String>,
    pub default_backend: Option<(Origin, String)>,
    pub binds: Vec<Bind>,
    pub servers: Vec<Server>,
}

#[derive(Clone, Default)]
pub(super) struct Timeouts {
    pub connect: Option<Duration>,
    pub client: Option<Duration>,
    pub server: Option<Duration>,
    pub tunnel: Option<Duration>,
    pub check: Option<Duration>,
}

/// One address of a `bind`.
#[derive(Clone)]
pub(super) struct Bind {
    pub origin: Origin,
    pub place: Where,
    pub ports: Vec<u16>,
    pub accept_proxy: bool,
}

/// One `server`.
#[derive(Clone)]
pub(super) struct Server {
    pub origin: Origin,
    pub name: String,
    pub address: IpAddr,
    pub port: Option<u16>,
    pub params: Params,
}

impl Settings {
    /// Takes one line of a proxy or of `defaults`.
    pub(super) fn take(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let tell = |plan: &mut Plan<'_>, what: &str| plan.tell(&line.origin(), what);
        let value = line.word(1);
        match line.word(0) {
            // Looked at before the others.
            "mode" => {}
            "bind" => self.bind(plan, line),
            "server" => self.server(plan, line),
            "default-server" => {
                let mut params = self.params.clone();
                params.take(plan, &line.origin(), line.rest(1));
                self.params = params;
            }
            "balance" => self.balance = Some((line.origin(), line.rest(1).to_vec())),
            "timeout" => self.timeout(plan, line),
            "retries" => match value.parse() {
                Ok(count) => self.retries = Some(count),
                Err(_) => tell(plan, "left out: that is no number"),
            },
            "maxconn" => match value.parse() {
                Ok(count @ 0..=100_000_000) => self.maxconn = count,
                _ => tell(plan, "left out: out of lbd's range"),
            },
            "option" => self.option(plan, line),
            "no" => self.no(plan, line),
            "source" => {
                let mut rest = line.rest(2).iter().map(String::as_str);
                let usesrc = rest.next() == Some("usesrc");
                let mut params = self.params.clone();
                params.source(plan, &line.origin(), value, usesrc, &mut rest);
                self.params = params;
            }
            "disabled" => self.disabled = true,
            "enabled" => self.disabled = false,
            "stick" if value == "on" && line.word(2) == "src" => {
                self.sticky = true;
                let what = "is scheduler sh here: a client stays with its server as long as the servers \
                     are the same";
                tell(plan, what);
            }
            "stick" | "stick-table" => tell(plan, "no equivalent: lbd keeps no stick tables"),
            "description" => {
                let words = line.rest(1).join(" ");
                let one_line = |c: char| if c.is_control() { ' ' } else { c };
                self.description = Some(words.chars().map(one_line).take(100).collect());
            }
            "default_backend" => self.default_backend = Some((line.origin(), value.to_owned())),
            "use_backend" if line.words.len() == 2 => {
                self.default_backend = Some((line.origin(), value.to_owned()));
            }
            "use_backend" | "use-server" => {
                tell(
                    plan,
                    "no equivalent: lbd does not look into connections to choose by what is in them",
                );
            }
            "http-check" => self.asked.http_check(plan, line),
            "tcp-check" => {
                if line.words.len() > 2 || value != "connect" {
                    tell(
                        plan,
                        "no equivalent: lbd's tcp check connects, and says nothing",
                    );
                }
            }
            "tcp-request" | "tcp-response" | "acl" => {
                tell(
                    plan,
                    "no equivalent: lbd filters nobody and looks into nothing; nftables can filter",
                );
            }
            "server-template" | "dispatch" | "use-fcgi-app" => {
                tell(
                    plan,
                    "left out: lbd's reals have fixed addresses, each its own",
                );
            }
            "log" | "log-format" | "log-tag" | "error-log-format" | "unique-id-format" => {
                tell(
                    plan,
                    "no equivalent: lbd logs what changes, not each connection",
                );
            }
            "stats" | "monitor" | "monitor-uri" | "monitor-net" => {
                tell(
                    plan,
                    "no equivalent: lbctl status, and the metrics address, tell",
                );
            }
            _ => tell(plan, "no equivalent"),
        }
    }

    fn timeout(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let timeouts = &mut self.timeouts;
        let slot = match line.word(1) {
            "connect" => &mut timeouts.connect,
            "client" => &mut timeouts.client,
            "server" => &mut timeouts.server,
            "tunnel" => &mut timeouts.tunnel,
            "check" => &mut timeouts.check,
            _ => {
                plan.tell(&line.origin(), "no equivalent");
                return;
            }
        };
        match time(line.word(2)) {
            Some(time) => *slot = Some(time),
            None => plan.tell(&line.origin(), "left out: that is no time"),
        }
    }

    fn option(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let what = match line.word(1) {
            "redispatch" => {
                self.redispatch = true;
                return;
            }
            "allbackups" => {
                self.all_backups = true;
                return;
            }
            _ if self.asked.option(plan, line) => return,
            "tcplog"
            | "httplog"
            | "dontlognull"
            | "dontlog-normal"
            | "log-health-checks"
            | "log-separate-errors"
            | "logasap" => "no equivalent: lbd logs what changes, not each connection",
            "tcp-smart-accept" | "tcp-smart-connect" | "splice-auto" | "splice-request"
            | "splice-response" => "not needed: lbd does so by itself",
            "tcpka" | "clitcpka" | "srvtcpka" => {
                "no equivalent: idle_timeout ends connections that are silent"
            }
            "transparent" => "left out: lbd's reals have fixed addresses, each its own",
            _ => "no equivalent",
        };
        plan.tell(&line.origin(), what);
    }

    fn no(&mut self, plan: &mut Plan<'_>, line: &Line) {
        match (line.word(1), line.word(2)) {
            ("option", "redispatch") => self.redispatch = false,
            ("option", "allbackups") => self.all_backups = false,
            ("option", "httpchk") => self.asked.no_http(),
            _ => plan.tell(&line.origin(), "nothing to take back: no equivalent"),
        }
    }

    fn bind(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let origin = line.origin();
        let (mut accept_proxy, mut both) = (false, false);
        let mut words = line.rest(2).iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word {
                "ssl" => {
                    let what = "left out: lbd does not end TLS; it passes it on as it comes (then \
                         without `ssl`, and the servers have the certificate)";
                    plan.tell(&origin, what);
                    return;
                }
                "accept-proxy" => accept_proxy = true,
                "v4v6" => both = true,
                // lbd serves VIPs that this host does not have, and each family is its own.
                "transparent" | "v6only" => {}
                "name" | "id" => {
                    words.next();
                }
                "accept-netscaler-cip" => {
                    plan.tell(&origin, "left out: lbd reads the PROXY protocol only");
                    return;
                }
                "defer-accept" | "tfo" | "strict-sni" | "no-tls-tickets" => {
                    plan.tell(&origin, format!("{word}: no equivalent"));
                }
                word => {
                    let value = words.next().unwrap_or_default();
                    plan.tell(&origin, format!("{word} {value}: no equivalent"));
                }
            }
        }
        for text in line.word(1).split(',') {
            let (place, ports) = match address::bound(text) {
                Ok(bound) => bound,
                Err(what) => {
                    plan.tell(&origin, format!("{text} {what}"));
                    continue;
                }
            };
            let bind = |place| Bind {
                origin: origin.clone(),
                place,
                ports: ports.clone(),
                accept_proxy,
            };
            self.binds.push(bind(place));
            if both && place == (Where::Any { v6: true }) {
                self.binds.push(bind(Where::Any { v6: false }));
            }
        }
    }

    fn server(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let origin = line.origin();
        let (host, port) = match address::server(line.word(2)) {
            Ok(place) => place,
            Err(what) => return plan.tell(&origin, what),
        };
        let Some(address) = plan.address(host, &origin) else {
            return;
        };
        let mut params = self.params.clone();
        params.take(plan, &origin, line.rest(3));
        if params.tls {
            let what = "left out: it wants TLS from the balancer, and lbd speaks none to reals";
            return plan.tell(&origin, what);
        }
        self.servers.push(Server {
            origin,
            name: line.word(1).to_owned(),
            address,
            port,
            params,
        });
    }
}
