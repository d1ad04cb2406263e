//! Signals: HUP reloads, TERM and INT stop in order, USR2 stops and leaves what the next lbd
//! takes over.

use super::reconciler::Trigger;
use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};

/// How to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Take everything down.
    Clean,
    /// Leave guard, flow table and set for the next lbd.
    HandOver,
}

/// The signals lbd hears.
#[derive(Debug)]
pub struct Signals {
    hup: Signal,
    term: Signal,
    int: Signal,
    usr2: Signal,
}

impl Signals {
    /// Hears them from now on; before that they would end the process.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn new() -> io::Result<Self> {
        Ok(Signals {
            hup: signal(SignalKind::hangup())?,
            term: signal(SignalKind::terminate())?,
            int: signal(SignalKind::interrupt())?,
            usr2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Passes reloads on until one of the others says stop.
    pub async fn until_stop(&mut self, reloads: &mpsc::Sender<Trigger>) -> Stop {
        loop {
            let (name, stop) = tokio::select! {
                _ = self.hup.recv() => {
                    if reloads.try_send(Trigger::Unattended("SIGHUP")).is_err() {
                        warn!("a reload is waiting already; this SIGHUP adds nothing");
                    }
                    continue;
                }
                _ = self.term.recv() => ("SIGTERM", Stop::Clean),
                _ = self.int.recv() => ("SIGINT", Stop::Clean),
                _ = self.usr2.recv() => ("SIGUSR2", Stop::HandOver),
            };
            info!(signal = name, "stopping");
            return stop;
        }
    }
}
