//! What systemd is told (sd_notify(3)); nothing is done where nobody listens.

use crate::sys::clock;
use lbcore::time::Tick;
use sd_notify::NotifyState;
use std::time::Duration;
use tracing::debug;

/// Tells systemd, and remembers what it was told.
#[derive(Debug)]
pub struct Notifier {
    status: String,
    watchdog: Option<u64>,
    fed_ms: u64,
    /// When it was last asked to wait on.
    asked: Option<Tick>,
}

/// As long as systemd waits on after it was asked to.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is asked: three times before its patience ends.
const PATIENCE_EVERY: Duration = Duration::from_secs(10);

/// Asks systemd to wait on, again and again, and never ends: for a stop that takes as long as
/// `shutdown_timeout` says.
pub async fn stay_patient() {
    loop {
        Notifier::ask_for_patience();
        tokio::time::sleep(PATIENCE_EVERY).await;
    }
}

impl Notifier {
    /// Learns from the environment whether a watchdog waits.
    pub fn new() -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Notifier {
            status: String::new(),
            watchdog: watchdog.map(|w: Duration| (w.as_millis() / 3) as u64),
            fed_ms: 0,
            asked: None,
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

    /// Not ready yet, and all is well: systemd waits for [`PATIENCE`] from now, whatever its limit for a
    /// start (EXTEND_TIMEOUT_USEC). It is asked once a [`PATIENCE_EVERY`], however often this is called.
    pub fn wait_on(&mut self) {
        let now = clock::now();
        if self.asked.is_none_or(|asked| now >= asked + PATIENCE_EVERY) {
            self.asked = Some(now);
            Self::ask_for_patience();
        }
    }

    fn ask_for_patience() {
        let micros = u32::try_from(PATIENCE.as_micros()).unwrap_or(u32::MAX);
        Self::tell(&[NotifyState::ExtendTimeoutUsec(micros)]);
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
