//! A change of the configuration as a command asks for it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::net::SocketAddr;

/// Keys of a section with their values, as the file has them: `{"weight": 5}`,
/// `{"proxy": {"retries": 3}}`, `{"check": [{"type": "tcp"}]}`. On a section that is there they are
/// a merge patch (RFC 7396): what is not named stays, `null` takes a key out and so back to its
/// default, a list replaces the old one.
pub type Keys = Map<String, Value>;

/// One change. Services go by name, reals by their [place](super::Real::place).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "snake_case", deny_unknown_fields)]
pub enum Edit {
    /// A new service, the last one of the main file.
    AddService {
        /// All of it, its `name` and its reals included.
        keys: Keys,
    },
    /// Other values of a service.
    SetService {
        /// Its name.
        service: String,
        /// What becomes different.
        keys: Keys,
    },
    /// A service less.
    RemoveService {
        /// Its name.
        service: String,
    },
    /// A new real, the last one of its service.
    AddReal {
        /// Name of the service.
        service: String,
        /// All of it.
        keys: Keys,
    },
    /// Other values of a real.
    SetReal {
        /// Name of the service.
        service: String,
        /// Which real.
        real: SocketAddr,
        /// What becomes different.
        keys: Keys,
    },
    /// A real less.
    RemoveReal {
        /// Name of the service.
        service: String,
        /// Which real.
        real: SocketAddr,
    },
}
