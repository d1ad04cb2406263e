//! How a request travels over HTTP/1.1: the one place that knows methods, paths and bodies, used
//! by lbctl to build a call and by lbd to read one.

mod configure;
mod percent;
mod query;

use super::{
    ApiError, ErrorCode, How, PacketKind, RealRef, Request, ServiceRef, TraceAsk, VipVerb,
};
use crate::config::{Admin, Keys};
use crate::net::Protocol;
pub use configure::carries_configuration;
use query::{
    clear_query, doctor_query, dry_run_query, flow_query, how_query, read_clear_query,
    read_doctor_query, read_dry_run_query, read_events_query, read_flow_query, read_how_query,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// A request on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// `GET`, `POST`, `PATCH`, `DELETE`.
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub target: String,
    /// JSON; empty where there is nothing to say.
    pub body: Vec<u8>,
}

/// Every path, for the answer to a wrong one.
pub const PATHS: &str = "GET /v1/status, GET|POST /v1/services, \
    GET|PATCH|DELETE /v1/services/{service}, GET|POST /v1/services/{service}/reals, \
    GET|PATCH|DELETE /v1/services/{service}/reals/{real}, \
    POST /v1/services/{service}/reals/{real}/drain, POST /v1/services/{service}/check, \
    POST /v1/services/{service}/reals/{real}/check, GET /v1/nodes, \
    GET|PATCH /v1/nodes/{address}, GET /v1/vips, \
    POST /v1/vips[/{vip}]/take|release|auto, GET|DELETE /v1/flows, GET|POST /v1/maintenance, \
    GET|POST /v1/log, GET /v1/key, GET /v1/events[?follow], GET /v1/doctor, POST /v1/explain, \
    POST /v1/trace, GET /v1/config[?revision], GET /v1/config/history, GET|POST /v1/config/diff, \
    POST /v1/config/apply|confirm|undo, POST /v1/reload";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ExplainBody {
    protocol: Protocol,
    client: SocketAddr,
    vip: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    packet: Option<PacketKind>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ReloadBody {
    force: bool,
    dry_run: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MaintenanceBody {
    maintenance: bool,
    #[serde(default)]
    dry_run: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LogBody {
    /// `null`: as configured.
    filter: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    for_ms: Option<u64>,
    #[serde(default)]
    dry_run: bool,
}

impl Call {
    /// How `request` is sent.
    pub fn of(request: &Request) -> Call {
        let get = |target: String| Call {
            method: "GET",
            target,
            body: Vec::new(),
        };
        let post = |target: String| Call {
            method: "POST",
            target,
            body: Vec::new(),
        };
        match request {
            Request::Status => get("/v1/status".into()),
            Request::Services => get("/v1/services".into()),
            Request::Service { service } => get(service_path(service)),
            Request::Reals { service } => get(service_path(service) + "/reals"),
            Request::Real { service, real } => get(real_path(service, real)),
            Request::AddService { keys, how } => changing("POST", "/v1/services", *how, keys),
            Request::SetService { service, keys, how } => {
                changing("PATCH", &service_path(service), *how, keys)
            }
            Request::RemoveService { service, how } => removing(&service_path(service), *how),
            Request::AddReal { service, keys, how } => {
                let path = service_path(service) + "/reals";
                changing("POST", &path, *how, keys)
            }
            Request::SetReal {
                service,
                real,
                keys,
                how,
            } => changing("PATCH", &real_path(service, real), *how, keys),
            Request::RemoveReal { service, real, how } => removing(&real_path(service, real), *how),
            Request::SetNode { address, keys, how } => {
                let address = percent::encode(&address.to_string());
                changing("PATCH", &format!("/v1/nodes/{address}"), *how, keys)
            }
            Request::Vips => get("/v1/vips".into()),
            Request::Vip { vip, verb, dry_run } => {
                let vip = vip.map(|vip| percent::encode(&vip.to_string()) + "/");
                let vip = vip.unwrap_or_default();
                post(format!("/v1/vips/{vip}{verb}{}", dry_run_query(*dry_run)))
            }
            Request::Flows { filter } => get(format!("/v1/flows{}", flow_query(filter))),
            Request::ClearFlows {
                filter,
                all,
                dry_run,
            } => Call {
                method: "DELETE",
                target: format!("/v1/flows{}", clear_query(filter, *all, *dry_run)),
                body: Vec::new(),
            },
            Request::Nodes => get("/v1/nodes".into()),
            Request::Node { address } => get(format!(
                "/v1/nodes/{}",
                percent::encode(&address.to_string())
            )),
            Request::CheckNow {
                service,
                real,
                dry_run,
            } => {
                let of = match real {
                    Some(real) => real_path(service, real),
                    None => service_path(service),
                };
                post(format!("{of}/check{}", dry_run_query(*dry_run)))
            }
            Request::Maintenance => get("/v1/maintenance".into()),
            &Request::SetMaintenance { on, dry_run } => {
                let body = MaintenanceBody {
                    maintenance: on,
                    dry_run,
                };
                with_body("POST", "/v1/maintenance".into(), &body)
            }
            Request::Log => get("/v1/log".into()),
            Request::SetLog {
                filter,
                for_ms,
                dry_run,
            } => {
                let body = LogBody {
                    filter: filter.clone(),
                    for_ms: *for_ms,
                    dry_run: *dry_run,
                };
                with_body("POST", "/v1/log".into(), &body)
            }
            Request::Key => get("/v1/key".into()),
            Request::Events { follow } => get(match follow {
                true => "/v1/events?follow".into(),
                false => "/v1/events".into(),
            }),
            Request::Doctor { client } => get(format!("/v1/doctor{}", doctor_query(*client))),
            &Request::Explain {
                protocol,
                client,
                vip,
                packet,
            } => {
                let body = ExplainBody {
                    protocol,
                    client,
                    vip,
                    packet,
                };
                with_body("POST", "/v1/explain".into(), &body)
            }
            Request::Trace { ask } => with_body("POST", "/v1/trace".into(), ask),
            Request::Config(request) => configure::call(request),
            &Request::Reload { force, dry_run } => {
                with_body("POST", "/v1/reload".into(), &ReloadBody { force, dry_run })
            }
        }
    }

    /// What a method, a target (path and query) and a body ask for.
    ///
    /// # Errors
    /// `NoSuchPath`, `MethodNotAllowed`, or `BadRequest` with what is wrong.
    pub fn read(method: &str, target: &str, body: &[u8]) -> Result<Request, ApiError> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let segments: Vec<String> = path
            .strip_prefix("/v1/")
            .ok_or_else(|| no_such_path(path))?
            .split('/')
            .map(percent::decode)
            .collect::<Option<_>>()
            .ok_or_else(|| bad_request(format!("the path {path} is not valid UTF-8")))?;
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let refuse = |allowed: &str| {
            ApiError::new(
                ErrorCode::MethodNotAllowed,
                format!("{path} knows {allowed}, not {method}"),
            )
        };
        match (segments.as_slice(), method) {
            (["status"], "GET") => Ok(Request::Status),
            (["services"], "GET") => Ok(Request::Services),
            (["services", s], "GET") => Ok(Request::Service {
                service: (*s).into(),
            }),
            (["services", s, "reals"], "GET") => Ok(Request::Reals {
                service: (*s).into(),
            }),
            (["services", s, "reals", r], "GET") => Ok(Request::Real {
                service: (*s).into(),
                real: (*r).into(),
            }),
            (["services"], "POST") => Ok(Request::AddService {
                keys: keys(body)?,
                how: read_how_query(query)?,
            }),
            (["services", s], "PATCH") => Ok(Request::SetService {
                service: (*s).into(),
                keys: keys(body)?,
                how: read_how_query(query)?,
            }),
            (["services", s], "DELETE") => Ok(Request::RemoveService {
                service: (*s).into(),
                how: read_how_query(query)?,
            }),
            (["services", s, "reals"], "POST") => Ok(Request::AddReal {
                service: (*s).into(),
                keys: keys(body)?,
                how: read_how_query(query)?,
            }),
            (["services", s, "reals", r], "PATCH") => Ok(Request::SetReal {
                service: (*s).into(),
                real: (*r).into(),
                keys: keys(body)?,
                how: read_how_query(query)?,
            }),
            (["services", s, "reals", r], "DELETE") => Ok(Request::RemoveReal {
                service: (*s).into(),
                real: (*r).into(),
                how: read_how_query(query)?,
            }),
            (["services", s, "reals", r, "drain"], "POST") => Ok(Request::SetReal {
                service: (*s).into(),
                real: (*r).into(),
                keys: Keys::from_iter([("admin".to_owned(), Admin::Drain.word().into())]),
                how: read_how_query(query)?,
            }),
            (["nodes", address], "PATCH") => Ok(Request::SetNode {
                address: an_address(address)?,
                keys: keys(body)?,
                how: read_how_query(query)?,
            }),
            (["vips"], "GET") => Ok(Request::Vips),
            (["vips", verb @ ("take" | "release" | "auto")], "POST") => Ok(Request::Vip {
                vip: None,
                verb: verb.parse::<VipVerb>().map_err(|()| no_such_path(path))?,
                dry_run: read_dry_run_query(query)?,
            }),
            (["vips", vip, verb], "POST") => Ok(Request::Vip {
                vip: Some(
                    vip.parse::<IpAddr>()
                        .map_err(|_| bad_request(format!("{vip:?} is not an IP address")))?,
                ),
                verb: verb.parse::<VipVerb>().map_err(|()| no_such_path(path))?,
                dry_run: read_dry_run_query(query)?,
            }),
            (["services", s, "check"], "POST") => Ok(Request::CheckNow {
                service: (*s).into(),
                real: None,
                dry_run: read_dry_run_query(query)?,
            }),
            (["services", s, "reals", r, "check"], "POST") => Ok(Request::CheckNow {
                service: (*s).into(),
                real: Some((*r).into()),
                dry_run: read_dry_run_query(query)?,
            }),
            (["nodes"], "GET") => Ok(Request::Nodes),
            (["nodes", address], "GET") => Ok(Request::Node {
                address: address
                    .parse::<IpAddr>()
                    .map_err(|_| bad_request(format!("{address:?} is not an IP address")))?,
            }),
            (["maintenance"], "GET") => Ok(Request::Maintenance),
            (["maintenance"], "POST") => {
                let MaintenanceBody {
                    maintenance,
                    dry_run,
                } = json(body)?;
                Ok(Request::SetMaintenance {
                    on: maintenance,
                    dry_run,
                })
            }
            (["log"], "GET") => Ok(Request::Log),
            (["log"], "POST") => {
                let LogBody {
                    filter,
                    for_ms,
                    dry_run,
                } = json(body)?;
                Ok(Request::SetLog {
                    filter,
                    for_ms,
                    dry_run,
                })
            }
            (["key"], "GET") => Ok(Request::Key),
            (["flows"], "DELETE") => {
                let (filter, all, dry_run) = read_clear_query(query)?;
                Ok(Request::ClearFlows {
                    filter,
                    all,
                    dry_run,
                })
            }
            (["flows"], "GET") => Ok(Request::Flows {
                filter: read_flow_query(query)?,
            }),
            (["events"], "GET") => Ok(Request::Events {
                follow: read_events_query(query)?,
            }),
            (["doctor"], "GET") => Ok(Request::Doctor {
                client: read_doctor_query(query)?,
            }),
            (["explain"], "POST") => {
                let ExplainBody {
                    protocol,
                    client,
                    vip,
                    packet,
                } = json(body)?;
                let fits = match packet {
                    None => true,
                    Some(PacketKind::Datagram) => protocol == Protocol::Udp,
                    Some(PacketKind::Syn | PacketKind::Ack) => protocol == Protocol::Tcp,
                };
                if !fits {
                    return Err(bad_request(format!("{protocol} has no such packet")));
                }
                Ok(Request::Explain {
                    protocol,
                    client,
                    vip,
                    packet,
                })
            }
            (["trace"], "POST") => {
                let ask: TraceAsk = if body.is_empty() {
                    TraceAsk::default()
                } else {
                    json(body)?
                };
                ask.check().map_err(bad_request)?;
                Ok(Request::Trace { ask })
            }
            (["config", rest @ ..], _) => configure::read(rest, method, query, body)
                .unwrap_or_else(|| Err(no_such_path(path)))
                .map(Request::Config),
            (["reload"], "POST") => {
                let ReloadBody { force, dry_run } = if body.is_empty() {
                    ReloadBody::default()
                } else {
                    json(body)?
                };
                Ok(Request::Reload { force, dry_run })
            }
            (["flows"], _) => Err(refuse("GET and DELETE")),
            (["services"] | ["services", _, "reals"] | ["maintenance" | "log"], _) => {
                Err(refuse("GET and POST"))
            }
            (["services", _, "check"] | ["services", _, "reals", _, "check"], _) => {
                Err(refuse("POST"))
            }
            (["nodes", _], _) => Err(refuse("GET and PATCH")),
            (["status" | "vips" | "events" | "doctor" | "nodes" | "key"], _) => Err(refuse("GET")),
            (["services", _] | ["services", _, "reals", _], _) => {
                Err(refuse("GET, PATCH and DELETE"))
            }
            (["services", _, "reals", _, "drain"], _)
            | (
                ["vips", "take" | "release" | "auto"] | ["vips", _, "take" | "release" | "auto"],
                _,
            )
            | (["explain" | "trace" | "reload"], _) => Err(refuse("POST")),
            _ => Err(no_such_path(path)),
        }
    }
}

fn service_path(service: &ServiceRef) -> String {
    format!("/v1/services/{}", percent::encode(&service.to_string()))
}

fn real_path(service: &ServiceRef, real: &RealRef) -> String {
    format!(
        "{}/reals/{}",
        service_path(service),
        percent::encode(&real.0)
    )
}

fn changing(method: &'static str, path: &str, how: How, keys: &Keys) -> Call {
    with_body(method, format!("{path}{}", how_query(how)), keys)
}

fn removing(path: &str, how: How) -> Call {
    Call {
        method: "DELETE",
        target: format!("{path}{}", how_query(how)),
        body: Vec::new(),
    }
}

fn with_body(method: &'static str, target: String, body: &impl Serialize) -> Call {
    // The bodies here are maps of numbers and words: their serialization has no way to fail.
    let body = serde_json::to_vec(body).unwrap_or_default();
    Call {
        method,
        target,
        body,
    }
}

fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body)
        .map_err(|e| bad_request(format!("the body is not as expected: {e}")))
}

fn keys(body: &[u8]) -> Result<Keys, ApiError> {
    let keys: Keys = json(body)?;
    if keys.is_empty() {
        let error = bad_request("nothing to change: the body names no key".into());
        return Err(error.hint("name keys as in lbd.toml: {\"weight\": 5}"));
    }
    Ok(keys)
}

fn an_address(text: &str) -> Result<IpAddr, ApiError> {
    text.parse()
        .map_err(|_| bad_request(format!("{text:?} is not an IP address")))
}

fn bad_request(message: String) -> ApiError {
    ApiError::new(ErrorCode::BadRequest, message)
}

fn no_such_path(path: &str) -> ApiError {
    ApiError::new(ErrorCode::NoSuchPath, format!("there is no {path}"))
        .hint(format!("there is: {PATHS}"))
}

#[cfg(test)]
mod tests;
