//! The hash table in which the program finds a service by what clients dial: `endpoints` of
//! `bpf/maps.h`. Its keys come from the configuration, so its hash needs no secret.

use super::record::{ABSENT_SERVICE, KeyRecord, ServiceRecord};
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

/// How far from its own place a key may stand.
const PLACES: usize = 4;

/// Words of an element.
pub const WORDS: usize = 8;

/// Words of a key, and where its halves begin.
const HALVES_AT: [usize; 2] = [4, 6];

/// Elements of a table of 2^`bits` places.
pub fn elements(bits: u32) -> usize {
    (1 << bits) + PLACES - 1
}

/// The table, and what stands in it.
pub struct Endpoints {
    memory: &'static [AtomicU64],
    bits: u32,
    known: BTreeMap<KeyRecord, (usize, [ServiceRecord; 2])>,
    taken: Vec<bool>,
}

impl Endpoints {
    /// On memory of [`elements`] for `bits`, all zero.
    pub fn new(memory: &'static [AtomicU64], bits: u32) -> Self {
        Endpoints {
            memory,
            bits,
            known: BTreeMap::new(),
            taken: vec![false; elements(bits)],
        }
    }

    /// Writes what is dialled in a snapshot to `half`, which is not in force. Returns how many found no
    /// place: the program declines those.
    pub fn write(&mut self, half: usize, wanted: &BTreeMap<KeyRecord, ServiceRecord>) -> usize {
        let gone: Vec<KeyRecord> = self.known.keys().copied().collect();
        for key in gone.iter().filter(|key| !wanted.contains_key(*key)) {
            self.put(key, half, ABSENT_SERVICE);
        }
        let homeless = |key: &&KeyRecord| !self.known.contains_key(*key) && !self.settle(key);
        let homeless = wanted.keys().filter(homeless).count();
        for (key, record) in wanted {
            self.put(key, half, *record);
        }
        homeless
    }

    /// Finds a place for a key and writes it there.
    fn settle(&mut self, key: &KeyRecord) -> bool {
        let own = place(key, self.bits);
        let Some(at) = (own..own + PLACES).find(|at| !self.taken[*at]) else {
            return false;
        };
        self.taken[at] = true;
        for (word, value) in self.memory[at * WORDS..].iter().zip(key) {
            word.store(*value, Release);
        }
        self.known.insert(*key, (at, [ABSENT_SERVICE; 2]));
        true
    }

    fn put(&mut self, key: &KeyRecord, half: usize, new: ServiceRecord) {
        let Some((at, halves)) = self.known.get_mut(key) else {
            return;
        };
        if halves[half] != new {
            halves[half] = new;
            let words = &self.memory[*at * WORDS + HALVES_AT[half]..];
            for (word, value) in words.iter().zip(new) {
                word.store(value, Relaxed);
            }
        }
        if *halves == [ABSENT_SERVICE; 2] && new == ABSENT_SERVICE {
            self.taken[*at] = false;
            self.known.remove(key);
        }
    }
}

/// Where a key belongs: the program reckons alike.
fn place(key: &KeyRecord, bits: u32) -> usize {
    let [high, low, port_protocol] = *key;
    let mixed = low
        .wrapping_add(high.rotate_left(23))
        .wrapping_add(port_protocol)
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - bits)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memory(bits: u32) -> &'static [AtomicU64] {
        let words = elements(bits) * WORDS;
        let memory: Vec<_> = (0..words).map(|_| AtomicU64::new(0)).collect();
        memory.leak()
    }

    fn key(n: u64) -> KeyRecord {
        [0, (0xc000_0200 + n) << 32 | 0xffff_0000, 0x06_bb01]
    }

    /// As the program reads it.
    fn read(memory: &[AtomicU64], bits: u32, wanted: &KeyRecord, half: usize) -> ServiceRecord {
        let own = place(wanted, bits);
        let found = (own..own + PLACES).find(|at| {
            let words = &memory[at * WORDS..];
            (0..3).all(|n| words[n].load(Relaxed) == wanted[n])
        });
        found.map_or(ABSENT_SERVICE, |at| {
            let words = &memory[at * WORDS + HALVES_AT[half]..];
            [words[0].load(Relaxed), words[1].load(Relaxed)]
        })
    }

    #[test]
    fn both_halves_are_followed_and_places_used_again() {
        const BITS: u32 = 10;
        let memory = memory(BITS);
        let mut endpoints = Endpoints::new(memory, BITS);
        for round in 0..40 {
            let (half, other) = (round % 2, 1 - round % 2);
            let before: Vec<_> = (0..400)
                .map(|n| read(memory, BITS, &key(n), other))
                .collect();
            // Each round has other keys, and a record of its own.
            let keys = (0..400).filter(|n| !(*n as usize + round).is_multiple_of(3));
            let wanted: BTreeMap<_, _> = keys.map(|n| (key(n), [n + 1, round as u64])).collect();
            assert_eq!(endpoints.write(half, &wanted), 0);
            for n in 0..400 {
                let expected = wanted.get(&key(n)).copied().unwrap_or(ABSENT_SERVICE);
                assert_eq!(
                    read(memory, BITS, &key(n), half),
                    expected,
                    "{n} in round {round}"
                );
                assert_eq!(read(memory, BITS, &key(n), other), before[n as usize]);
            }
        }
        endpoints.write(0, &BTreeMap::new());
        endpoints.write(1, &BTreeMap::new());
        assert!(endpoints.known.is_empty() && !endpoints.taken.contains(&true));
    }

    #[test]
    fn who_finds_no_place_is_told_of_and_the_others_stay() {
        let memory = memory(2);
        let mut endpoints = Endpoints::new(memory, 2);
        let wanted: BTreeMap<_, _> = (0..40).map(|n| (key(n), [n + 1, 7])).collect();
        let homeless = endpoints.write(0, &wanted);
        let placed = (0..40).filter(|n| read(memory, 2, &key(*n), 0) == [n + 1, 7]);
        assert_eq!(placed.count() + homeless, 40);
        assert!(homeless >= 40 - elements(2));
    }
}
