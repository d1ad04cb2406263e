//! The sockets clients speak to: one for each VIP:port, shared with the other workers' by
//! SO_REUSEPORT. The kernel spreads clients over them by a hash of both ends, so one client's
//! datagrams come to one worker.

use super::super::poller::{Flags, Token};
use super::super::tcp::Scene;
use super::Udp;
use crate::live::{Outcome, Way};
use crate::sys::{datagrams, transparent};
use lbcore::net::ServiceKey;
use socket2::Socket;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// A VIP socket's receive queue, in bytes with the kernel's overhead: some thousand small datagrams,
/// or tens of milliseconds of a flood.
const QUEUE: usize = 4 << 20;

/// One VIP:port.
#[derive(Debug)]
pub(super) struct Listener {
    pub key: ServiceKey,
    pub address: SocketAddr,
    pub socket: Socket,
    /// Datagrams its queue has lost, as counted so far.
    lost: u32,
}

/// A worker's VIP sockets, by number, and what it would listen on.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    places: Vec<Option<Listener>>,
    wanted: Vec<ServiceKey>,
    trouble: Vec<String>,
}

impl Listeners {
    #[inline]
    pub fn get(&self, number: u16) -> Option<&Listener> {
        self.places.get(usize::from(number))?.as_ref()
    }

    pub fn key(&self, number: u16) -> Option<ServiceKey> {
        Some(self.get(number)?.key)
    }

    fn has(&self, key: &ServiceKey) -> bool {
        self.places
            .iter()
            .flatten()
            .any(|listener| listener.key == *key)
    }

    /// Adds what queues have lost since the last time.
    pub fn count_lost(&mut self, scene: &Scene<'_>) {
        for listener in self.places.iter_mut().flatten() {
            listener.count_lost(scene);
        }
    }

    fn open_missing(&mut self, scene: &Scene<'_>) {
        self.trouble.clear();
        for key in self.wanted.clone() {
            if self.has(&key) {
                continue;
            }
            if let Err(error) = self.add(key, scene) {
                self.trouble.push(format!("{key}: {error}"));
            }
        }
    }

    fn add(&mut self, key: ServiceKey, scene: &Scene<'_>) -> io::Result<()> {
        let free = self.places.iter().position(Option::is_none);
        let at = free.unwrap_or(self.places.len());
        let number = u16::try_from(at).map_err(|_| io::Error::other("too many endpoints"))?;
        let address = SocketAddr::new(key.vip.ip(), key.port);
        let socket = transparent::udp_listen(address)?;
        datagrams::set_queue(socket.as_fd(), QUEUE)?;
        // Before Linux 5.0 every datagram comes alone, which is slower, not wrong.
        let _ = datagrams::join_received(socket.as_fd());
        let token = Token::Datagrams(u32::from(number));
        scene.poller.add(&socket, token, Flags::IN)?;
        let listener = Some(Listener {
            key,
            address,
            socket,
            lost: 0,
        });
        match self.places.get_mut(at) {
            Some(place) => *place = listener,
            None => self.places.push(listener),
        }
        Ok(())
    }
}

impl Listener {
    fn count_lost(&mut self, scene: &Scene<'_>) {
        if let Ok(queue) = datagrams::queue(self.socket.as_fd()) {
            let more = queue.lost.wrapping_sub(self.lost);
            let way = scene.mine().datagrams.of(Way::ToReal);
            way.lost.add(u64::from(more));
            self.lost = queue.lost;
        }
    }
}

impl Udp {
    /// Receives on `endpoints`, and on nothing else: sessions of others end. Says which cannot be
    /// had, and why.
    pub fn listen(&mut self, endpoints: Vec<ServiceKey>, scene: &Scene<'_>) -> Vec<String> {
        for number in 0..self.listeners.places.len() {
            let place = &mut self.listeners.places[number];
            let gone = place.take_if(|listener| !endpoints.contains(&listener.key));
            if let Some(mut gone) = gone {
                gone.count_lost(scene);
                self.end_of_listener(number, scene);
            }
        }
        self.listeners.wanted = endpoints;
        self.listeners.open_missing(scene);
        self.listeners.trouble.clone()
    }

    /// Tries again what could not be had; what is still in trouble, if that has changed.
    pub fn retry_listeners(&mut self, scene: &Scene<'_>) -> Option<Vec<String>> {
        if self.listeners.trouble.is_empty() {
            return None;
        }
        let before = std::mem::take(&mut self.listeners.trouble);
        self.listeners.open_missing(scene);
        (self.listeners.trouble != before).then(|| self.listeners.trouble.clone())
    }

    fn end_of_listener(&mut self, number: usize, scene: &Scene<'_>) {
        let its = |key: &super::SessionKey| usize::from(key.listener) == number;
        let matching = self.sessions.iter().filter(|(_, key, _)| its(key));
        let slots: Vec<_> = matching.map(|(slot, _, _)| slot).collect();
        for slot in slots {
            self.end(slot, Outcome::RealGone, scene);
        }
    }
}
