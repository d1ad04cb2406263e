//! Checks: `option httpchk` and its kin, `http-check`, `tcp-check`.

use super::super::http;
use super::super::plan::{Check, Plan};
use super::super::value::{Key, Value, bounded};
use super::sections::Line;
use super::server::Params;
use std::collections::BTreeMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// HAProxy's `inter`.
const INTER: Duration = Duration::from_secs(2);

/// How a proxy's servers are asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    /// Set by `option httpchk`.
    http: Option<Http>,
    /// `http-check expect`, which may stand before it.
    expect: Option<Vec<Value>>,
    body: Option<String>,
}

#[derive(Clone, Debug)]
struct Http {
    method: String,
    path: String,
    host: Option<String>,
    headers: BTreeMap<String, String>,
}

impl Default for Http {
    fn default() -> Http {
        Http {
            method: "OPTIONS".to_owned(),
            path: "/".to_owned(),
            host: None,
            headers: BTreeMap::new(),
        }
    }
}

impl Asked {
    /// `option NAME ...`; whether it is one of checks.
    pub(super) fn option(&mut self, plan: &mut Plan<'_>, line: &Line) -> bool {
        match line.word(1) {
            "httpchk" => self.httpchk(plan, line),
            "tcp-check" => self.http = None,
            "ssl-hello-chk" | "mysql-check" | "pgsql-check" | "redis-check" | "ldap-check"
            | "smtpchk" | "spop-check" => {
                self.http = None;
                let what = "is a tcp check here: lbd connects, and speaks nothing of that protocol";
                plan.tell(&line.origin(), what);
            }
            "external-check" => {
                self.http = None;
                let what =
                    "is a tcp check here; a check of type exec runs a program by its full path";
                plan.tell(&line.origin(), what);
            }
            _ => return false,
        }
        true
    }

    /// Forgets `option httpchk`.
    pub(super) fn no_http(&mut self) {
        self.http = None;
    }

    /// `[METHOD] URI [VERSION, and headers behind it]`
    fn httpchk(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let mut http = Http::default();
        let words = line.rest(2);
        let (method, uri, version) = match words {
            [] => (None, None, ""),
            [uri] => (None, Some(uri), ""),
            [method, uri] => (Some(method), Some(uri), ""),
            [method, uri, version, ..] => (Some(method), Some(uri), version.as_str()),
        };
        if let Some(method) = method {
            http.method(plan, line, method);
        }
        if let Some(uri) = uri {
            http.path(plan, line, uri);
        }
        for header in version
            .split(['\r', '\n'])
            .skip(1)
            .filter(|text| !text.is_empty())
        {
            match header.split_once(':') {
                Some((name, value)) => http.header(plan, line, name.trim(), value.trim()),
                None => plan.tell(&line.origin(), "a header without a value left out"),
            }
        }
        self.http = Some(http);
    }

    /// `http-check ...`
    pub(super) fn http_check(&mut self, plan: &mut Plan<'_>, line: &Line) {
        match line.word(1) {
            "send" => self.send(plan, line),
            "expect" => self.expect(plan, line),
            "disable-on-404" => {
                let what =
                    "no equivalent: a 404 is down here, and its flows stay (on_dead = \"keep\")";
                plan.tell(&line.origin(), what);
            }
            _ => plan.tell(&line.origin(), "no equivalent in lbd's http check"),
        }
    }

    fn send(&mut self, plan: &mut Plan<'_>, line: &Line) {
        // It may stand in a section before its `option httpchk`, and then counts for it.
        let mut http = self.http.take().unwrap_or_default();
        let mut words = line.rest(2).iter().map(String::as_str);
        while let Some(word) = words.next() {
            let value = words.next().unwrap_or_default();
            match word {
                "meth" => http.method(plan, line, value),
                "uri" => http.path(plan, line, value),
                "ver" => {}
                "hdr" => http.header(plan, line, value, words.next().unwrap_or_default()),
                other => plan.tell(&line.origin(), format!("{other} {value}: no equivalent")),
            }
        }
        self.http = Some(http);
    }

    fn expect(&mut self, plan: &mut Plan<'_>, line: &Line) {
        let words: Vec<&str> = line.rest(2).iter().map(String::as_str).collect();
        match words[..] {
            ["status", codes] => match codes.split(',').map(http::codes).collect() {
                Some(codes) => self.expect = Some(codes),
                None => plan.tell(&line.origin(), "left out: no status codes"),
            },
            ["string", text] if http::is_body(text) => self.body = Some(text.to_owned()),
            ["rstring", text] if http::is_plain_pattern(text) => self.body = Some(text.to_owned()),
            _ => {
                let what =
                    "no equivalent: lbd expects status codes (`expect`) and a plain text (`body`)";
                plan.tell(&line.origin(), what);
            }
        }
    }

    /// The check of a server.
    pub(super) fn check(&self, params: &Params, timeout: Option<Duration>) -> Check {
        let tls = params.check_tls || params.tls;
        let mut keys = Vec::new();
        match self.http.as_ref().filter(|_| !begins_with_header(params)) {
            None => keys.push(Key::new("type", "tcp")),
            Some(http) => {
                keys.push(Key::new("type", if tls { "https" } else { "http" }));
                // An answer to HEAD has no body to look into.
                let method = match self.body.is_some() && http.method == "HEAD" {
                    true => "GET",
                    false => &http.method,
                };
                keys.push(Key::new("method", method));
                keys.push(Key::new("path", http.path.as_str()));
                keys.extend(http.host.as_deref().map(|host| Key::new("host", host)));
                if !http.headers.is_empty() {
                    let pairs = http.headers.clone().into_iter().collect();
                    keys.push(Key::new("headers", Value::Table(pairs)));
                }
                let expect = self
                    .expect
                    .clone()
                    .unwrap_or_else(|| vec!["200-399".into()]);
                keys.push(Key::new("expect", Value::List(expect)));
                keys.extend(self.body.as_deref().map(|body| Key::new("body", body)));
                if tls {
                    keys.push(Key::new("verify", params.verify));
                    keys.extend(params.sni.as_deref().map(|sni| Key::new("sni", sni)));
                    let ca_file = params.ca_file.as_deref().filter(|_| params.verify);
                    keys.extend(ca_file.map(|file| Key::new("ca_file", file)));
                }
            }
        }
        keys.extend(
            params
                .check_port
                .map(|port| Key::new("port", u64::from(port))),
        );
        let inter = params.inter.unwrap_or(INTER);
        let interval = |time: Option<Duration>| bounded(time.unwrap_or(inter), MIN_INTERVAL, HOUR);
        keys.extend([
            Key::new("interval", interval(None)),
            Key::new("fast_interval", interval(params.fastinter)),
            Key::new("down_interval", interval(params.downinter)),
            Key::new(
                "timeout",
                bounded(
                    timeout.filter(|t| !t.is_zero()).unwrap_or(inter),
                    MIN_TIMEOUT,
                    HOUR,
                ),
            ),
            Key::new("rise", u64::from(params.rise)),
            Key::new("fall", u64::from(params.fall)),
        ]);
        Check { keys, source: None }
    }

    /// What of HAProxy's check of a server lbd's does not do.
    pub(super) fn unheeded(&self, params: &Params) -> Option<&'static str> {
        match (&self.http, begins_with_header(params)) {
            (Some(_), true) => Some(
                "its check is tcp here: HAProxy sends the PROXY header before the request, which \
                 lbd's checks do not; ask a port that wants none (port)",
            ),
            (None, _) if params.check_tls => Some("check-ssl: lbd connects, without a handshake"),
            _ => None,
        }
    }
}

/// HAProxy's checks of the port of the traffic begin as the traffic does.
fn begins_with_header(params: &Params) -> bool {
    params.send_proxy > 0 && params.check_port.is_none()
}

impl Http {
    fn method(&mut self, plan: &mut Plan<'_>, line: &Line, method: &str) {
        match http::is_method(method) {
            true => self.method = method.to_owned(),
            false => plan.tell(
                &line.origin(),
                format!("{method}: no method; OPTIONS instead"),
            ),
        }
    }

    fn path(&mut self, plan: &mut Plan<'_>, line: &Line, uri: &str) {
        match http::is_path(uri) {
            true => self.path = uri.to_owned(),
            false => plan.tell(
                &line.origin(),
                format!("{uri}: no path lbd could ask for; / instead"),
            ),
        }
    }

    fn header(&mut self, plan: &mut Plan<'_>, line: &Line, name: &str, value: &str) {
        const MAX_HEADERS: usize = 32;
        if name.eq_ignore_ascii_case("host") && http::is_host_name(value) {
            self.host = Some(value.to_owned());
        } else if http::is_header(name, value) && self.headers.len() < MAX_HEADERS {
            self.headers.insert(name.to_owned(), value.to_owned());
        } else {
            plan.tell(
                &line.origin(),
                format!("header {name} left out: lbd cannot send it so"),
            );
        }
    }
}
