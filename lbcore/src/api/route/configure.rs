//! How questions about whole configurations travel. A configuration is the body as it is, so that
//! `curl --data-binary @lbd.toml` works; the rest stands in the query.

use super::{Call, bad_request, percent};
use crate::api::{ApiError, ConfigRequest, Draft, ErrorCode};
use crate::config::MAX_BYTES;
use std::str::FromStr;
use std::time::Duration;

/// A name longer than this would only make messages unreadable.
const MAX_NAME: usize = 255;

/// Longer than this nobody watches a change.
const MAX_CONFIRM: Duration = Duration::from_secs(24 * 3600);

/// What stands behind the `?`.
#[derive(Default)]
struct Query {
    name: Option<String>,
    revision: Option<u64>,
    confirm: Option<Duration>,
    force: bool,
    dry_run: bool,
}

/// Whether the body of a call is a whole configuration: larger than every other body, and only
/// worth reading from somebody who may change things.
pub fn carries_configuration(method: &str, path: &str) -> bool {
    method == "POST" && matches!(path, "/v1/config/apply" | "/v1/config/diff")
}

pub(super) fn call(request: &ConfigRequest) -> Call {
    let call = |method, path: &str, pairs: &[(&str, Option<String>)], text: &str| {
        let pairs = pairs.iter().filter_map(|(key, value)| {
            let value = value.as_ref()?;
            Some(format!("{key}={}", percent::encode(value)))
        });
        let pairs: Vec<String> = pairs.collect();
        let query = if pairs.is_empty() { "" } else { "?" };
        Call {
            method,
            target: format!("/v1/config{path}{query}{}", pairs.join("&")),
            body: text.as_bytes().to_vec(),
        }
    };
    let number = |revision: &Option<u64>| ("revision", revision.map(|n| n.to_string()));
    let flag = |name, on: &bool| (name, on.then(|| "true".to_owned()));
    let name = |draft: &Draft| ("name", Some(draft.name.clone()));
    match request {
        ConfigRequest::Show { revision } => call("GET", "", &[number(revision)], ""),
        ConfigRequest::History => call("GET", "/history", &[], ""),
        ConfigRequest::Diff { draft: None } => call("GET", "/diff", &[], ""),
        ConfigRequest::Diff { draft: Some(draft) } => {
            call("POST", "/diff", &[name(draft)], &draft.text)
        }
        ConfigRequest::Apply {
            draft,
            confirm,
            force,
            dry_run,
        } => {
            let within = confirm.map(|within| humantime::format_duration(within).to_string());
            let within = within.map(|text| text.replace(' ', ""));
            let pairs = [
                name(draft),
                ("confirm", within),
                flag("force", force),
                flag("dry_run", dry_run),
            ];
            call("POST", "/apply", &pairs, &draft.text)
        }
        ConfigRequest::Confirm { dry_run } => {
            call("POST", "/confirm", &[flag("dry_run", dry_run)], "")
        }
        ConfigRequest::Undo {
            revision,
            force,
            dry_run,
        } => {
            let pairs = [
                number(revision),
                flag("force", force),
                flag("dry_run", dry_run),
            ];
            call("POST", "/undo", &pairs, "")
        }
    }
}

/// What `method` and `path` (behind `/v1/config`) ask for; `None`: there is no such path.
pub(super) fn read(
    path: &[&str],
    method: &str,
    query: &str,
    body: &[u8],
) -> Option<Result<ConfigRequest, ApiError>> {
    Some(match (path, method) {
        ([], "GET") => Query::read(query, &["revision"]).map(|q| ConfigRequest::Show {
            revision: q.revision,
        }),
        (["history"], "GET") => Query::read(query, &[]).map(|_| ConfigRequest::History),
        (["diff"], "GET") => Query::read(query, &[]).map(|_| ConfigRequest::Diff { draft: None }),
        (["diff"], "POST") => Query::read(query, &["name"]).and_then(|q| {
            let draft = Some(draft(q.name, body)?);
            Ok(ConfigRequest::Diff { draft })
        }),
        (["apply"], "POST") => apply(query, body),
        (["confirm"], "POST") => {
            Query::read(query, &["dry_run"]).map(|q| ConfigRequest::Confirm { dry_run: q.dry_run })
        }
        (["undo"], "POST") => {
            Query::read(query, &["revision", "force", "dry_run"]).map(|q| ConfigRequest::Undo {
                revision: q.revision,
                force: q.force,
                dry_run: q.dry_run,
            })
        }
        ([] | ["history"], _) => Err(refuse(path, "GET", method)),
        (["diff"], _) => Err(refuse(path, "GET and POST", method)),
        (["apply" | "confirm" | "undo"], _) => Err(refuse(path, "POST", method)),
        _ => return None,
    })
}

fn refuse(path: &[&str], allowed: &str, method: &str) -> ApiError {
    let path = ["/v1/config"]
        .iter()
        .chain(path)
        .copied()
        .collect::<Vec<_>>()
        .join("/");
    let message = format!("{path} knows {allowed}, not {method}");
    ApiError::new(ErrorCode::MethodNotAllowed, message)
}

fn apply(query: &str, body: &[u8]) -> Result<ConfigRequest, ApiError> {
    let query = Query::read(query, &["name", "confirm", "force", "dry_run"])?;
    if let Some(within) = query.confirm
        && !(Duration::from_secs(1)..=MAX_CONFIRM).contains(&within)
    {
        let error = bad_request("confirm is between 1s and 24h; nothing was changed".to_owned());
        return Err(error);
    }
    Ok(ConfigRequest::Apply {
        draft: draft(query.name, body)?,
        confirm: query.confirm,
        force: query.force,
        dry_run: query.dry_run,
    })
}

fn draft(name: Option<String>, body: &[u8]) -> Result<Draft, ApiError> {
    let name = name.unwrap_or_else(|| "the configuration".to_owned());
    if name.len() > MAX_NAME {
        return Err(bad_request(format!("a name has at most {MAX_NAME} bytes")));
    }
    if body.len() > MAX_BYTES {
        return Err(ApiError::new(
            ErrorCode::TooLarge,
            format!("a configuration has at most {MAX_BYTES} bytes; nothing was changed"),
        ));
    }
    // Bytes that are no text are shown with their place by the check.
    let text = String::from_utf8_lossy(body).into_owned();
    Ok(Draft { name, text })
}

impl Query {
    fn read(query: &str, known: &[&str]) -> Result<Query, ApiError> {
        let mut read = Query::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, "true"));
            let value = percent::decode(value)
                .ok_or_else(|| bad_request(format!("the value of {key} is not valid UTF-8")))?;
            match key {
                _ if !known.contains(&key) => {
                    let error = bad_request(format!("nothing here is called {key:?}"));
                    return Err(match known {
                        [] => error,
                        _ => error.hint(format!("there is: {}", known.join(", "))),
                    });
                }
                "name" => read.name = Some(value),
                "revision" => read.revision = Some(parsed(key, &value)?),
                "confirm" => {
                    let within = humantime::parse_duration(&value);
                    let within = within.map_err(|e| bad_request(format!("confirm: {e}")))?;
                    read.confirm = Some(within);
                }
                "force" => read.force = parsed(key, &value)?,
                _ => read.dry_run = parsed(key, &value)?,
            }
        }
        Ok(read)
    }
}

fn parsed<T: FromStr>(key: &str, value: &str) -> Result<T, ApiError> {
    let wrong = |_| bad_request(format!("{value:?} is no value of {key}"));
    value.parse().map_err(wrong)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::Request;

    #[test]
    fn what_is_sent_is_what_is_read() {
        let draft = Draft {
            name: "new file.toml".to_owned(),
            text: "# ä\n[lbd]\n".to_owned(),
        };
        let mut all = vec![
            ConfigRequest::History,
            ConfigRequest::Diff { draft: None },
            ConfigRequest::Diff {
                draft: Some(draft.clone()),
            },
        ];
        for revision in [None, Some(7)] {
            all.push(ConfigRequest::Show { revision });
            for (force, dry_run) in [(false, false), (true, true), (true, false)] {
                all.push(ConfigRequest::Undo {
                    revision,
                    force,
                    dry_run,
                });
                all.push(ConfigRequest::Confirm { dry_run });
                all.push(ConfigRequest::Apply {
                    draft: draft.clone(),
                    confirm: revision.map(|n| Duration::from_secs(n * 13)),
                    force,
                    dry_run,
                });
            }
        }
        for request in all {
            let request = Request::Config(request);
            let Call {
                method,
                target,
                body,
            } = Call::of(&request);
            assert_eq!(Call::read(method, &target, &body), Ok(request));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_what_would() {
        for (method, target, says) in [
            ("POST", "/v1/config", "knows GET"),
            ("GET", "/v1/config/apply", "knows POST"),
            ("GET", "/v1/config/nowhere", "there is no"),
            ("POST", "/v1/config/apply?confirm=0s", "between 1s and 24h"),
            ("POST", "/v1/config/apply?confirm=soon", "confirm"),
            (
                "POST",
                "/v1/config/apply?dry_run=perhaps",
                "no value of dry_run",
            ),
            (
                "POST",
                "/v1/config/undo?revision=-1",
                "no value of revision",
            ),
            ("GET", "/v1/config/diff?name=x", "nothing here"),
        ] {
            let refused = Call::read(method, target, b"").unwrap_err();
            assert!(refused.message.contains(says), "{target}: {refused}");
        }
        let long = format!("/v1/config/diff?name={}", "x".repeat(300));
        assert!(Call::read("POST", &long, b"").is_err());
        let large = vec![b'#'; MAX_BYTES + 1];
        let refused = Call::read("POST", "/v1/config/apply", &large).unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge);
        assert!(carries_configuration("POST", "/v1/config/apply"));
        assert!(!carries_configuration("POST", "/v1/config/undo"));
    }
}
