//! Where everything lies in the memory of a flow table, and the header that says so to the next
//! process.

use super::atomic::AtomicU64;
use super::walk::Recovered;
use super::{FlowTable, Slot};
use crate::net::HashKey;
use std::fmt;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use thiserror::Error;

/// The most flows one table holds: 20 GiB, and far within a slot number's 32 bits.
pub const MAX_CAPACITY: usize = 1 << 28;

/// Slots of a bucket: what one cache line holds.
pub(super) const SLOTS: usize = 4;

/// Eight words, one cache line: a bucket of the hot part, or a slot's cold words.
pub(super) type Bucket = [AtomicU64; 8];

const LINE: usize = 8;

/// One page, so that the buckets begin on a line of their own.
const HEADER_WORDS: usize = 512;

/// Words of one bucket with the cold words of its slots.
const BUCKET_WORDS: usize = LINE + SLOTS * LINE;

/// One in each half.
const MIN_BUCKETS: usize = 2;

/// "lbdflows", read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"lbdflows");

/// Counts up with every change of a word's meaning: [`crate::flow::State`]'s numbers and the hash of a
/// flow, by which it is found, included.
const VERSION: u64 = 2;

const AT_MAGIC: usize = 0;
const AT_VERSION: usize = 1;
const AT_BUCKETS: usize = 2;
const AT_KEY: usize = 3;
/// Not 0: the XDP program remembers no new flows, because somebody goes through the table who must be
/// alone.
const AT_PAUSED: usize = 4;

/// Counts are kept in this many lines, so that workers that insert do not wait for one line.
const STRIPES: usize = 32;
const AT_COUNTS: usize = HEADER_WORDS - STRIPES * LINE;

/// Memory that can hold no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no flow table has {words} words: ask FlowTable::words_for")]
pub struct LayoutError {
    /// What was given.
    pub words: usize,
}

/// Why the table of an earlier process cannot be used. Nothing was changed; create a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OpenError {
    /// Truncated, or of another capacity than its header says.
    #[error("flow table of {words} words does not have the size its header says")]
    Size {
        /// What was given.
        words: usize,
    },
    /// Not a flow table, or its creator died before it was one.
    #[error("not a flow table")]
    Magic,
    /// From an lbd with another layout.
    #[error("flow table has layout version {found}, this lbd reads version {VERSION}")]
    Version {
        /// What the header says.
        found: u64,
    },
    /// Made under another hash key: none of its signatures would be found.
    #[error("flow table was made with another hash key")]
    Key,
}

/// The first page.
#[derive(Clone, Copy)]
pub(super) struct Header<'m>(&'m [AtomicU64]);

impl Header<'_> {
    fn get(&self, at: usize) -> u64 {
        self.0[at].load(Acquire)
    }

    fn set(&self, at: usize, word: u64) {
        self.0[at].store(word, Release);
    }

    fn check(&self, buckets: usize, key: &HashKey) -> Result<(), OpenError> {
        if self.get(AT_MAGIC) != MAGIC {
            return Err(OpenError::Magic);
        }
        if self.get(AT_VERSION) != VERSION {
            return Err(OpenError::Version {
                found: self.get(AT_VERSION),
            });
        }
        if self.get(AT_BUCKETS) != buckets as u64 {
            return Err(OpenError::Size {
                words: words(buckets),
            });
        }
        if self.get(AT_KEY) != fingerprint(key) {
            return Err(OpenError::Key);
        }
        Ok(())
    }

    /// Counts in the flow of a slot.
    pub fn count_in(&self, slot: Slot) {
        self.stripe(slot.number()).fetch_add(1, Relaxed);
    }

    /// Counts out the flow of a slot.
    pub fn count_out(&self, slot: Slot) {
        self.stripe(slot.number()).fetch_sub(1, Relaxed);
    }

    /// Sets the count of all.
    pub fn set_len(&self, flows: usize) {
        for stripe in 0..STRIPES {
            self.stripe(stripe * SLOTS).store(0, Relaxed);
        }
        self.stripe(0).store(flows as u64, Relaxed);
    }

    pub fn len(&self) -> usize {
        let counts = (0..STRIPES).map(|stripe| self.stripe(stripe * SLOTS).load(Relaxed));
        // While others write, an out may be seen before its in.
        usize::try_from(counts.fold(0, u64::wrapping_add) as i64).unwrap_or(0)
    }

    fn stripe(&self, number: usize) -> &AtomicU64 {
        &self.0[AT_COUNTS + number / SLOTS % STRIPES * LINE]
    }
}

impl fmt::Debug for Header<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} flows", self.len())
    }
}

impl<'m> FlowTable<'m> {
    /// 64-bit words of memory that a table for `capacity` flows needs. The capacity is rounded up
    /// to a power of two of buckets, and down to [`MAX_CAPACITY`].
    pub fn words_for(capacity: usize) -> usize {
        words(Self::buckets_for(capacity))
    }

    /// How many buckets such a table has.
    pub fn buckets_for(capacity: usize) -> usize {
        let buckets = capacity
            .min(MAX_CAPACITY)
            .div_ceil(SLOTS)
            .next_power_of_two();
        buckets.max(MIN_BUCKETS)
    }

    /// Asks a program outside this process, which may be writing already, to remember no new flows in the
    /// table on `mem`, or to do it again. It heeds it within microseconds.
    pub fn pause_others(mem: &[AtomicU64], pause: bool) {
        if let Some(word) = mem.get(AT_PAUSED) {
            word.store(u64::from(pause), Release);
        }
    }

    /// Makes an empty table. Writes all of `mem`, so that a file has its blocks and the packet
    /// path meets no page for the first time.
    ///
    /// # Errors
    /// [`LayoutError`] if `mem` does not have the words that [`FlowTable::words_for`] says.
    pub fn create(mem: &'m [AtomicU64], key: &HashKey) -> Result<Self, LayoutError> {
        let table = Self::lay(mem).ok_or(LayoutError { words: mem.len() })?;
        // The magic goes first and comes last: a creator that dies in between leaves no table.
        table.header.set(AT_MAGIC, 0);
        for (at, word) in mem.iter().enumerate().skip(1) {
            // Whoever asked others to pause asks them to go on.
            if at != AT_PAUSED {
                word.store(0, Relaxed);
            }
        }
        table.header.set(AT_VERSION, VERSION);
        table.header.set(AT_BUCKETS, table.hot.len() as u64);
        table.header.set(AT_KEY, fingerprint(key));
        table.header.set(AT_MAGIC, MAGIC);
        Ok(table)
    }

    /// Takes over the table that an earlier process left, however it ended: slots it was writing
    /// and slots that are damaged are freed, so what is found afterwards is whole. Nobody else may
    /// write meanwhile.
    ///
    /// # Errors
    /// [`OpenError`] if this is no table of this layout and key; nothing was changed.
    pub fn open(mem: &'m [AtomicU64], key: &HashKey) -> Result<(Self, Recovered), OpenError> {
        let table = Self::lay(mem).ok_or(OpenError::Size { words: mem.len() })?;
        table.header.check(table.hot.len(), key)?;
        let recovered = table.recover(key);
        Ok((table, recovered))
    }

    fn lay(mem: &'m [AtomicU64]) -> Option<Self> {
        let buckets = mem.len().checked_sub(HEADER_WORDS)? / BUCKET_WORDS;
        let fits = buckets.is_power_of_two()
            && (MIN_BUCKETS..=MAX_CAPACITY / SLOTS).contains(&buckets)
            && mem.len() == words(buckets);
        if !fits {
            return None;
        }
        let (header, rest) = mem.split_at(HEADER_WORDS);
        let (hot, cold) = rest.split_at(buckets * LINE);
        Some(FlowTable {
            header: Header(header),
            hot: hot.as_chunks().0,
            cold: cold.as_chunks().0,
        })
    }
}

fn words(buckets: usize) -> usize {
    HEADER_WORDS + buckets * BUCKET_WORDS
}

fn fingerprint(key: &HashKey) -> u64 {
    key.bytes(b"lbd flow table key")
}
