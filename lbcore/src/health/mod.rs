//! How reals are judged: rise and fall counting, the verdict of several checks together, and
//! which probe is due when. All of it works on results and ticks that come in; the daemon's
//! probes do the asking.

pub mod certificate;
mod damping;
pub mod dns;
pub mod grpc;
mod handshakes;
pub mod kubernetes;
mod passive;
mod random;
mod real;
mod timetable;
mod tracker;

#[cfg(test)]
mod tests;

pub use damping::Damping;
pub use handshakes::{Handshakes, Unanswered};
pub use passive::Ejections;
pub use random::Random;
pub use real::{Real, Recorded};
pub use timetable::{Pace, Timetable};
pub use tracker::{ProbeResult, State, Tempo, Tracker, Transition};
