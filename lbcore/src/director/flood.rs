//! Flood mode: when new flows come faster than the table can forget handshakes, and it is filling
//! up, new ones are no longer remembered; the ring answers for them.

use crate::time::Tick;

/// The table forgets an unfinished handshake after this many seconds: more new flows a second than
/// `capacity / 60` would fill it with handshakes alone.
const HANDSHAKE_SECS: usize = 60;

/// One worker's flood gauge, with hysteresis.
#[derive(Debug)]
pub struct Flood {
    capacity: usize,
    on: bool,
    began: u64,
    window: Tick,
}

impl Flood {
    /// For a table of `capacity` flows.
    pub fn new(capacity: usize) -> Self {
        Flood {
            capacity,
            on: false,
            began: 0,
            window: Tick(0),
        }
    }

    /// Whether new flows are not to be remembered now.
    #[inline]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// A flow began.
    #[inline]
    pub fn began(&mut self) {
        self.began += 1;
    }

    /// So many flows began.
    pub fn add(&mut self, flows: u64) {
        self.began = self.began.saturating_add(flows);
    }

    /// Once a second or more often: judges the last second. `used`: flows in the table. Goes on
    /// when the table is half full and new flows outrun it; goes off when either is no longer so,
    /// by a wide margin.
    pub fn tick(&mut self, now: Tick, used: impl FnOnce() -> usize) {
        let elapsed = now.since(self.window);
        if elapsed < 1000 {
            return;
        }
        let rate = usize::try_from(self.began.saturating_mul(1000) / elapsed).unwrap_or(usize::MAX);
        let limit = self.capacity / HANDSHAKE_SECS;
        let used = used();
        self.on = if self.on {
            rate > limit / 2 && used > self.capacity * 3 / 8
        } else {
            rate > limit && used > self.capacity / 2
        };
        self.began = 0;
        self.window = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(flood: &mut Flood, at: u64, flows: u64, used: usize) -> bool {
        (0..flows).for_each(|_| flood.began());
        flood.tick(Tick(at * 1000), || used);
        flood.is_on()
    }

    #[test]
    fn goes_on_only_when_fast_and_filling_and_off_with_a_margin() {
        let mut flood = Flood::new(60_000);
        assert!(
            !second(&mut flood, 1, 5_000, 10_000),
            "fast, but there is room"
        );
        assert!(!second(&mut flood, 2, 500, 50_000), "full, but slow");
        assert!(second(&mut flood, 3, 1_500, 31_000), "fast and filling");
        assert!(
            second(&mut flood, 4, 800, 31_000),
            "still more than half the limit"
        );
        assert!(!second(&mut flood, 5, 400, 31_000), "slow again");
    }
}
