//! What must not leave the house: secrets of the configuration, and addresses of clients.

use super::Redacted;
use lbcore::api::StatusView;
use lbcore::config::{self, Config, TAKEN_OUT};
use lbcore::redact;
use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// Shorter secrets are taken out of the configuration alone: as parts of words they are everywhere.
const SHORTEST: usize = 6;

/// See the module.
#[derive(Debug)]
pub struct Scrub {
    with_clients: bool,
    ours: HashSet<IpAddr>,
    /// Also as JSON writes them; the longest first, as one may be a part of another.
    secrets: Vec<String>,
    taken_out: usize,
    keys_only: bool,
    /// Another one for each bundle: names cannot be looked up in a list of all addresses.
    salt: RandomState,
    names: HashMap<IpAddr, String>,
}

impl Scrub {
    /// Knows nothing yet.
    pub fn new(with_clients: bool) -> Scrub {
        Scrub {
            with_clients,
            ours: HashSet::new(),
            secrets: Vec::new(),
            taken_out: 0,
            keys_only: false,
            salt: RandomState::new(),
            names: HashMap::new(),
        }
    }

    /// VIPs and real servers are no clients.
    pub fn know_all_of(&mut self, status: &StatusView) {
        for service in &status.services {
            self.ours.extend(service.endpoints.iter().map(|e| e.ip()));
            self.ours.extend(service.reals.iter().map(|r| r.address));
            self.ours.extend(service.sorry);
        }
        self.ours.extend(status.vips.iter().map(|v| v.vip));
    }

    /// The same of a file, where lbd does not answer.
    pub fn know_config(&mut self, config: &Config) {
        for service in &config.services {
            self.ours.extend(&service.vips);
            self.ours.extend(service.reals.iter().map(|r| r.address));
            self.ours.extend(service.sorry);
        }
    }

    /// This host's own addresses and routes.
    pub fn know_addresses_in(&mut self, text: &str) {
        redact::addresses(text, |address| {
            self.ours.insert(address);
            None
        });
    }

    /// A configuration without its secrets, which are known from now on.
    pub fn config(&mut self, text: &str) -> String {
        let shown = config::without_secrets(text);
        self.taken_out += shown.text.matches(TAKEN_OUT).count();
        self.keys_only |= shown.keys_only;
        let long = shown.secrets.into_iter().filter(|s| s.len() >= SHORTEST);
        for secret in long {
            let json = serde_json::to_string(&secret).unwrap_or_default();
            // The quotes around it, and none of its own.
            let inner = json.strip_prefix('"').and_then(|j| j.strip_suffix('"'));
            self.secrets.extend(inner.map(str::to_owned));
            self.secrets.push(secret);
        }
        self.secrets
            .sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        self.secrets.dedup();
        shown.text
    }

    /// Text as it may leave.
    pub fn text(&mut self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in &self.secrets {
            if text.contains(secret) {
                text = text.replace(secret, TAKEN_OUT);
            }
        }
        if self.with_clients {
            return text;
        }
        redact::addresses(&text, |address| self.cover(address)).into_owned()
    }

    /// What was taken out.
    pub fn tally(&self) -> Redacted {
        Redacted {
            secrets: self.taken_out,
            keys_only: self.keys_only,
            addresses: self.names.len(),
            with_clients: self.with_clients,
        }
    }

    fn cover(&mut self, address: IpAddr) -> Option<String> {
        if self.ours.contains(&address) || is_nobody(address) {
            return None;
        }
        let salt = &self.salt;
        let name = || format!("client-{:08x}", salt.hash_one(address) as u32);
        Some(self.names.entry(address).or_insert_with(name).clone())
    }
}

/// Addresses that tell of no machine.
fn is_nobody(address: IpAddr) -> bool {
    address.is_unspecified()
        || address.is_loopback()
        || address.is_multicast()
        || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}
