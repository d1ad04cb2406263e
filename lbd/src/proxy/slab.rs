//! Numbered places for a worker's connections. A place's number with its turn names one tenant for
//! ever: an event that comes late, for a tenant that is gone, finds nobody.

/// The places.
#[derive(Debug)]
pub struct Slab<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place<T> {
    turn: u32,
    tenant: Option<T>,
}

/// Names one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Which place.
    pub place: u32,
    /// Which of the place's tenants, modulo [`TURNS`].
    pub turn: u32,
}

/// Turns are counted modulo this, so that a key fits an epoll token beside a tag.
pub const TURNS: u32 = 1 << 22;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Slab {
            places: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T> Slab<T> {
    /// The key the next tenant will have.
    pub fn next_key(&self) -> Key {
        match self.free.last() {
            Some(&place) => Key {
                place,
                turn: self.places[place as usize].turn,
            },
            None => Key {
                place: u32::try_from(self.places.len()).expect("descriptors are fewer"),
                turn: 0,
            },
        }
    }

    /// Takes a tenant in.
    pub fn insert(&mut self, tenant: T) -> Key {
        let key = self.next_key();
        match self.free.pop() {
            Some(place) => self.places[place as usize].tenant = Some(tenant),
            None => self.places.push(Place {
                turn: 0,
                tenant: Some(tenant),
            }),
        }
        key
    }

    /// The tenant called `key`, if it is still there.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut T> {
        let place = self.places.get_mut(key.place as usize)?;
        place.tenant.as_mut().filter(|_| place.turn == key.turn)
    }

    /// The tenant leaves.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.place as usize)?;
        if place.turn != key.turn {
            return None;
        }
        let tenant = place.tenant.take()?;
        place.turn = (place.turn + 1) % TURNS;
        self.free.push(key.place);
        Some(tenant)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// All tenants with their keys.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut T)> {
        (0..).zip(&mut self.places).filter_map(|(place, p)| {
            let key = Key {
                place,
                turn: p.turn,
            };
            p.tenant.as_mut().map(|tenant| (key, tenant))
        })
    }

    /// All tenants.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().filter_map(|p| p.tenant.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_key_finds_nobody() {
        let mut slab = Slab::default();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_eq!(second.place, first.place);
        assert_eq!(slab.get_mut(first), None);
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.get_mut(second), Some(&mut "b"));
        assert_eq!(slab.len(), 1);
    }

    #[test]
    fn the_next_key_is_told_beforehand() {
        let mut slab = Slab::default();
        for _ in 0..3 {
            let told = slab.next_key();
            assert_eq!(slab.insert(()), told);
        }
        let middle = Key { place: 1, turn: 0 };
        slab.remove(middle);
        let told = slab.next_key();
        assert_eq!((told.place, told.turn), (1, 1));
        assert_eq!(slab.insert(()), told);
    }
}
