//! What the kernel tells of nftables: every transaction ends with a new generation, and says who
//! made it.

use crate::sys::netlink::{attributes, messages};

/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
pub(super) const GROUP: u32 = 7;

const SUBSYSTEM_NFTABLES: u16 = 10;
const NEW_GENERATION: u16 = 15;
const FAMILY_NETDEV: u8 = 5;

/// The attribute that names the table has this number in tables, chains, rules, sets and
/// elements alike (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, ...).
const TABLE: u16 = 1;
const GENERATION_PID: u16 = 2;
const GENERATION_NAME: u16 = 3;

/// Reads datagrams one after the other: a transaction may span several.
#[derive(Default)]
pub(super) struct Reader {
    touched: bool,
}

impl Reader {
    /// Who finished transactions that touched the table `netdev lbd`, one entry each:
    /// `nft (pid 123)`, the pid as the host's first namespace counts.
    pub(super) fn read(&mut self, datagram: &[u8]) -> Vec<String> {
        let mut authors = Vec::new();
        for (kind, payload) in messages(datagram) {
            // struct nfgenmsg: family, version, resource id.
            let Some((header, body)) = payload.split_at_checked(4) else {
                continue;
            };
            if kind >> 8 != SUBSYSTEM_NFTABLES {
                continue;
            }
            if kind & 0xff == NEW_GENERATION {
                if std::mem::take(&mut self.touched) {
                    authors.push(author(body));
                }
            } else if header[0] == FAMILY_NETDEV {
                self.touched |=
                    attributes(body).any(|(kind, value)| kind == TABLE && value == b"lbd\0");
            }
        }
        authors
    }
}

fn author(body: &[u8]) -> String {
    let (mut name, mut pid) = (String::from("an unknown program"), None);
    for (kind, value) in attributes(body) {
        match kind {
            GENERATION_NAME => {
                // A process chooses its own name: only what is safe to print.
                let text = String::from_utf8_lossy(value);
                name = text.trim_end_matches('\0').escape_debug().to_string();
            }
            GENERATION_PID => pid = value.try_into().ok().map(u32::from_be_bytes),
            _ => {}
        }
    }
    match pid {
        Some(pid) => format!("{name} (pid {pid})"),
        None => name,
    }
}
