//! What interception keeps in the kernel, and the numbers it is known by.

use super::{InterceptError, MARK, MARK_MASK, TABLE};
use rtnetlink::packet_route::AddressFamily;
use std::fmt;
use std::io;
use std::path::Path;

/// Who made a rule or route (FRA_PROTOCOL, RTA_PROTOCOL): a number that /etc/iproute2/rt_protos
/// leaves free, an `L`. What has it and one of the numbers below is lbd's to remove; nothing else
/// is.
pub(super) const PROTOCOL: u8 = 76;

/// The routing table: `lbd` in ASCII. Not below 256, where Calico, AWS and people number theirs.
pub(super) const LOCAL_TABLE: u32 = 0x6c_6264;

/// Before the rules of others that catch all (Calico 99, AWS 512, Tailscale 5210 and on, `main`).
pub(super) const LOCAL_PRIORITY: u32 = 76;

/// The rule before it: what the host asks itself about a marked packet's addresses, it shall
/// answer as for any other packet. Such questions come from `lo`: where the sender is (rp_filter
/// with src_valid_mark, which wg-quick sets; firewalld's `fib saddr . mark . iif`), and where an
/// answer with the mark reflected goes (tcp_fwmark_accept, fwmark_reflect). All would get the
/// local route and drop the packet.
pub(super) const ASK_PRIORITY: u32 = 75;

pub(super) const MAIN_TABLE: u32 = 254;

/// A side of the host's IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stack {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Stack {
    pub(super) fn family(self) -> AddressFamily {
        match self {
            Stack::V4 => AddressFamily::Inet,
            Stack::V6 => AddressFamily::Inet6,
        }
    }

    pub(super) fn ip(self) -> &'static str {
        match self {
            Stack::V4 => "ip",
            Stack::V6 => "ip -6",
        }
    }
}

/// One thing that interception keeps in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// The nft table.
    Table,
    /// The rule for what the host asks itself.
    AskRule(Stack),
    /// The rule for marked packets.
    LocalRule(Stack),
    /// The route that makes every address local.
    Route(Stack),
}

impl Object {
    /// The command that would make it as the configuration file `config` wants it.
    pub fn command(self, config: &Path) -> String {
        match self {
            Object::Table => {
                let config = config.display();
                format!("lbd --config {config} --print-rules | nft -f -")
            }
            rule => rule.words(),
        }
    }

    /// A rule or route by its command, the table by its name.
    pub(super) fn words(self) -> String {
        match self {
            Object::Table => format!("nft table `{TABLE}`"),
            Object::AskRule(stack) => format!(
                "{} rule add priority {ASK_PRIORITY} iif lo fwmark {MARK:#x}/{MARK_MASK:#x} lookup main protocol {PROTOCOL}",
                stack.ip()
            ),
            Object::LocalRule(stack) => format!(
                "{} rule add priority {LOCAL_PRIORITY} fwmark {MARK:#x}/{MARK_MASK:#x} lookup {LOCAL_TABLE} protocol {PROTOCOL}",
                stack.ip()
            ),
            Object::Route(stack) => format!(
                "{} route add local default dev lo table {LOCAL_TABLE} protocol {PROTOCOL}",
                stack.ip()
            ),
        }
    }

    pub(super) fn stack(self) -> Option<Stack> {
        match self {
            Object::Table => None,
            Object::AskRule(stack) | Object::LocalRule(stack) | Object::Route(stack) => Some(stack),
        }
    }

    /// As events and metrics call it.
    pub(super) fn kind(self) -> &'static str {
        match self {
            Object::Table => "nft",
            Object::AskRule(_) | Object::LocalRule(_) => "rule",
            Object::Route(_) => "route",
        }
    }

    pub(super) fn failed(self, source: io::Error) -> InterceptError {
        let command = self.words();
        InterceptError::Routing { command, source }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words().replacen(" add", "", 1))
    }
}

/// All that `stacks` need, in the order in which to make it: what is marked finds its way.
pub(super) fn wanted(stacks: &[Stack]) -> Vec<Object> {
    let of = |&stack| {
        [
            Object::Route(stack),
            Object::AskRule(stack),
            Object::LocalRule(stack),
        ]
    };
    stacks.iter().flat_map(of).collect()
}
