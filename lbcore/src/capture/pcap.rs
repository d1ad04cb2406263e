//! pcap: a header of 24 bytes, then records of 16 bytes and what was captured.

use super::link::Link;
use super::source::Source;
use super::{CaptureError, Order, Record};
use std::io::Read;
use std::time::Duration;

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Bits of the link type; above them stands how long a frame check sequence is, which the director
/// takes for padding.
const LINK_BITS: u32 = 0xffff;

/// A pcap file behind its header.
#[derive(Debug)]
pub(super) struct Pcap {
    order: Order,
    /// Nanoseconds in a unit of a second's part.
    unit: u32,
    link: Link,
}

impl Pcap {
    /// Reads the rest of the header; `None` if it begins with another format's `magic`.
    pub fn open<R: Read>(
        magic: [u8; 4],
        source: &mut Source<R>,
    ) -> Result<Option<Self>, CaptureError> {
        let (order, unit) = match (u32::from_le_bytes(magic), u32::from_be_bytes(magic)) {
            (MICROSECONDS, _) => (Order::Little, 1000),
            (NANOSECONDS, _) => (Order::Little, 1),
            (_, MICROSECONDS) => (Order::Big, 1000),
            (_, NANOSECONDS) => (Order::Big, 1),
            _ => return Ok(None),
        };
        let [.., a, b, c, d] = source.more::<20>()?;
        let link = Link::of(order.u32([a, b, c, d]) & LINK_BITS)?;
        Ok(Some(Pcap { order, unit, link }))
    }

    /// The next record.
    pub fn next<'s, R: Read>(
        &mut self,
        source: &'s mut Source<R>,
    ) -> Result<Option<Record<'s>>, CaptureError> {
        let Some(header) = source.begin::<16>()? else {
            return Ok(None);
        };
        let [seconds, part, captured, length] = words(&header, self.order);
        let at = Duration::from_secs(seconds.into())
            + Duration::from_nanos(u64::from(part) * u64::from(self.unit));
        Ok(Some(Record {
            at,
            link: self.link,
            bytes: source.take(captured as usize)?,
            length: length as usize,
        }))
    }
}

/// Four words, one after the other.
fn words(bytes: &[u8; 16], order: Order) -> [u32; 4] {
    let (words, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| order.u32(words[at]))
}
