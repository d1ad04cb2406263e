//! Bytes that are known by their place in a stream: what is lost, doubled or swapped on the way
//! shows at once, and nothing is stored.

/// After this many bytes the pattern begins again: a prime, so that no buffer's size divides it.
const PERIOD: usize = 65_521;

/// See the module.
#[derive(Debug)]
pub struct Pattern {
    /// Two periods, so that a piece can begin anywhere in the first.
    bytes: Vec<u8>,
}

impl Pattern {
    /// The pattern.
    pub fn new() -> Pattern {
        let byte = |i: usize| (((i % PERIOD) * 31) >> 3) as u8;
        Pattern {
            bytes: (0..2 * PERIOD).map(byte).collect(),
        }
    }

    /// Up to `length` bytes (and no more than a period) of the stream from place `at` on.
    pub fn piece(&self, at: u64, length: u64) -> &[u8] {
        let from = (at % PERIOD as u64) as usize;
        &self.bytes[from..from + length.min(PERIOD as u64) as usize]
    }

    /// Whether `bytes` are what the stream holds from place `at` on.
    pub fn is_at(&self, at: u64, bytes: &[u8]) -> bool {
        let mut at = at;
        bytes.chunks(PERIOD).all(|chunk| {
            let same = self.piece(at, chunk.len() as u64) == chunk;
            at += chunk.len() as u64;
            same
        })
    }
}

impl Default for Pattern {
    fn default() -> Pattern {
        Pattern::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_lost_shows() {
        let pattern = Pattern::new();
        let mut stream = pattern.piece(1000, 60_000).to_vec();
        assert!(pattern.is_at(1000, &stream));
        assert!(pattern.is_at(1000 + PERIOD as u64, &stream));
        stream.remove(30_000);
        assert!(!pattern.is_at(1000, &stream));
        assert!(!pattern.is_at(1001, pattern.piece(1000, 100)));
    }
}
