//! Checks of a real server, and their timing.

use super::super::http;
use super::super::plan::{Check, Plan};
use super::super::value::{Key, Value, bounded};
use super::syntax::Node;
use crate::health::dns;
use std::net::IpAddr;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);
const MIN_INTERVAL: Duration = Duration::from_millis(10);
const MIN_TIMEOUT: Duration = Duration::from_millis(1);

/// keepalived's own defaults (keepalived.conf(5)).
const DELAY_LOOP: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const SECOND: Duration = Duration::from_secs(1);
const HTTP_RETRY_DELAY: Duration = Duration::from_secs(3);

/// What a virtual server, a real and a check may each say; the inner one wins.
#[derive(Clone, Default)]
pub(super) struct Timing {
    delay_loop: Option<Duration>,
    connect_timeout: Option<Duration>,
    retry: Option<u32>,
    delay_before_retry: Option<Duration>,
    pub virtual_host: Option<String>,
}

impl Timing {
    /// Takes a statement if it is one of timing.
    pub(super) fn take(&mut self, plan: &mut Plan<'_>, node: &Node) -> bool {
        let value = node.word(1);
        let slot = match node.name() {
            "delay_loop" => &mut self.delay_loop,
            "connect_timeout" => &mut self.connect_timeout,
            "delay_before_retry" => &mut self.delay_before_retry,
            // The second is the older word of http checks.
            "retry" | "nb_get_retry" => {
                match value.parse() {
                    Ok(count) => self.retry = Some(count),
                    Err(_) => plan.tell(&node.origin(), "left out: that is no number"),
                }
                return true;
            }
            "virtualhost" => {
                self.virtual_host = Some(value.to_owned());
                return true;
            }
            "warmup" => {
                let what = "lbd spreads the first probes over one interval by itself";
                plan.tell(&node.origin(), what);
                return true;
            }
            // A real of lbd starts as `checking`, without flows.
            "alpha" => return true,
            _ => return false,
        };
        match seconds(value) {
            Some(time) => *slot = Some(time),
            None => plan.tell(&node.origin(), "left out: that is no time"),
        }
        true
    }

    fn within(&self, outer: &Timing) -> Timing {
        Timing {
            delay_loop: self.delay_loop.or(outer.delay_loop),
            connect_timeout: self.connect_timeout.or(outer.connect_timeout),
            retry: self.retry.or(outer.retry),
            delay_before_retry: self.delay_before_retry.or(outer.delay_before_retry),
            virtual_host: self
                .virtual_host
                .clone()
                .or_else(|| outer.virtual_host.clone()),
        }
    }

    /// What it takes of an outer one.
    pub(super) fn inherit(&mut self, outer: &Timing) {
        *self = self.within(outer);
    }

    /// As keys: keepalived's defaults are not lbd's, so all are written out.
    fn keys(&self, kind: &str) -> Vec<Key> {
        let every = self.delay_loop.unwrap_or(DELAY_LOOP);
        let (retry, delay) = match kind {
            "HTTP_GET" | "SSL_GET" => (1, HTTP_RETRY_DELAY),
            "DNS_CHECK" => (3, every),
            "MISC_CHECK" => (0, SECOND),
            _ => (1, SECOND),
        };
        let interval = bounded(every, MIN_INTERVAL, HOUR);
        let again = self.delay_before_retry.unwrap_or(delay);
        let timeout = self.connect_timeout.unwrap_or(CONNECT_TIMEOUT);
        let failures = self.retry.unwrap_or(retry).saturating_add(1).min(1000);
        vec![
            Key::new("interval", interval).note("delay_loop"),
            Key::new("fast_interval", bounded(again, MIN_INTERVAL, HOUR))
                .note("delay_before_retry"),
            Key::new("timeout", bounded(timeout, MIN_TIMEOUT, HOUR)).note(match kind {
                "MISC_CHECK" => "misc_timeout, or delay_loop",
                _ => "connect_timeout",
            }),
            Key::new("rise", 1),
            Key::new("fall", u64::from(failures)).note("retry and the first"),
        ]
    }
}

/// `2`, `0.5`; as keepalived's TIMER.
fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Whether a statement is a check.
pub(super) fn is_check(name: &str) -> bool {
    matches!(
        name,
        "TCP_CHECK"
            | "HTTP_GET"
            | "SSL_GET"
            | "SMTP_CHECK"
            | "DNS_CHECK"
            | "MISC_CHECK"
            | "UDP_CHECK"
            | "PING_CHECK"
            | "BFD_CHECK"
            | "FILE_CHECK"
    )
}

/// What a check becomes: none, one, or as many as it has urls.
pub(super) fn checks(
    plan: &mut Plan<'_>,
    node: &Node,
    outer: &Timing,
    real: (IpAddr, u16),
) -> Vec<Check> {
    let mut read = Read::default();
    let mut own = Vec::new();
    for statement in node.children() {
        if !read.take(plan, statement, real) {
            own.push(statement);
        }
    }
    let kind = node.name();
    read.timing.inherit(outer);
    let asked = match kind {
        "TCP_CHECK" => Some(vec![vec![Key::new("type", "tcp")]]),
        "PING_CHECK" => {
            if read.port.take().is_some() {
                plan.tell(&node.origin(), "connect_port: an echo has no port");
            }
            Some(vec![vec![Key::new("type", "icmp")]])
        }
        "SMTP_CHECK" => {
            let what = "is a tcp check here: lbd connects, and says nothing of SMTP";
            plan.tell(&node.origin(), what);
            Some(vec![vec![Key::new("type", "tcp")]])
        }
        "HTTP_GET" | "SSL_GET" => Some(urls(plan, node, &mut own, &read.timing)),
        "DNS_CHECK" => Some(vec![dns(plan, &mut own)]),
        "UDP_CHECK" => Some(vec![udp(plan, node, &mut own)]),
        "MISC_CHECK" => {
            // A program has until the next one is due, by the virtual server's own pace.
            read.timing.connect_timeout = Some(outer.delay_loop.unwrap_or(DELAY_LOOP));
            misc(plan, node, &mut own, &mut read.timing).map(|keys| vec![keys])
        }
        _ => {
            let what = "left out: lbd has no check of this kind";
            plan.tell(&node.origin(), what);
            return Vec::new();
        }
    };
    for statement in own {
        plan.tell(
            &statement.origin(),
            format!("no equivalent in lbd's check ({kind})"),
        );
    }
    let port = read.port.map(|port| Key::new("port", u64::from(port)));
    let of = |mut keys: Vec<Key>| {
        keys.extend(port.clone());
        keys.extend(read.timing.keys(kind));
        let source = read.source;
        Check { keys, source }
    };
    asked.unwrap_or_default().into_iter().map(of).collect()
}

/// What all kinds have.
#[derive(Default)]
struct Read {
    timing: Timing,
    /// Where it is not the real's own.
    port: Option<u16>,
    source: Option<IpAddr>,
}

impl Read {
    fn take(&mut self, plan: &mut Plan<'_>, node: &Node, real: (IpAddr, u16)) -> bool {
        if self.timing.take(plan, node) {
            return true;
        }
        let value = node.word(1);
        match node.name() {
            "connect_port" => match value.parse::<u16>() {
                Ok(0) | Err(_) => plan.tell(&node.origin(), "left out: that is no port"),
                Ok(port) => self.port = Some(port).filter(|port| *port != real.1),
            },
            "connect_ip" => {
                if value.parse() != Ok(real.0) {
                    let what = "left out: lbd's checks ask the real itself, at its own address or \
                         along the VIP's path";
                    plan.tell(&node.origin(), what);
                }
            }
            "bindto" => match value.parse::<IpAddr>() {
                Ok(source)
                    if super::super::is_host(source) && source.is_ipv4() == real.0.is_ipv4() =>
                {
                    self.source = Some(source);
                }
                _ => plan.tell(
                    &node.origin(),
                    "left out: no address that could ask this real",
                ),
            },
            _ => return false,
        }
        true
    }
}

/// Statements of one name, taken out of those that are left to be told.
fn take<'n>(own: &mut Vec<&'n Node>, name: &str) -> Vec<&'n Node> {
    let taken = own.iter().copied().filter(|node| node.name() == name);
    let taken = taken.collect();
    own.retain(|node| node.name() != name);
    taken
}

fn urls(plan: &mut Plan<'_>, node: &Node, own: &mut Vec<&Node>, timing: &Timing) -> Vec<Vec<Key>> {
    let tls = node.name() == "SSL_GET";
    let sni = !take(own, "enable_sni").is_empty();
    let mut asked = Vec::new();
    for url in take(own, "url") {
        let mut keys = vec![Key::new("type", if tls { "https" } else { "http" })];
        let mut host = timing.virtual_host.clone();
        let mut expect = None;
        let mut text = None;
        let negated = url.children().iter().any(|n| n.name() == "regex_no_match");
        for statement in url.children() {
            let value = statement.word(1);
            match statement.name() {
                "path" if http::is_path(value) => keys.push(Key::new("path", value)),
                "path" => plan.tell(
                    &statement.origin(),
                    "left out: no path that lbd could ask for",
                ),
                "virtualhost" => host = Some(value.to_owned()),
                "status_code" => {
                    let codes: Option<Vec<Value>> = statement.words[1..]
                        .iter()
                        .map(|word| http::codes(word))
                        .collect();
                    match codes.filter(|codes| !codes.is_empty()) {
                        Some(codes) => expect = Some(codes),
                        None => plan.tell(&statement.origin(), "left out: no status codes"),
                    }
                }
                "digest" => {
                    let what = "no equivalent: lbd compares no digest of a page; `body` looks for a \
                         text in it";
                    plan.tell(&statement.origin(), what);
                }
                "regex" if !negated && http::is_plain_pattern(value) => {
                    text = Some(value.to_owned())
                }
                "regex" => {
                    let what =
                        "no equivalent: lbd looks for a plain text (`body`), not for a pattern";
                    plan.tell(&statement.origin(), what);
                }
                _ => plan.tell(&statement.origin(), "no equivalent in lbd's http check"),
            }
        }
        match host {
            Some(host) if http::is_host_name(&host) => keys.push(Key::new("host", host)),
            Some(_) => plan.tell(&url.origin(), "virtualhost left out: no host name"),
            None => {}
        }
        let expect = expect.unwrap_or_else(|| vec![Value::from("200-299")]);
        keys.push(Key::new("expect", Value::List(expect)));
        keys.extend(text.map(|text| Key::new("body", text)));
        if tls {
            keys.push(Key::new("verify", false).note("as in keepalived"));
        }
        asked.push(keys);
    }
    if sni && tls && timing.virtual_host.is_none() {
        let what = "enable_sni: lbd sends the name in `host`, and there is none";
        plan.tell(&node.origin(), what);
    }
    if asked.is_empty() {
        plan.tell(&node.origin(), "left out: it has no url");
    }
    asked
}

fn dns(plan: &mut Plan<'_>, own: &mut Vec<&Node>) -> Vec<Key> {
    let (mut name, mut record) = (".".to_owned(), "SOA".to_owned());
    for node in take(own, "name") {
        match dns::is_name(node.word(1)) {
            true => name = node.word(1).to_owned(),
            false => plan.tell(&node.origin(), "no name to ask for: . instead"),
        }
    }
    for node in take(own, "type") {
        let wanted = node.word(1).to_ascii_uppercase();
        match dns::Record::ALL.iter().any(|(word, _)| *word == wanted) {
            true => record = wanted,
            false => plan.tell(&node.origin(), "lbd does not ask for these: SOA instead"),
        }
    }
    vec![
        Key::new("type", "dns"),
        Key::new("query", name),
        Key::new("record", record),
    ]
}

fn udp(plan: &mut Plan<'_>, node: &Node, own: &mut Vec<&Node>) -> Vec<Key> {
    let mut keys = vec![Key::new("type", "udp")];
    let (payload, reply) = (take(own, "payload"), take(own, "require_reply"));
    if payload.is_empty() {
        plan.tell(
            &node.origin(),
            "keepalived sends random bytes, lbd an empty datagram",
        );
    }
    for (statements, key) in [(payload, "send"), (reply, "expect")] {
        for statement in statements {
            match hex_text(&statement.words[1..]) {
                Some(text) if !text.is_empty() => keys.push(Key::new(key, text)),
                Some(_) => {
                    let what = "lbd cannot ask for any answer: give `expect` a text it contains";
                    plan.tell(&statement.origin(), what);
                }
                None => {
                    let what =
                        format!("left out: these bytes are no text, which `{key}` has to be");
                    plan.tell(&statement.origin(), what);
                }
            }
        }
    }
    keys
}

/// Bytes as hexadecimal digits, a lone one standing for itself.
fn hex_text(words: &[String]) -> Option<String> {
    const MAX_DATAGRAM: usize = 1024;
    let mut bytes = Vec::new();
    for word in words {
        for pair in word.as_bytes().chunks(2) {
            let pair = std::str::from_utf8(pair).ok()?;
            bytes.push(u8::from_str_radix(pair, 16).ok()?);
        }
    }
    let text = String::from_utf8(bytes).ok()?;
    (text.len() <= MAX_DATAGRAM && !text.contains('\0')).then_some(text)
}

fn misc(
    plan: &mut Plan<'_>,
    node: &Node,
    own: &mut Vec<&Node>,
    timing: &mut Timing,
) -> Option<Vec<Key>> {
    let path = take(own, "misc_path").into_iter().next_back();
    let dynamic = take(own, "misc_dynamic");
    for statement in take(own, "misc_timeout") {
        timing.connect_timeout = seconds(statement.word(1)).or(timing.connect_timeout);
    }
    for statement in take(own, "user") {
        let what = "left out: lbd runs programs as its own user, without any capability";
        plan.tell(&statement.origin(), what);
    }
    let mut command = path
        .map(|path| arguments(&path.words[1..]))
        .unwrap_or_default();
    let fit = |word: &String| word.len() <= 4096 && !word.contains('\0');
    let program = command
        .first()
        .is_some_and(|program| program.starts_with('/'));
    if !program || command.len() > 60 || !command.iter().all(fit) {
        let what = "left out: lbd runs a program by its full path, with 60 arguments at most";
        plan.tell(&node.origin(), what);
        return None;
    }
    for statement in dynamic {
        let what = "an exit code is no weight here; from 2 up it passes, as in keepalived";
        plan.tell(&statement.origin(), what);
        if command.first().is_some_and(|word| word != "/bin/sh") {
            let wrapped = ["/bin/sh", "-c", "\"$@\"; test $? -ne 1", "sh"].map(str::to_owned);
            command.splice(0..0, wrapped);
        }
    }
    let what =
        "needs allow_exec = true, which stands in [lbd]; the program runs without any capability";
    plan.tell(&node.origin(), what);
    let command = command.into_iter().map(Value::Text).collect();
    Some(vec![
        Key::new("type", "exec"),
        Key::new("command", Value::List(command)),
    ])
}

/// A script with its arguments: what stands in single quotes is one.
fn arguments(words: &[String]) -> Vec<String> {
    let mut arguments = Vec::new();
    for word in words {
        for (n, part) in word.split('\'').enumerate() {
            match n % 2 {
                0 => arguments.extend(part.split_whitespace().map(str::to_owned)),
                _ => arguments.push(part.to_owned()),
            }
        }
    }
    arguments
}
