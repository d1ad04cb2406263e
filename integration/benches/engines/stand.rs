//! What all parts share: the far end, figures, and flows that lbd is made to know.

use crate::far_end::{FarEnd, Sent};
use crate::figures::Figures;
use crate::lbd::{Lbd, Setup};
use crate::plan::{ACK, Pace, SYN, Traffic, Transport};
use crate::quiet::Quiet;
use crate::wire::Wire;
use anyhow::{Context, ensure};
use std::time::{Duration, Instant};

/// Frames a second by which lbd is made to know flows, at first; halved until none is lost.
const FIRST_RATE: u64 = 800_000;
const LAST_RATE: u64 = 10_000;

/// Nothing has come back for so long: nothing will.
const QUIET: Duration = Duration::from_millis(30);

/// See the module.
pub struct Stand {
    /// Makes frames, and counts them.
    pub far: FarEnd,
    /// What was measured.
    pub figures: Figures,
    /// How often everything is measured.
    pub rounds: usize,
    quiet: Quiet,
    /// Flows from this number on were never seen by anybody.
    unseen: u64,
}

/// What came of frames.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Sent.
    pub sent: u64,
    /// Returned.
    pub returned: u64,
    /// Until the last one returned.
    pub seconds: f64,
}

impl Outcome {
    /// Million packets a second.
    pub fn mpps(&self) -> f64 {
        self.returned as f64 / self.seconds / 1e6
    }
}

impl Stand {
    /// Builds and loads the far end.
    ///
    /// # Errors
    /// When clang or the kernel refuses.
    pub fn new(rounds: usize) -> anyhow::Result<Stand> {
        Ok(Stand {
            far: FarEnd::load()?,
            figures: Figures::default(),
            rounds,
            quiet: Quiet::new(),
            unseen: 100_000_000,
        })
    }

    /// Lays a wire whose returning frames are counted.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wire(&mut self, name: &str) -> anyhow::Result<Wire> {
        let wire = Wire::new(name);
        self.far.count_on(&wire)?;
        Ok(wire)
    }

    /// A wire with lbd at its end.
    ///
    /// # Errors
    /// When lbd cannot be started.
    pub fn lbd(&mut self, name: &str, setup: Setup) -> anyhow::Result<(Lbd, Wire)> {
        let wire = self.wire(name)?;
        let lbd = Lbd::start(&wire, setup).with_context(|| format!("lbd at {name}"))?;
        self.figures.engine(lbd.engine());
        Ok((lbd, wire))
    }

    /// A part of the benchmark begins.
    pub fn begin_part(&mut self) {
        self.quiet.begin_part();
    }

    /// Waits for a moment in which nobody else uses the machine, in bounds.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn wait_for_quiet(&mut self) -> anyhow::Result<()> {
        self.quiet.wait(&mut self.far)
    }

    /// How quiet it was, in words.
    pub fn quietness(&self) -> String {
        self.quiet.words()
    }

    /// Sends, and waits for what comes back.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn send(&mut self, wire: &Wire, traffic: &Traffic, pace: Pace) -> anyhow::Result<Outcome> {
        self.far.prepare(traffic, pace)?;
        let before = self.far.returned()?;
        let Sent { frames, time } = self.far.send(wire)?;
        let end = Instant::now();
        let (mut count, mut last) = (self.far.returned()?, end);
        while last.elapsed() < QUIET {
            std::thread::sleep(Duration::from_millis(1));
            let now = self.far.returned()?;
            if now != count {
                (count, last) = (now, Instant::now());
            }
        }
        Ok(Outcome {
            sent: frames,
            returned: count - before,
            seconds: (time + (last - end)).as_secs_f64(),
        })
    }

    /// Makes lbd know every flow of `traffic`: each is sent more than once, slowly enough for all to
    /// come back.
    ///
    /// # Errors
    /// When some do not come back however slowly they are sent.
    pub fn make_known(&mut self, wire: &Wire, traffic: &Traffic) -> anyhow::Result<()> {
        let passes: &[Transport] = match traffic.transport {
            Transport::Udp => &[Transport::Udp; 2],
            Transport::Tcp(_) => &[
                Transport::Tcp(SYN),
                Transport::Tcp(ACK),
                Transport::Tcp(ACK),
            ],
        };
        let mut rate = FIRST_RATE;
        for &transport in passes {
            let all = Traffic {
                transport,
                unfinished: 0,
                ..traffic.in_turn()
            };
            loop {
                let outcome = self.send(wire, &all, Pace::per_second(all.flows, rate))?;
                if outcome.returned == outcome.sent {
                    break;
                }
                ensure!(
                    rate > LAST_RATE,
                    "at {rate} a second {} of {} came back",
                    outcome.returned,
                    outcome.sent
                );
                rate /= 2;
            }
        }
        Ok(())
    }

    /// The numbers of so many flows that nobody has seen, and will not be given again.
    pub fn unseen(&mut self, traffic: Traffic, flows: u64) -> Traffic {
        let first = self.unseen;
        self.unseen += flows;
        Traffic {
            first,
            flows,
            ..traffic.in_turn()
        }
    }
}
