//! A hash for streams: not what a bulk test measures.

/// FNV-1a over eight bytes at a time: quick enough not to be what a bulk test measures.
#[derive(Debug)]
pub struct Fnv {
    hash: u64,
    rest: Vec<u8>,
}

impl Fnv {
    /// The hash of nothing.
    pub fn new() -> Fnv {
        Fnv {
            hash: 0xcbf2_9ce4_8422_2325,
            rest: Vec::with_capacity(8),
        }
    }

    /// Adds bytes; how they are cut into calls makes no difference.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !self.rest.is_empty() && !bytes.is_empty() {
            self.rest.push(bytes[0]);
            bytes = &bytes[1..];
            if self.rest.len() == 8 {
                let word = std::mem::take(&mut self.rest);
                self.step(&word);
            }
        }
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            self.step(word);
        }
        self.rest.extend_from_slice(words.remainder());
    }

    /// The hash of all so far.
    pub fn finish(mut self) -> u64 {
        let mut rest = std::mem::take(&mut self.rest);
        rest.resize(8, 0xff);
        self.step(&rest);
        self.hash
    }

    fn step(&mut self, word: &[u8]) {
        let word = word.try_into().map_or(0, u64::from_be_bytes);
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
    }
}

impl Default for Fnv {
    fn default() -> Fnv {
        Fnv::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_does_not_see_how_bytes_are_cut() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut whole = Fnv::new();
        whole.update(&bytes);
        let mut cut = Fnv::new();
        for piece in bytes.chunks(3) {
            cut.update(piece);
        }
        assert_eq!(whole.finish(), cut.finish());
        let mut other = Fnv::new();
        other.update(&bytes[1..]);
        let mut whole = Fnv::new();
        whole.update(&bytes);
        assert_ne!(whole.finish(), other.finish());
    }
}
