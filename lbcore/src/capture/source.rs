//! The bytes of a file, record by record: it knows where each begins, and holds one at a time.

use super::{CaptureError, MAX_RECORD};
use std::io::{self, ErrorKind, Read};

/// See the module.
#[derive(Debug)]
pub(super) struct Source<R> {
    input: R,
    /// Bytes read so far.
    at: u64,
    /// Where the record being read begins.
    begun: u64,
    held: Vec<u8>,
}

impl<R: Read> Source<R> {
    pub fn new(input: R) -> Self {
        Source {
            input,
            at: 0,
            begun: 0,
            held: Vec::new(),
        }
    }

    /// The first `N` bytes of the next record; `None` if the file ends before it.
    pub fn begin<const N: usize>(&mut self) -> Result<Option<[u8; N]>, CaptureError> {
        self.begun = self.at;
        let mut bytes = [0; N];
        match self.fill(&mut bytes)? {
            0 => Ok(None),
            n if n == N => Ok(Some(bytes)),
            _ => Err(self.cut_off()),
        }
    }

    /// The next `N` bytes of the record.
    pub fn more<const N: usize>(&mut self) -> Result<[u8; N], CaptureError> {
        let mut bytes = [0; N];
        match self.fill(&mut bytes)? {
            n if n == N => Ok(bytes),
            _ => Err(self.cut_off()),
        }
    }

    /// The next `len` bytes of the record, held until the next call.
    pub fn take(&mut self, len: usize) -> Result<&[u8], CaptureError> {
        if len > MAX_RECORD {
            return Err(self.damaged("a record larger than any frame"));
        }
        let mut held = std::mem::take(&mut self.held);
        held.resize(len, 0);
        let read = self.fill(&mut held);
        self.held = held;
        match read? {
            n if n == len => Ok(&self.held),
            _ => Err(self.cut_off()),
        }
    }

    /// What was taken last.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Passes over the next `len` bytes of the record.
    pub fn skip(&mut self, len: u64) -> Result<(), CaptureError> {
        let skipped = io::copy(&mut self.input.by_ref().take(len), &mut io::sink())?;
        self.at += skipped;
        match skipped {
            n if n == len => Ok(()),
            _ => Err(self.cut_off()),
        }
    }

    /// The record being read makes no sense.
    pub fn damaged(&self, what: &'static str) -> CaptureError {
        let at = self.begun;
        CaptureError::Damaged { at, what }
    }

    fn cut_off(&self) -> CaptureError {
        CaptureError::CutOff { at: self.begun }
    }

    /// Fills `bytes` as far as the file goes.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<usize, CaptureError> {
        let mut filled = 0;
        while filled < bytes.len() {
            match self.input.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.at += filled as u64;
        Ok(filled)
    }
}
