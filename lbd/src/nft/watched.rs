//! A table of lbd's, what the kernel made of it, and the news that somebody touched it.

use super::news::{GROUP, Reader};
use super::{NftError, Table, load};
use crate::sys::netlink::{self, Multicast, News};
use std::time::Duration;
use tracing::warn;

/// What lbd holds in the kernel is compared this often even in silence: the safety net under the
/// multicast.
pub const AUDIT: Duration = Duration::from_secs(5);

/// Restores between two audits: more is a fight with another tool, which then goes on at the pace
/// of the audits instead of eating a core.
pub const RESTORES_PER_AUDIT: u32 = 5;

/// How often a change is tried again because somebody else changed our table meanwhile.
const SETTLE_TRIES: u32 = 3;

/// A table as it was last put there.
pub struct Watched {
    table: Table,
    socket: Option<(Multicast, Reader)>,
    /// What the kernel listed after the last change. `None`: no table.
    listing: Option<Vec<String>>,
}

impl Watched {
    /// Begins to hear who touches `table`, inside a tokio runtime. Nothing is changed yet.
    pub fn new(table: Table) -> Self {
        let mut watched = Watched {
            table,
            socket: None,
            listing: None,
        };
        watched.listen();
        watched
    }

    /// Opens the socket for news, if it is not open.
    pub fn listen(&mut self) {
        if self.socket.is_some() {
            return;
        }
        match Multicast::open(netlink::NETFILTER, &[GROUP]) {
            Ok(socket) => self.socket = Some((socket, Reader::new(self.table))),
            Err(error) => {
                warn!(%error, table = %self.table, "no news of nftables: the table is compared every {AUDIT:?} only");
            }
        }
    }

    /// Loads what `text` gives, and reads it back as the pattern for later comparisons; again, if
    /// somebody else was at it in between. One load is one transaction, so one more is somebody
    /// else's. `there`: the text makes the table, rather than only removing it.
    ///
    /// # Errors
    /// What was in force still is.
    pub async fn put(
        &mut self,
        mut text: impl FnMut() -> String,
        there: bool,
    ) -> Result<(), NftError> {
        let mut tries = 0;
        loop {
            tries += 1;
            self.waiting();
            load(&text()).await?;
            let listing = self.table.words().await?;
            let stands = listing.is_some() == there;
            let alone = self.waiting().is_none_or(|touched| touched <= 1);
            if stands && (alone || tries == SETTLE_TRIES) {
                self.listing = listing;
                return Ok(());
            }
            if tries == SETTLE_TRIES {
                return Err(NftError::Contested(self.table));
            }
        }
    }

    /// Whether the kernel still lists what was last put there.
    ///
    /// # Errors
    /// `nft` could not be asked.
    pub async fn stands(&self) -> Result<bool, NftError> {
        Ok(self.table.words().await? == self.listing)
    }

    /// Waits until somebody has touched the table, or may have, and says who. Cancel safe.
    pub async fn touched(&mut self) -> String {
        const UNKNOWN: &str = "an unknown program";
        loop {
            let Some((socket, reader)) = &mut self.socket else {
                return std::future::pending().await;
            };
            match socket.next().await {
                Ok(News::Datagram(datagram)) => {
                    if let Some(author) = reader.read(datagram).pop() {
                        return author;
                    }
                }
                Ok(News::Overrun) => return UNKNOWN.into(),
                Err(error) => {
                    warn!(%error, "the socket for news of nftables is lost; opening another");
                    self.socket = None;
                    self.listen();
                    return UNKNOWN.into();
                }
            }
        }
    }

    /// How many transactions that touched our table wait unread; `None` when messages are lost or
    /// not heard.
    fn waiting(&mut self) -> Option<usize> {
        let (socket, reader) = self.socket.as_mut()?;
        let mut count = 0;
        loop {
            match socket.try_next() {
                Ok(Some(News::Datagram(datagram))) => count += reader.read(datagram).len(),
                Ok(Some(News::Overrun)) => return None,
                Ok(None) => return Some(count),
                Err(_) => {
                    self.socket = None;
                    return None;
                }
            }
        }
    }
}
