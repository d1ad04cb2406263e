//! Capture files, frame by frame: pcap (draft-ietf-opsawg-pcap) and pcapng
//! (draft-ietf-opsawg-pcapng), of any byte order and time resolution. Ethernet frames come out as
//! they are, Linux "cooked" ones (SLL, SLL2) with an Ethernet header in the place of their own.
//!
//! A file is a stranger: whatever it says, reading ends with an answer, and keeps no more than
//! [`MAX_RECORD`] bytes of it. The bytes come from whoever opened the file.

mod link;
mod pcap;
mod pcapng;
mod source;

use link::Link;
pub use link::To;
use pcap::Pcap;
use pcapng::Pcapng;
use source::Source;
use std::io::{self, Read};
use std::time::Duration;
use thiserror::Error;

/// The largest record or block that is read: four times libpcap's own largest snapshot length.
pub const MAX_RECORD: usize = 1 << 20;

/// One frame of a capture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// When, since 1970-01-01 UTC.
    pub at: Duration,
    /// What was captured of it, beginning at its Ethernet header.
    pub bytes: &'a [u8],
    /// Bytes it had on the wire, Ethernet header included; never fewer than `bytes`.
    pub length: usize,
    /// Whom it is for.
    pub to: To,
}

/// Why a capture cannot be read, or not further.
#[derive(Debug, Error)]
pub enum CaptureError {
    /// It begins like neither format.
    #[error("neither a pcap nor a pcapng file")]
    Unknown,
    /// Frames of another kind of link.
    #[error("frames of link type {0}{name}: only Ethernet (1) and Linux cooked ones (113, 276) can be replayed", name = link::name(*.0))]
    Link(u32),
    /// What follows makes no sense.
    #[error("damaged at byte {at}: {what}")]
    Damaged {
        /// Where the record or block begins.
        at: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// It ends in the middle of a record: whoever wrote it was cut off.
    #[error("ends in the middle of the record at byte {at}")]
    CutOff {
        /// Where that begins.
        at: u64,
    },
    /// The bytes do not come.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A capture file being read.
#[derive(Debug)]
pub struct Reader<R> {
    source: Source<R>,
    format: Format,
    frame: Vec<u8>,
}

#[derive(Debug)]
enum Format {
    Pcap(Pcap),
    Pcapng(Pcapng),
}

/// A record as either format has it.
#[derive(Clone, Copy, Debug)]
struct Record<'a> {
    at: Duration,
    link: Link,
    bytes: &'a [u8],
    length: usize,
}

/// The byte order of a file, or of a section.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Order::Little => u16::from_le_bytes(bytes),
            Order::Big => u16::from_be_bytes(bytes),
        }
    }

    fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Order::Little => u32::from_le_bytes(bytes),
            Order::Big => u32::from_be_bytes(bytes),
        }
    }
}

impl<R: Read> Reader<R> {
    /// Reads the file's beginning.
    ///
    /// # Errors
    /// It is no capture, or of a kind of link that cannot be replayed.
    pub fn new(input: R) -> Result<Self, CaptureError> {
        let mut source = Source::new(input);
        let Some(magic) = source.begin::<4>()? else {
            return Err(CaptureError::Unknown);
        };
        let format = match magic {
            pcapng::SECTION => Format::Pcapng(Pcapng::open(&mut source)?),
            magic => match Pcap::open(magic, &mut source)? {
                Some(pcap) => Format::Pcap(pcap),
                None => return Err(CaptureError::Unknown),
            },
        };
        Ok(Reader {
            source,
            format,
            frame: Vec::new(),
        })
    }

    /// The next frame; `None` at the file's end. After an error there is no next one.
    ///
    /// # Errors
    /// What follows cannot be read.
    pub fn next_frame(&mut self) -> Result<Option<Frame<'_>>, CaptureError> {
        let record = match &mut self.format {
            Format::Pcap(pcap) => pcap.next(&mut self.source)?,
            Format::Pcapng(pcapng) => pcapng.next(&mut self.source)?,
        };
        Ok(record.map(|record| record.link.frame(record, &mut self.frame)))
    }
}

#[cfg(test)]
mod tests;
