//! What systemd is told (sd_notify(3)); nothing is done where nobody listens.

use crate::sys::clock;
use sd_notify::NotifyState;
use std::time::Duration;
use tracing::debug;

/// Tells systemd, and remembers what it was told.
#[derive(Debug)]
pub struct Notifier {
    status: String,
    watchdog: Option<u64>,
    fed_ms: u64,
}

impl Notifier {
    /// Learns from the environment whether a watchdog waits.
    pub fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Notifier {
            status: String::new(),
            watchdog: watchdog.map(|w: Duration| (w.as_millis() / 3) as u64),
            fed_ms: 0,
        }
    }

    fn tell(states: &[NotifyState<'_>]) {
        if let Err(error) = sd_notify::notify(states) {
            debug!(%error, "systemd could not be told");
        }
    }

    /// READY=1.
    pub fn ready(&self) {
        Self::tell(&[NotifyState::Ready]);
    }

    /// RELOADING=1 with the time systemd asks for.
    pub fn reloading(&self) {
        match NotifyState::monotonic_usec_now() {
            Ok(now) => Self::tell(&[NotifyState::Reloading, now]),
            Err(error) => debug!(%error, "no clock for systemd"),
        }
    }

    /// The reload is over. `ready`: lbd had said so before.
    pub fn ready_again(&self, ready: bool) {
        if ready {
            Self::tell(&[NotifyState::Ready]);
        }
    }

    /// STOPPING=1.
    pub fn stopping() {
        Self::tell(&[NotifyState::Stopping]);
    }

    /// The line `systemctl status` shows; told when it changes.
    pub fn status(&mut self, status: &str) {
        if self.status != status {
            self.status = status.to_owned();
            Self::tell(&[NotifyState::Status(status)]);
        }
    }

    /// Feeds the watchdog three times per period.
    pub fn alive(&mut self) {
        let now = clock::now().0;
        if let Some(every) = self.watchdog
            && now.saturating_sub(self.fed_ms) >= every
        {
            self.fed_ms = now;
            Self::tell(&[NotifyState::Watchdog]);
        }
    }
}
