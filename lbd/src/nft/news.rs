//! What the kernel tells of nftables: every transaction ends with a new generation, and says who
//! made it.

use super::Table;
use crate::sys::netlink::{attributes, messages};

/// NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h).
pub(super) const GROUP: u32 = 7;

const SUBSYSTEM_NFTABLES: u16 = 10;
const NEW_GENERATION: u16 = 15;

/// The attribute that names the table has this number in tables, chains, rules, sets and
/// elements alike (NFTA_TABLE_NAME, NFTA_CHAIN_TABLE, ...).
const TABLE: u16 = 1;
const GENERATION_PID: u16 = 2;
const GENERATION_NAME: u16 = 3;

/// Reads datagrams one after the other: a transaction may span several.
pub(super) struct Reader {
    table: Table,
    touched: bool,
}

impl Reader {
    pub(super) fn new(table: Table) -> Self {
        let touched = false;
        Reader { table, touched }
    }

    /// Who finished transactions that touched the table, one entry each: `nft (pid 123)`, the pid
    /// as the host's first namespace counts.
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
            } else if header[0] == self.table.family as u8 {
                self.touched |= attributes(body).any(|(kind, value)| {
                    kind == TABLE && value.strip_suffix(&[0]) == Some(self.table.name.as_bytes())
                });
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::Family;

    #[test]
    fn news_of_other_tables_is_no_news() {
        let mut reader = Reader::new(Table {
            family: Family::Netdev,
            name: "lbd",
        });
        assert!(reader.read(&[1, 2, 3]).is_empty());
        let message = |kind: u16, body: &[u8]| {
            let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
            bytes.extend((10 << 8 | kind).to_ne_bytes());
            bytes.extend([0; 10]);
            bytes.extend(body);
            bytes
        };
        let table = |family: u8, name: &[u8; 4]| {
            let mut body = vec![family, 0, 0, 0];
            body.extend(8u16.to_ne_bytes());
            body.extend(1u16.to_ne_bytes());
            body.extend(name);
            message(2, &body)
        };
        let mut end = vec![0, 0, 0, 0];
        end.extend([8, 0, 2, 0, 0, 0, 0, 7, 8, 0, 3, 0]);
        end.extend(b"nft\0");
        let end = message(15, &end);
        assert!(
            reader
                .read(&[table(5, b"abc\0"), end.clone()].concat())
                .is_empty()
        );
        assert!(
            reader
                .read(&[table(2, b"lbd\0"), end.clone()].concat())
                .is_empty()
        );
        assert!(
            reader.read(&table(5, b"lbd\0")).is_empty(),
            "told only when the transaction ends"
        );
        assert_eq!(reader.read(&end), ["nft (pid 7)"]);
        assert!(reader.read(&end).is_empty());
    }
}
