//! The status page: `/` of the metrics address. What is exposed, where it goes, whether it is
//! healthy and why not, what changed last. It only shows, and never a client's address.
//!
//! There is one renderer ([`render`]), here: `/` is the page as it is now, whole also without
//! JavaScript, and each event of `/events` ([`live`]) brings its `<main>` anew, which the page's
//! script puts in place of what differs. So nothing is escaped in two places.

mod live;
mod render;

pub use live::{Hub, LISTENERS};

use hyper::Response;
use hyper::body::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use lbcore::api::{EventView, StatusView};

use super::events::Lines;

/// Changes the page tells.
pub const LATELY: usize = 12;

/// What the page shows, at one moment.
#[derive(Clone, Debug)]
pub struct Glance {
    /// The same picture as `GET /v1/status`.
    pub status: StatusView,
    /// The last [`LATELY`] events, the latest last.
    pub lately: Vec<EventView>,
}

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing from elsewhere, nothing in line, no forms, in nobody's frame.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
     connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The style sheet.
pub fn style() -> Response<Lines> {
    answer("text/css; charset=utf-8", Lines::whole(STYLE.into()))
}

/// The script.
pub fn script() -> Response<Lines> {
    let body = Lines::whole(SCRIPT.into());
    answer("text/javascript; charset=utf-8", body)
}

/// The page itself.
fn document(html: String) -> Response<Lines> {
    answer("text/html; charset=utf-8", Lines::whole(Bytes::from(html)))
}

/// An answer that browsers neither keep nor take for something else.
fn answer(content_type: &'static str, body: Lines) -> Response<Lines> {
    let mut response = Response::new(body);
    for (name, value) in [
        ("content-type", content_type),
        ("content-security-policy", POLICY),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        let name = HeaderName::from_static(name);
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
