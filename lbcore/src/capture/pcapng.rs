//! pcapng: sections of blocks; of these interfaces and packets are read, all others passed over.

use super::link::Link;
use super::source::Source;
use super::{CaptureError, Order, Record};
use std::io::Read;
use std::time::Duration;

/// Type of the block that begins a section; the same in both byte orders.
pub(super) const SECTION: [u8; 4] = [0x0a, 0x0d, 0x0d, 0x0a];

const BYTE_ORDER: u32 = 0x1a2b_3c4d;
const INTERFACE: u32 = 1;
/// Obsolete, but some old files have it.
const PACKET: u32 = 2;
const SIMPLE_PACKET: u32 = 3;
const ENHANCED_PACKET: u32 = 6;

/// Type, length, and the length again at the end.
const FRAMING: u32 = 12;

const OPTION_END: u16 = 0;
const OPTION_TSRESOL: u16 = 9;
const OPTION_TSOFFSET: u16 = 14;

/// Interfaces of one section; a host has a few.
const MAX_INTERFACES: usize = 4096;

/// A pcapng file.
#[derive(Debug)]
pub(super) struct Pcapng {
    order: Order,
    interfaces: Vec<Interface>,
    /// When the last packet came: simple ones do not say.
    last: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Interface {
    /// As numbered; only an interface with packets must be one that can be replayed.
    link: u32,
    /// 0: all of a packet.
    snaplen: u32,
    /// Units in a second.
    units: u128,
    /// Seconds to add.
    offset: i64,
}

/// Where in a block a packet's fields stand.
struct Fields {
    interface: usize,
    time: Option<[u8; 8]>,
    captured: Option<u32>,
    length: u32,
    /// Where its bytes begin.
    bytes: usize,
}

impl Pcapng {
    /// Reads the first section's header, behind its type.
    pub fn open<R: Read>(source: &mut Source<R>) -> Result<Self, CaptureError> {
        let mut pcapng = Pcapng {
            order: Order::Little,
            interfaces: Vec::new(),
            last: Duration::ZERO,
        };
        let length = source.more()?;
        pcapng.section(length, source)?;
        Ok(pcapng)
    }

    /// The next packet.
    pub fn next<'s, R: Read>(
        &mut self,
        source: &'s mut Source<R>,
    ) -> Result<Option<Record<'s>>, CaptureError> {
        loop {
            let Some(head) = source.begin::<8>()? else {
                return Ok(None);
            };
            let [a, b, c, d, length @ ..] = head;
            if [a, b, c, d] == SECTION {
                self.section(length, source)?;
                continue;
            }
            let length = self.order.u32(length);
            if length < FRAMING || !length.is_multiple_of(4) {
                return Err(source.damaged("a block of an impossible length"));
            }
            let rest = length - FRAMING;
            let kind = self.order.u32([a, b, c, d]);
            match kind {
                INTERFACE => {
                    let interface = interface(source.take(rest as usize)?, self.order);
                    let Some(interface) = interface else {
                        return Err(source.damaged("an interface that is not described"));
                    };
                    if self.interfaces.len() == MAX_INTERFACES {
                        return Err(source.damaged("more interfaces than any host has"));
                    }
                    self.interfaces.push(interface);
                    self.close(length, source)?;
                }
                PACKET | SIMPLE_PACKET | ENHANCED_PACKET => {
                    // The length at the end is taken with the rest, so that the bytes stay.
                    let block = source.take(rest as usize + 4)?;
                    let (body, end) = block.split_at(rest as usize);
                    let closed = end == self.order.bytes(length);
                    let found = fields(kind, body, self.order);
                    let Some((fields, true)) = found.map(|f| (f, closed)) else {
                        return Err(source.damaged("a packet block that contradicts itself"));
                    };
                    return self.packet(&fields, rest as usize, source).map(Some);
                }
                _ => {
                    source.skip(rest.into())?;
                    self.close(length, source)?;
                }
            }
        }
    }

    /// A section begins: its byte order, and no interface yet.
    fn section<R: Read>(
        &mut self,
        length: [u8; 4],
        source: &mut Source<R>,
    ) -> Result<(), CaptureError> {
        let mark = source.more::<4>()?;
        self.order = match (u32::from_le_bytes(mark), u32::from_be_bytes(mark)) {
            (BYTE_ORDER, _) => Order::Little,
            (_, BYTE_ORDER) => Order::Big,
            _ => return Err(source.damaged("a section without a byte order")),
        };
        self.interfaces.clear();
        let length = self.order.u32(length);
        match length.checked_sub(FRAMING + 4) {
            Some(rest) if length.is_multiple_of(4) => source.skip(rest.into())?,
            _ => return Err(source.damaged("a section header of an impossible length")),
        }
        self.close(length, source)
    }

    /// A block ends with its length.
    fn close<R: Read>(&self, length: u32, source: &mut Source<R>) -> Result<(), CaptureError> {
        match source.more::<4>()? == self.order.bytes(length) {
            true => Ok(()),
            false => Err(source.damaged("a block's two lengths differ")),
        }
    }

    fn packet<'s, R>(
        &mut self,
        fields: &Fields,
        body: usize,
        source: &'s Source<R>,
    ) -> Result<Record<'s>, CaptureError>
    where
        R: Read,
    {
        let Some(interface) = self.interfaces.get(fields.interface) else {
            return Err(source.damaged("a packet of an interface that is not described"));
        };
        let room = body - fields.bytes;
        let captured = match fields.captured {
            Some(captured) => captured as usize,
            None => match interface.snaplen {
                0 => (fields.length as usize).min(room),
                most => (fields.length.min(most) as usize).min(room),
            },
        };
        let Some(bytes) = source.held().get(fields.bytes..fields.bytes + captured) else {
            return Err(source.damaged("a packet longer than its block"));
        };
        if captured > room {
            return Err(source.damaged("a packet longer than its block"));
        }
        if let Some(time) = fields.time {
            let [a, b, c, d, low @ ..] = time;
            let (high, low) = (self.order.u32([a, b, c, d]), self.order.u32(low));
            self.last = interface.time(u64::from(high) << 32 | u64::from(low));
        }
        Ok(Record {
            at: self.last,
            link: Link::of(interface.link)?,
            bytes,
            length: fields.length as usize,
        })
    }
}

impl Interface {
    fn time(&self, units: u64) -> Duration {
        let units = u128::from(units);
        // Both parts are within 64 bits: fewer than 10^9, and no more than `units`.
        let nanos = (units % self.units * 1_000_000_000 / self.units) as u64;
        let seconds = (units / self.units) as u64;
        let seconds = seconds.saturating_add_signed(self.offset);
        // A year that no clock shows would end in a date that cannot be printed.
        const YEAR_9999: u64 = 253_402_300_799;
        Duration::from_secs(seconds.min(YEAR_9999)) + Duration::from_nanos(nanos)
    }
}

impl Order {
    fn bytes(self, word: u32) -> [u8; 4] {
        match self {
            Order::Little => word.to_le_bytes(),
            Order::Big => word.to_be_bytes(),
        }
    }
}

/// The body of an interface description.
fn interface(body: &[u8], order: Order) -> Option<Interface> {
    let (head, mut options) = body.split_first_chunk::<8>()?;
    let [a, b, _, _, snaplen @ ..] = *head;
    let mut interface = Interface {
        link: order.u16([a, b]).into(),
        snaplen: order.u32(snaplen),
        units: 1_000_000,
        offset: 0,
    };
    while let Some((head, rest)) = options.split_first_chunk::<4>() {
        let [a, b, c, d] = *head;
        let (code, length) = (order.u16([a, b]), usize::from(order.u16([c, d])));
        if code == OPTION_END {
            break;
        }
        let value = rest.get(..length)?;
        match (code, value) {
            (OPTION_TSRESOL, [resolution]) => interface.units = units(*resolution)?,
            (OPTION_TSOFFSET, &[a, b, c, d, e, f, g, h]) => {
                let bytes = [a, b, c, d, e, f, g, h];
                interface.offset = match order {
                    Order::Little => i64::from_le_bytes(bytes),
                    Order::Big => i64::from_be_bytes(bytes),
                };
            }
            _ => {}
        }
        options = rest.get(length.next_multiple_of(4)..)?;
    }
    Some(interface)
}

/// Units in a second: a negative power of 10, or of 2 where the highest bit is set.
fn units(resolution: u8) -> Option<u128> {
    let exponent = u32::from(resolution & 0x7f);
    let units = match resolution & 0x80 {
        0 => 10u128.checked_pow(exponent)?,
        _ => 1u128.checked_shl(exponent)?,
    };
    // Beyond, a packet's time times 10^9 would no longer fit.
    (units <= 1 << 96).then_some(units)
}

/// The fields of a packet block's body.
fn fields(kind: u32, body: &[u8], order: Order) -> Option<Fields> {
    let word = |at: usize| Some(order.u32(*body.get(at..)?.first_chunk()?));
    let time = |at: usize| body.get(at..)?.first_chunk().copied();
    Some(match kind {
        SIMPLE_PACKET => Fields {
            interface: 0,
            time: None,
            captured: None,
            length: word(0)?,
            bytes: 4,
        },
        kind => Fields {
            interface: match kind {
                PACKET => order.u16(*body.first_chunk()?).into(),
                _ => word(0)? as usize,
            },
            time: Some(time(4)?),
            captured: Some(word(12)?),
            length: word(16)?,
            bytes: 20,
        },
    })
}
