//! What stands behind the `?` of a target.

use super::{bad_request, percent};
use crate::api::{ApiError, FLOW_STATES, FlowFilter, How};
use crate::net::Protocol;
use std::net::IpAddr;

pub(super) fn flow_query(filter: &FlowFilter) -> String {
    let FlowFilter {
        service,
        real,
        client,
        protocol,
        state,
        limit,
    } = filter;
    let pairs: Vec<String> = [
        ("service", service.as_ref().map(ToString::to_string)),
        ("real", real.as_ref().map(ToString::to_string)),
        ("client", client.as_ref().map(ToString::to_string)),
        ("protocol", protocol.as_ref().map(ToString::to_string)),
        ("state", state.clone()),
        ("limit", limit.as_ref().map(ToString::to_string)),
    ]
    .into_iter()
    .filter_map(|(key, value)| Some(format!("{key}={}", percent::encode(&value?))))
    .collect();
    if pairs.is_empty() {
        String::new()
    } else {
        format!("?{}", pairs.join("&"))
    }
}

pub(super) fn read_flow_query(query: &str) -> Result<FlowFilter, ApiError> {
    read_flow_pairs(query.split('&'))
}

fn read_flow_pairs<'a>(pairs: impl Iterator<Item = &'a str>) -> Result<FlowFilter, ApiError> {
    let mut filter = FlowFilter::default();
    for pair in pairs.filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = percent::decode(value)
            .ok_or_else(|| bad_request(format!("the value of {key} is not valid UTF-8")))?;
        match key {
            "service" => filter.service = Some(value.as_str().into()),
            "real" => filter.real = Some(value.as_str().into()),
            "client" => filter.client = Some(value.parse().map_err(bad_request)?),
            "protocol" => {
                filter.protocol = Some(match value.as_str() {
                    "tcp" => Protocol::Tcp,
                    "udp" => Protocol::Udp,
                    _ => return Err(bad_request(format!("protocol {value:?}: tcp or udp"))),
                });
            }
            "state" if FLOW_STATES.contains(&value.as_str()) => filter.state = Some(value),
            "state" => {
                return Err(bad_request(format!("no flow is in a state {value:?}"))
                    .hint(format!("states: {}", FLOW_STATES.join(", "))));
            }
            "limit" => {
                let limit = value.parse();
                filter.limit =
                    Some(limit.map_err(|_| bad_request(format!("limit {value:?} is no number")))?);
            }
            _ => {
                return Err(bad_request(format!("flows has no filter {key:?}"))
                    .hint("filters: service, real, client, protocol, state, limit"));
            }
        }
    }
    Ok(filter)
}

pub(super) fn how_query(how: How) -> String {
    let words = how.words();
    let on: Vec<&str> = words
        .iter()
        .filter(|(_, on)| *on)
        .map(|(w, _)| *w)
        .collect();
    match on.is_empty() {
        true => String::new(),
        false => format!("?{}", on.join("&")),
    }
}

pub(super) fn read_how_query(query: &str) -> Result<How, ApiError> {
    let mut how = How::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (word, value) = pair.split_once('=').unwrap_or((pair, "true"));
        let on = value
            .parse()
            .map_err(|_| bad_request(format!("{word} is true or false, not {value:?}")))?;
        match word {
            "runtime" => how.runtime = on,
            "now" => how.now = on,
            "force" => how.force = on,
            "dry_run" => how.dry_run = on,
            _ => {
                let known = How::default().words().map(|(word, _)| word).join(", ");
                return Err(bad_request(format!("a change knows no {word:?}"))
                    .hint(format!("it knows {known}")));
            }
        }
    }
    Ok(how)
}

pub(super) fn doctor_query(client: Option<IpAddr>) -> String {
    client.map_or(String::new(), |client| {
        format!("?client={}", percent::encode(&client.to_string()))
    })
}

pub(super) fn read_doctor_query(query: &str) -> Result<Option<IpAddr>, ApiError> {
    let mut client = None;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let address = percent::decode(value).and_then(|text| text.parse().ok());
        match (key, address) {
            ("client", Some(address)) => client = Some(address),
            ("client", None) => return Err(bad_request(format!("{value:?} is no IP address"))),
            _ => {
                return Err(bad_request(format!("doctor knows no {key:?}"))
                    .hint("it knows client, an address"));
            }
        }
    }
    Ok(client)
}

pub(super) fn read_events_query(query: &str) -> Result<bool, ApiError> {
    match query {
        "" => Ok(false),
        "follow" | "follow=true" => Ok(true),
        _ => Err(bad_request(format!("events knows no {query:?}"))
            .hint("it knows follow: what happens from now on, too")),
    }
}

/// As [`flow_query`], with what clearing needs beside.
pub(super) fn clear_query(filter: &FlowFilter, all: bool, dry_run: bool) -> String {
    let mut query = flow_query(filter);
    for (word, _) in [("all", all), ("dry_run", dry_run)]
        .iter()
        .filter(|(_, said)| *said)
    {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(word);
    }
    query
}

/// The filter, whether all are meant, and whether it is a dry run.
pub(super) fn read_clear_query(query: &str) -> Result<(FlowFilter, bool, bool), ApiError> {
    let (mut all, mut dry_run) = (false, false);
    let mut pairs = Vec::new();
    for pair in query.split('&') {
        match pair {
            "all" | "all=true" => all = true,
            "dry_run" | "dry_run=true" => dry_run = true,
            _ => pairs.push(pair),
        }
    }
    let filter = read_flow_pairs(pairs.into_iter())?;
    if filter.limit.is_some() {
        let words = "flows that are cleared know no limit; nothing was changed";
        return Err(bad_request(words.into()));
    }
    match (all, filter.is_everything()) {
        (false, true) => Err(bad_request(
            "this would clear every flow there is; nothing was changed".into(),
        )
        .hint("name which: service, real, client; or say all")),
        (true, false) => Err(bad_request(
            "all flows, or those of a filter? nothing was changed".into(),
        )),
        _ => Ok((filter, all, dry_run)),
    }
}

/// Behind a change that knows nothing but this.
pub(super) fn dry_run_query(dry_run: bool) -> &'static str {
    match dry_run {
        true => "?dry_run",
        false => "",
    }
}

pub(super) fn read_dry_run_query(query: &str) -> Result<bool, ApiError> {
    match query {
        "" => Ok(false),
        "dry_run" | "dry_run=true" => Ok(true),
        _ => Err(
            bad_request(format!("there is no {query:?} here; nothing was changed"))
                .hint("there is dry_run: say what would change, and change nothing"),
        ),
    }
}
