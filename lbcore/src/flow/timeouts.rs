//! How long a silent flow is remembered: IPVS's values (Linux `ip_vs_proto_tcp.c`), with the
//! service's `idle_timeout` for flows in use.

use super::{Entry, State};
use crate::time::Tick;
use std::time::Duration;

const SYN_RECV_MS: u64 = 60_000;
const ADOPTED_MS: u64 = 60_000;
const FIN_WAIT_MS: u64 = 120_000;
const TIME_WAIT_MS: u64 = 120_000;
const CLOSE_MS: u64 = 10_000;

/// The timeouts of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    idle_ms: u64,
}

impl Timeouts {
    /// `idle_timeout` of a TCP service that names none.
    pub const TCP_IDLE: Duration = Duration::from_secs(900);

    /// `idle_timeout` of a UDP service that names none.
    pub const UDP_IDLE: Duration = Duration::from_secs(300);

    /// The timeouts of a service with this `idle_timeout`.
    pub fn new(idle: Duration) -> Self {
        Timeouts {
            idle_ms: u64::try_from(idle.as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Milliseconds of the service's own `idle_timeout`.
    pub fn idle_ms(&self) -> u64 {
        self.idle_ms
    }

    /// Milliseconds without a packet after which a flow in `state` is forgotten.
    #[inline]
    pub fn of(&self, state: State) -> u64 {
        match state {
            State::SynRecv | State::SynReset => SYN_RECV_MS,
            State::Adopted => ADOPTED_MS,
            State::FinWait => FIN_WAIT_MS,
            State::TimeWait => TIME_WAIT_MS,
            State::Close => CLOSE_MS,
            State::Established | State::Udp | State::UdpNew => self.idle_ms,
        }
    }

    /// Milliseconds until a flow is forgotten, if nothing comes.
    pub fn left(&self, entry: &Entry, now: Tick) -> u64 {
        self.of(entry.state).saturating_sub(entry.idle_ms(now))
    }

    /// Whether a flow has been silent for too long.
    #[inline]
    pub fn expired(&self, entry: &Entry, now: Tick) -> bool {
        entry.idle_ms(now) > self.of(entry.state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Coarse;
    use crate::id::{Epoch, RealId};

    #[test]
    fn a_flow_expires_after_its_states_timeout() {
        let timeouts = Timeouts::new(Timeouts::TCP_IDLE);
        let seen = Tick(64_000);
        for (state, seconds) in [
            (State::SynRecv, 60),
            (State::Established, 900),
            (State::Close, 10),
        ] {
            let entry = Entry {
                real: RealId(1),
                epoch: Epoch::default(),
                state,
                seen: Coarse::at(seen),
            };
            let due = seen + Duration::from_secs(seconds);
            assert!(!timeouts.expired(&entry, due), "{state:?}");
            assert!(
                timeouts.expired(&entry, due + Duration::from_millis(64)),
                "{state:?}"
            );
        }
    }
}
