//! What other tools know, as a configuration of lbd: text in, TOML out, and what had no equivalent.
//!
//! | from | by |
//! |---|---|
//! | [`kubernetes`] | what kubectl prints |
//! | [`ipvsadm`] | rules of IPVS, as `ipvsadm -S` saves them |
//! | [`keepalived`] | `keepalived.conf`: virtual servers with their checks |
//! | [`haproxy`] | `haproxy.cfg`: proxies in mode tcp |
//!
//! The last three share `http`, `plan` (services in the making, what cannot stand side by side), `value` and
//! `render` (the file); the first two of them `lvs`, the words of IPVS.

mod http;
mod lvs;
mod plan;
mod render;
mod value;

pub mod haproxy;
pub mod ipvsadm;
pub mod keepalived;
pub mod kubernetes;

use std::fmt;
use std::net::IpAddr;

/// The largest text that is read of another load balancer, and the largest file that lbd reads.
pub const MAX_BYTES: usize = crate::config::MAX_BYTES;

/// What an import gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    /// A whole configuration file, with comments.
    pub toml: String,
    /// How many services it has.
    pub services: usize,
    /// What was left out, or is not the same, in file order.
    pub findings: Vec<Finding>,
    /// What must hold for the result to work, in whole sentences; the file says it, too.
    pub conditions: Vec<&'static str>,
}

/// Something that is not in the result as it was in the source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where it stands, in sources that have lines.
    pub lines: Option<Lines>,
    /// What it is about: `"Service default/web"`, `"lb_algo sed"`.
    pub about: String,
    /// What became of it, and why.
    pub what: String,
}

/// Lines of the source, counted from 1, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lines {
    /// The first.
    pub first: usize,
    /// The last; most statements have one line.
    pub last: usize,
}

impl Lines {
    /// One line.
    pub fn one(line: usize) -> Lines {
        Lines {
            first: line,
            last: line,
        }
    }
}

impl fmt::Display for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "line {}", self.first),
            false => write!(f, "lines {}-{}", self.first, self.last),
        }
    }
}

/// What names mean on this machine: lbcore looks nothing up by itself.
pub trait Names {
    /// The address of a host, IPv4 where it has both.
    fn host(&self, name: &str) -> Option<IpAddr>;
    /// The port of a service in `/etc/services`.
    fn port(&self, name: &str, udp: bool) -> Option<u16>;
}

/// What the text does not tell.
pub struct Options<'a> {
    /// lbd's interface towards the VIPs' packets; `None` where the text may tell it.
    pub interface: Option<String>,
    /// What names mean.
    pub names: &'a dyn Names,
}

/// Why a text could not be imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// The text is larger than [`MAX_BYTES`].
    #[error("the file has more than {} MiB", MAX_BYTES / (1024 * 1024))]
    TooLarge,
    /// A block that begins there does not end.
    #[error("line {0}: the block that begins here is never closed")]
    Unclosed(usize),
    /// A brace closes nothing.
    #[error("line {0}: this brace closes nothing")]
    Unopened(usize),
    /// Blocks in blocks in blocks.
    #[error("line {0}: no configuration has so many blocks in each other")]
    TooDeep(usize),
    /// A quote is opened and not closed on its line.
    #[error("line {0}: a quote is not closed")]
    Quote(usize),
    /// lbd could not read what would come of it.
    #[error("the result has more than {} MiB, and lbd reads no more", MAX_BYTES / (1024 * 1024))]
    TooMuch,
}

/// The text of a file; what is no UTF-8 (old comments) cannot be part of anything that is used.
fn text(bytes: &[u8]) -> Result<std::borrow::Cow<'_, str>, ImportError> {
    match bytes.len() > MAX_BYTES {
        true => Err(ImportError::TooLarge),
        false => Ok(String::from_utf8_lossy(bytes)),
    }
}

/// Whether a machine on a network can have this address, as the configuration sees it.
fn is_host(ip: IpAddr) -> bool {
    let odd = match ip {
        IpAddr::V4(v4) => v4.is_broadcast() || v4.octets()[0] == 0,
        IpAddr::V6(v6) => v6.to_ipv4_mapped().is_some(),
    };
    !(odd || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast())
}

/// Whether clients can dial this address from afar, as the configuration sees it.
fn is_vip(ip: IpAddr) -> bool {
    let link_local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    is_host(ip) && !link_local
}

/// As the configuration wants names of reals.
fn is_real_name(name: &str) -> bool {
    let fit = |b: u8| b.is_ascii_alphanumeric() || b"._:-".contains(&b);
    (1..=63).contains(&name.len()) && name.bytes().all(fit) && name != "." && name != ".."
}

#[cfg(test)]
mod tests;
