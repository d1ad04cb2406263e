//! What a Kubernetes node says of the pods behind it: the answer of a Service's
//! `healthCheckNodePort` and of kube-proxy's own `/healthz`, as bytes, into a judgement.
//!
//! Sources: kubernetes `pkg/proxy/healthcheck/service_health.go` and `proxier_health.go`, KEP 1669
//! and KEP 3836, cilium `pkg/service/healthserver`. A node without ready pods is not dead: its
//! terminating pods still serve the connections they have, so it drains.

use serde::Deserialize;
use std::borrow::Cow;
use std::fmt;

/// The header that carries the count of endpoints (kubernetes#118999).
pub const WEIGHT_HEADER: &str = "X-Load-Balancing-Endpoint-Weight";

/// The largest weight; larger counts mean it.
const MAX_WEIGHT: u16 = 256;

/// Longer numbers are nonsense.
const MAX_WEIGHT_BYTES: usize = 64;

/// Characters of an answer that are repeated in a reason. Names are up to 63 and 253 long.
const MAX_QUOTED: usize = 64;

/// A Kubernetes Service by its namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceName {
    /// `metadata.namespace`
    pub namespace: String,
    /// `metadata.name`
    pub name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// An answer, as it came.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    /// Its status code.
    pub status: u16,
    /// The value of [`WEIGHT_HEADER`], if it is there.
    pub weight: Option<&'a [u8]>,
    /// Its body, within what a probe reads.
    pub body: &'a [u8],
}

/// What an answer means for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has pods that serve.
    Serves {
        /// In words: `"http 200, 2 endpoints"`.
        found: String,
        /// How many endpoints it says it has, 0-256; `None`: it does not say.
        weight: Option<u16>,
    },
    /// It answers, and wants no new flows: no ready pod, leaving the cluster, or another Service
    /// has the port now. Why, in words.
    Drains(String),
    /// This is no answer of a node that works. Why, in words.
    Fails(String),
}

/// Judges one answer. `expected` is the Service that the port should speak for; without it the
/// answer may be that of kube-proxy's own health port. Total: any bytes give a verdict.
pub fn judge(answer: Answer<'_>, expected: Option<&ServiceName>) -> Verdict {
    let status = answer.status;
    if status != 200 && status != 503 {
        return Verdict::Fails(format!("http {status}"));
    }
    if answer.body.trim_ascii().is_empty() {
        // While a Service is being removed, Go answers 200 with nothing.
        return Verdict::Fails(format!(
            "http {status} without a body: the Service is perhaps being removed"
        ));
    }
    match serde_json::from_slice(answer.body) {
        Ok(Body {
            service: Some(service),
            local_endpoints,
            service_proxy_healthy,
            ..
        }) => {
            if let Some(expected) = expected
                && (service.namespace != expected.namespace || service.name != expected.name)
            {
                let (namespace, name) = (short(&service.namespace), short(&service.name));
                return Verdict::Drains(format!(
                    "its port answers for {namespace}/{name}, not for {expected}"
                ));
            }
            of_service(answer, local_endpoints, service_proxy_healthy)
        }
        Ok(Body {
            last_updated: Some(_),
            node_eligible,
            ..
        }) => match expected {
            Some(expected) => Verdict::Fails(format!(
                "http {status} of kube-proxy itself, not of {expected}: is the port its \
                 healthCheckNodePort?"
            )),
            None => of_node(status, node_eligible),
        },
        Ok(_) => Verdict::Fails(format!("http {status}, but its body names no Service")),
        Err(_) => Verdict::Fails(format!("http {status}, but its body is not a node's")),
    }
}

/// The answer of a Service's health port.
fn of_service(answer: Answer<'_>, endpoints: Option<u64>, healthy: Option<bool>) -> Verdict {
    let status = answer.status;
    if healthy == Some(false) {
        return Verdict::Drains(format!("http {status}: kube-proxy there is not healthy"));
    }
    match endpoints {
        Some(0) => return Verdict::Drains(format!("http {status}: no local endpoints")),
        _ if status != 200 => return Verdict::Drains(format!("http {status}")),
        _ => {}
    }
    let (weight, ignored) = match answer.weight.map(weight) {
        Some(Ok(weight)) => (Some(weight), String::new()),
        Some(Err(shown)) => (None, format!(", its weight header {shown} ignored")),
        None => (None, String::new()),
    };
    let Some(weight) = weight.or(endpoints.map(clamp)) else {
        return Verdict::Fails(format!(
            "http {status}, but it counts no endpoints{ignored}"
        ));
    };
    let plural = if weight == 1 { "" } else { "s" };
    Verdict::Serves {
        found: format!("http {status}, {weight} endpoint{plural}{ignored}"),
        weight: Some(weight),
    }
}

/// The answer of kube-proxy's own health port.
fn of_node(status: u16, eligible: Option<bool>) -> Verdict {
    match (status, eligible) {
        (_, Some(false)) => Verdict::Drains(format!("http {status}: the node is being removed")),
        (200, _) => Verdict::Serves {
            found: format!("http {status}"),
            weight: None,
        },
        _ => Verdict::Drains(format!("http {status}: kube-proxy there is not healthy")),
    }
}

/// A non-negative decimal, rounded and clamped to 0-256; what is above 0 stays above 0. Else what
/// it is, for people.
fn weight(value: &[u8]) -> Result<u16, String> {
    let shown = || format!("\"{}\"", short(&String::from_utf8_lossy(value)));
    let text = value.trim_ascii();
    let (whole, part) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (&text[..dot], &text[dot + 1..]),
        None => (text, &[][..]),
    };
    let digits = |digits: &[u8]| digits.iter().all(u8::is_ascii_digit);
    if whole.is_empty() || text.len() > MAX_WEIGHT_BYTES || !digits(whole) || !digits(part) {
        return Err(shown());
    }
    let number = whole.iter().fold(0_u64, |number, digit| {
        (number * 10 + u64::from(digit - b'0')).min(u64::from(MAX_WEIGHT))
    });
    let up = part.first().is_some_and(|tenths| *tenths >= b'5')
        || (number == 0 && part.iter().any(|digit| *digit != b'0'));
    Ok(clamp(number + u64::from(up)))
}

fn clamp(count: u64) -> u16 {
    u16::try_from(count).map_or(MAX_WEIGHT, |count| count.min(MAX_WEIGHT))
}

/// Text of the answer for a reason: escaped, so that no terminal obeys it, and short.
fn short(text: &str) -> String {
    let mut chars = text.chars();
    let mut short: String = chars
        .by_ref()
        .take(MAX_QUOTED)
        .flat_map(char::escape_debug)
        .collect();
    if chars.next().is_some() {
        short.push('…');
    }
    short
}

/// Both kinds of body; what else stands in them is of no interest.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    service: Option<Named<'a>>,
    #[serde(rename = "localEndpoints")]
    local_endpoints: Option<u64>,
    #[serde(rename = "serviceProxyHealthy")]
    service_proxy_healthy: Option<bool>,
    #[serde(rename = "lastUpdated", borrow)]
    last_updated: Option<Cow<'a, str>>,
    #[serde(rename = "nodeEligible")]
    node_eligible: Option<bool>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[cfg(test)]
mod tests;
