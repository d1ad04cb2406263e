//! A worker's epoll, edge-triggered for connections: what was reported is not reported again until
//! something new happens, so a relay costs no re-registration.

use super::slab::{Key, TURNS};
use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

pub use rustix::event::epoll::EventFlags as Flags;

/// Events taken from the kernel at once.
const BATCH: usize = 256;

/// Whom an event is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The worker itself: somebody put something into its mailbox.
    Mailbox,
    /// The TCP listener at this place.
    Listener(u32),
    /// A connection's client side.
    Client(Key),
    /// A connection's real side.
    Real(Key),
    /// The UDP socket of a VIP with this number.
    Datagrams(u32),
    /// The UDP session at this place. One that comes late finds another's socket without news.
    Session(u32),
}

impl Token {
    fn data(self) -> epoll::EventData {
        let (kind, turn, place) = match self {
            Token::Mailbox => (0, 0, 0),
            Token::Listener(at) => (1, 0, at),
            Token::Client(key) => (2, key.turn, key.place),
            Token::Real(key) => (3, key.turn, key.place),
            Token::Datagrams(number) => (4, 0, number),
            Token::Session(place) => (5, 0, place),
        };
        let high: u32 = kind * TURNS + turn;
        epoll::EventData::new_u64(u64::from(high) << 32 | u64::from(place))
    }

    fn from_data(data: epoll::EventData) -> Self {
        let (high, place) = ((data.u64() >> 32) as u32, data.u64() as u32);
        let key = Key {
            place,
            turn: high % TURNS,
        };
        match high / TURNS {
            0 => Token::Mailbox,
            1 => Token::Listener(place),
            2 => Token::Client(key),
            3 => Token::Real(key),
            4 => Token::Datagrams(place),
            _ => Token::Session(place),
        }
    }
}

/// One thing that happened.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// To whom.
    pub token: Token,
    /// What.
    pub flags: Flags,
}

/// An epoll instance.
#[derive(Debug)]
pub struct Poller {
    epoll: OwnedFd,
}

impl Poller {
    /// A new one.
    ///
    /// # Errors
    /// The kernel's: EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        Ok(Poller {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
        })
    }

    /// Reports `flags` of `source` to `token` from now on. Closing the descriptor ends it.
    pub fn add(&self, source: impl AsFd, token: Token, flags: Flags) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, source, token.data(), flags)?)
    }

    /// Reports other `flags` from now on; what is already so is reported at once.
    pub fn change(&self, source: impl AsFd, token: Token, flags: Flags) -> io::Result<()> {
        Ok(epoll::modify(&self.epoll, source, token.data(), flags)?)
    }

    /// Waits until something happens or `timeout` has passed, and fills `events` with it.
    pub fn wait(&self, events: &mut Events, timeout: Duration) -> io::Result<()> {
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(timeout.subsec_nanos()),
        };
        events.0.clear();
        let room = rustix::buffer::spare_capacity(&mut events.0);
        match epoll::wait(&self.epoll, room, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// What [`Poller::wait`] fills.
pub struct Events(Vec<epoll::Event>);

impl Default for Events {
    fn default() -> Self {
        Events(Vec::with_capacity(BATCH))
    }
}

impl Events {
    /// What happened, in the kernel's order.
    pub fn iter(&self) -> impl Iterator<Item = Event> {
        self.0.iter().map(|event| Event {
            token: Token::from_data(event.data),
            flags: event.flags,
        })
    }
}

/// Wakes a worker from another thread.
#[derive(Debug)]
pub struct Waker(OwnedFd);

impl Waker {
    /// A new one.
    ///
    /// # Errors
    /// The kernel's: EMFILE, ENFILE, ENOMEM.
    pub fn new() -> io::Result<Self> {
        Ok(Waker(eventfd(
            0,
            EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK,
        )?))
    }

    /// Registers with the worker's poller.
    pub fn register(&self, poller: &Poller) -> io::Result<()> {
        poller.add(&self.0, Token::Mailbox, Flags::IN | Flags::ET)
    }

    /// The worker looks into its mailbox. An edge is reported for every write, so nobody reads the
    /// count; that it cannot overflow within 2^64 writes needs no handling.
    pub fn wake(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_survive_the_kernel() {
        let key = Key {
            place: u32::MAX,
            turn: TURNS - 1,
        };
        for token in [
            Token::Mailbox,
            Token::Listener(7),
            Token::Client(key),
            Token::Real(key),
            Token::Datagrams(8),
            Token::Session(u32::MAX),
        ] {
            assert_eq!(Token::from_data(token.data()), token);
        }
    }

    #[test]
    fn every_wake_is_seen() {
        let poller = Poller::new().expect("epoll");
        let waker = Waker::new().expect("eventfd");
        waker.register(&poller).expect("registered");
        let mut events = Events::default();
        for _ in 0..3 {
            waker.wake();
            poller
                .wait(&mut events, Duration::from_secs(5))
                .expect("waited");
            let seen: Vec<_> = events.iter().map(|e| e.token).collect();
            assert_eq!(seen, [Token::Mailbox]);
        }
        poller.wait(&mut events, Duration::ZERO).expect("waited");
        assert_eq!(events.iter().count(), 0);
    }
}
