//! Waits for moments in which nobody else uses the machine: two virtual cores often share one, and what
//! runs on the other then halves the speed of this one.

use crate::far_end::FarEnd;
use crate::plan::Traffic;
use crate::wire::Wire;
use std::time::{Duration, Instant};

/// Frames of a look: about a millisecond.
const FRAMES: u32 = 20_000;
/// Slower than the quickest look by this part, somebody else is at work.
const ALLOWED: f64 = 1.2;
/// All waiting for one turn, and in one part of the benchmark: a machine may never be quiet.
const FOR_A_TURN: Duration = Duration::from_secs(2);
const FOR_A_PART: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// See the module.
pub struct Quiet {
    wire: Wire,
    quickest: f64,
    waited: Duration,
    /// Turns that began in a quiet moment, and those that did not.
    quiet: u64,
    disturbed: u64,
}

impl Quiet {
    /// Nobody has looked yet.
    pub fn new() -> Quiet {
        Quiet {
            wire: Wire::new("quiet"),
            quickest: f64::INFINITY,
            waited: Duration::ZERO,
            quiet: 0,
            disturbed: 0,
        }
    }

    /// A part of the benchmark begins: there is time to wait again.
    pub fn begin_part(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// Waits for a quiet moment, in bounds.
    ///
    /// # Errors
    /// When the kernel refuses to run the empty program.
    pub fn wait(&mut self, far: &mut FarEnd) -> anyhow::Result<()> {
        let (begin, empty) = (Instant::now(), far.empty()?);
        loop {
            let cost = far.run_alone(&empty, &self.wire, &Traffic::udp(1000), FRAMES)?;
            self.quickest = self.quickest.min(cost);
            if cost <= self.quickest * ALLOWED {
                self.quiet += 1;
                break;
            }
            if begin.elapsed() > FOR_A_TURN || self.waited + begin.elapsed() > FOR_A_PART {
                self.disturbed += 1;
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        self.waited += begin.elapsed();
        Ok(())
    }

    /// How quiet it was, in words.
    pub fn words(&self) -> String {
        format!(
            "{} of {} turns began while something else ran on this machine",
            self.disturbed,
            self.quiet + self.disturbed
        )
    }
}
