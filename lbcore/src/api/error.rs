//! How a request fails, and what that means over HTTP and as an exit code.

use crate::config::EditError;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Why a request failed. Each has one HTTP status and one exit code of `lbctl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// The request makes no sense: a bad address, an unknown key.
    BadRequest,
    /// The peer may not do this.
    NotPermitted,
    /// No such service, real or VIP.
    NotFound,
    /// There is no such path in this interface.
    NoSuchPath,
    /// The path exists, but not with this method.
    MethodNotAllowed,
    /// It contradicts something that stands.
    Conflict,
    /// The request is larger than lbd reads.
    TooLarge,
    /// The configuration is bad; `detail` says where, in full.
    BadConfig,
    /// lbd is starting, stopping or has too much to do.
    Unavailable,
    /// lbd did not answer in time.
    Timeout,
    /// A fault of lbd's own.
    Internal,
}

impl ErrorCode {
    /// The HTTP status (RFC 9110).
    pub fn http_status(self) -> u16 {
        match self {
            ErrorCode::BadRequest => 400,
            ErrorCode::NotPermitted => 403,
            ErrorCode::NotFound | ErrorCode::NoSuchPath => 404,
            ErrorCode::MethodNotAllowed => 405,
            ErrorCode::Conflict => 409,
            ErrorCode::TooLarge => 413,
            ErrorCode::BadConfig => 422,
            ErrorCode::Internal => 500,
            ErrorCode::Unavailable => 503,
            ErrorCode::Timeout => 504,
        }
    }

    /// What `lbctl` exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            ErrorCode::BadRequest => 2,
            ErrorCode::NotFound => 3,
            ErrorCode::Conflict => 4,
            ErrorCode::NotPermitted => 6,
            ErrorCode::Timeout => 7,
            ErrorCode::BadConfig => 78,
            ErrorCode::NoSuchPath
            | ErrorCode::MethodNotAllowed
            | ErrorCode::TooLarge
            | ErrorCode::Unavailable
            | ErrorCode::Internal => 1,
        }
    }
}

/// A request that failed: what is wrong and what stayed as it was, and what to do next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    /// The kind of failure.
    pub code: ErrorCode,
    /// What is wrong, and what stayed as it was.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further lines as they are to be shown: every fault of a configuration with its caret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl ApiError {
    /// An error of this kind with this message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        ApiError {
            code,
            message: message.into(),
            hint: None,
            detail: None,
        }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// With further lines, shown as they are.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// No service answers to `wanted`; `known` are the names there are.
    pub fn no_such_service(wanted: &impl fmt::Display, known: &[&str]) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no service {wanted}"))
            .hint(known_names("services", known))
    }

    /// No real of `service` answers to `wanted`; `known` are the names there are.
    pub fn no_such_real(wanted: &impl fmt::Display, service: &str, known: &[&str]) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!("service {service} has no real {wanted}"),
        )
        .hint(known_names(&format!("reals of {service}"), known))
    }
}

impl ApiError {
    /// Several reals of `service` have the address `wanted`: `known` are their names.
    pub fn which_real(wanted: &impl fmt::Display, service: &str, known: &[&str]) -> Self {
        Self::new(
            ErrorCode::BadRequest,
            format!("several reals of {service} have the address {wanted}"),
        )
        .hint(format!(
            "name one, or say ADDRESS:PORT; {}",
            known_names("they are", known)
        ))
    }
}

impl From<EditError> for ApiError {
    fn from(error: EditError) -> Self {
        let message = format!("{error}; nothing was changed");
        let is = |code| ApiError::new(code, message.clone());
        match &error {
            EditError::NoSuchService { .. } => {
                is(ErrorCode::NotFound).hint("lbctl service list shows them all")
            }
            EditError::NoSuchReal { service, .. } => {
                is(ErrorCode::NotFound).hint(format!("lbctl real list {service} shows them all"))
            }
            EditError::ServiceExists { service } => {
                is(ErrorCode::Conflict).hint(format!("to change it: lbctl service set {service}"))
            }
            EditError::RealExists { service, .. } => {
                is(ErrorCode::Conflict).hint(format!("to change it: lbctl real set {service}"))
            }
            EditError::Value { .. } => is(ErrorCode::BadRequest),
            EditError::NotToml { path } => is(ErrorCode::BadConfig).hint(format!(
                "lbctl config check {} shows what is wrong",
                path.display()
            )),
            EditError::Unwritable { .. } => is(ErrorCode::Conflict)
                .hint("write it into the file by hand, then: lbctl reload; or add --runtime"),
            EditError::Bad { sources, faults } => {
                is(ErrorCode::BadRequest).detail(sources.render(faults, false).trim_end())
            }
        }
    }
}

/// A hint lists this many names, so that it stays readable with thousands of services.
const NAMES_IN_A_HINT: usize = 8;

fn known_names(what: &str, known: &[&str]) -> String {
    if known.is_empty() {
        return format!("there are no {what}");
    }
    let shown = known
        .iter()
        .take(NAMES_IN_A_HINT)
        .copied()
        .collect::<Vec<_>>()
        .join(", ");
    match known.len().checked_sub(NAMES_IN_A_HINT) {
        Some(more @ 1..) => format!("{what}: {shown} and {more} more"),
        _ => format!("{what}: {shown}"),
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}

/// How an error travels: `{"api_version": "v1", "error": {...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// The error.
    pub error: ApiError,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_names_what_there_is_and_stays_short() {
        let known: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let hint = |n: usize| ApiError::no_such_service(&"x", &known[..n]).hint;
        assert_eq!(hint(0).as_deref(), Some("there are no services"));
        assert_eq!(hint(2).as_deref(), Some("services: s0, s1"));
        assert_eq!(
            hint(8).as_deref(),
            Some("services: s0, s1, s2, s3, s4, s5, s6, s7")
        );
        assert_eq!(
            hint(10).as_deref(),
            Some("services: s0, s1, s2, s3, s4, s5, s6, s7 and 2 more")
        );
    }
}
