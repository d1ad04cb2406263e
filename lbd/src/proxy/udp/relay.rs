//! Datagrams move, a batch at a time.

use super::super::tcp::Scene;
use super::begin::Stranger;
use super::session::SessionKey;
use super::{Standing, Udp, standing};
use crate::live::datagrams::WayCounts;
use crate::live::{DatagramDrop, Outcome, Way};
use crate::sys::datagrams::{BATCH, Inbox, Outgoing, Refused, queue};
use lbcore::net::{Addr, FlowKey, ServiceKey};
use lbcore::session::{Side, Slot};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

/// IP and UDP header, which counters of services and reals include.
const HEADERS_V4: u64 = 28;
const HEADERS_V6: u64 = 48;

/// Some of a batch, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Picked(u32);

const _: () = assert!(BATCH <= 32, "one bit for each");

impl Picked {
    const NONE: Picked = Picked(0);

    fn with(self, index: usize) -> Self {
        Picked(self.0 | 1 << index)
    }

    fn without(self, others: Picked) -> Self {
        Picked(self.0 & !others.0)
    }

    fn first(self) -> Option<usize> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as usize)
    }

    fn iter(self) -> impl Iterator<Item = usize> + Clone {
        let mut left = self;
        std::iter::from_fn(move || {
            let index = left.first()?;
            left.0 &= left.0 - 1;
            Some(index)
        })
    }

    /// Those that `is_it` says.
    fn filter(self, is_it: impl Fn(usize) -> bool) -> Self {
        self.iter()
            .filter(|index| is_it(*index))
            .fold(Picked::NONE, Picked::with)
    }
}

/// Datagrams and their payload.
#[derive(Clone, Copy, Debug, Default)]
struct Amount {
    datagrams: u64,
    bytes: u64,
}

impl Amount {
    fn of(inbox: &Inbox, picked: Picked) -> Self {
        picked.iter().fold(Amount::default(), |sum, index| {
            let datagram = inbox.get(index);
            Amount {
                datagrams: sum.datagrams + datagram.datagrams(),
                bytes: sum.bytes + datagram.bytes.len() as u64,
            }
        })
    }
}

impl Udp {
    /// A VIP socket has something.
    pub fn call(&mut self, number: u32, scene: &Scene<'_>) {
        let Ok(number) = u16::try_from(number) else {
            return;
        };
        let Some(listener) = self.listeners.get(number) else {
            return;
        };
        let Ok(count) = self.inbox.receive(listener.socket.as_fd()) else {
            return;
        };
        let flood = count == BATCH && is_filling_up(listener.socket.as_fd());
        let service = listener.key;
        let way = scene.mine().datagrams.of(Way::ToReal);
        let mut strangers: [Option<Stranger>; BATCH] = [None; BATCH];
        let mut slots: [Option<Slot>; BATCH] = [None; BATCH];
        let (mut known, mut all) = (Picked::NONE, Picked::NONE);
        for index in 0..count {
            let datagram = self.inbox.get(index);
            way.received.add(datagram.datagrams());
            let Some(stranger) = who(datagram.from, number, service, scene) else {
                way.drops(DatagramDrop::Martian).add(datagram.datagrams());
                continue;
            };
            all = all.with(index);
            slots[index] = self.sessions.find(stranger.hash, &stranger.key);
            if slots[index].is_some() {
                known = known.with(index);
            }
            strangers[index] = Some(stranger);
        }
        let mut refused: Vec<(Slot, SessionKey)> = Vec::new();
        // First those with a session: making new ones may end old ones.
        let mut left = all;
        while let Some(slot) = known.first().and_then(|index| slots[index]) {
            let run = known.filter(|index| slots[index] == Some(slot));
            known = known.without(run);
            let session = self.sessions.at(slot);
            match session.map_or(Standing::Over, |s| standing(s, scene.table)) {
                Standing::Good => refused.extend(self.forward(slot, run, scene)),
                Standing::Drop => self.lose(run, DatagramDrop::DeadReal, scene),
                Standing::Over => {
                    self.end(slot, Outcome::RealGone, scene);
                    continue;
                }
            }
            left = left.without(run);
        }
        while let Some(stranger) = left.first().and_then(|index| strangers[index]) {
            let same = |other: &Option<Stranger>| other.is_some_and(|o| o.key == stranger.key);
            let run = left.filter(|index| same(&strangers[index]));
            left = left.without(run);
            let begun = if flood {
                Err(DatagramDrop::Flood)
            } else {
                self.begin(&stranger, scene)
            };
            match begun {
                Ok(slot) => refused.extend(self.forward(slot, run, scene)),
                Err(why) => self.lose(run, why, scene),
            }
        }
        for (slot, key) in refused {
            if self.sessions.key(slot) == Some(&key) {
                self.refused(slot, scene);
            }
        }
    }

    /// A session's socket has something: answers, or news that nobody answers any more.
    pub fn session(&mut self, number: u32, scene: &Scene<'_>) {
        let slot = Slot::from_number(number);
        let Some(session) = self.sessions.at(slot) else {
            return;
        };
        match self.inbox.receive(session.socket.as_fd()) {
            Ok(count) => self.answer(slot, count, scene),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.refused(slot, scene);
            }
            // Nothing after all; or news that concern one datagram, which is lost as on any way.
            Err(_) => {}
        }
    }

    /// Sends them to the real. The session is returned if that refused an earlier one: it is to end
    /// when the batch is done.
    fn forward(
        &mut self,
        slot: Slot,
        run: Picked,
        scene: &Scene<'_>,
    ) -> Option<(Slot, SessionKey)> {
        let Some(session) = self.sessions.at_mut(slot) else {
            self.lose(run, DatagramDrop::OwnTrouble, scene);
            return None;
        };
        let me = scene.mine();
        let way = me.datagrams.of(Way::ToReal);
        let all = Amount::of(&self.inbox, run);
        let inbox = &self.inbox;
        let head: &[u8] = session.header.as_deref().map_or(&[], |h| h.as_slice());
        let batch = run.iter().map(|index| {
            let datagram = inbox.get(index);
            Outgoing {
                to: None,
                head,
                bytes: datagram.bytes,
                segment: datagram.segment,
            }
        });
        let (mut lost, mut nobody) = (Amount::default(), false);
        self.outbox.send(session.socket.as_fd(), batch, |it| {
            nobody |= it.error.kind() == io::ErrorKind::ConnectionRefused;
            count_refused(&it, &mut lost, way);
        });
        let sent = all.bytes - lost.bytes;
        way.sent.add(all.datagrams - lost.datagrams);
        session.bytes_in += sent;
        let headers = match session.client {
            SocketAddr::V4(_) => HEADERS_V4,
            SocketAddr::V6(_) => HEADERS_V6,
        };
        for tally in [
            me.counters.service(session.service),
            me.counters.real(session.real),
        ] {
            tally.packets.add(all.datagrams);
            tally.bytes.add(all.bytes + all.datagrams * headers);
        }
        me.service(session.service).to_real.add(sent);
        self.sessions.heard(slot, Side::Client, scene.now);
        let key = self.sessions.key(slot).filter(|_| nobody);
        key.map(|key| (slot, *key))
    }

    fn answer(&mut self, slot: Slot, count: usize, scene: &Scene<'_>) {
        let me = scene.mine();
        let way = me.datagrams.of(Way::ToClient);
        let batch = (0..count).fold(Picked::NONE, Picked::with);
        let all = Amount::of(&self.inbox, batch);
        way.received.add(all.datagrams);
        let key = self.sessions.key(slot).copied();
        let listener = key.and_then(|key| self.listeners.get(key.listener));
        let (Some(listener), Some(session)) = (listener, self.sessions.at_mut(slot)) else {
            way.drops(DatagramDrop::OwnTrouble).add(all.datagrams);
            return;
        };
        let (inbox, client) = (&self.inbox, session.client);
        let answers = batch.iter().map(|index| {
            let datagram = inbox.get(index);
            Outgoing {
                to: Some(client),
                head: &[],
                bytes: datagram.bytes,
                segment: datagram.segment,
            }
        });
        let mut lost = Amount::default();
        self.outbox.send(listener.socket.as_fd(), answers, |it| {
            count_refused(&it, &mut lost, way);
        });
        let sent = all.bytes - lost.bytes;
        way.sent.add(all.datagrams - lost.datagrams);
        session.bytes_out += sent;
        session.answered = true;
        me.service(session.service).to_client.add(sent);
        self.sessions.heard(slot, Side::Real, scene.now);
    }

    /// The real has no socket on its port: the client hears so, and asks anew if it likes. What the
    /// real had answered before comes first, though the kernel tells it last.
    fn refused(&mut self, slot: Slot, scene: &Scene<'_>) {
        while let Some(session) = self.sessions.at(slot)
            && let Ok(count) = self.inbox.receive(session.socket.as_fd())
        {
            self.answer(slot, count, scene);
            if count < BATCH {
                break;
            }
        }
        let key = self.sessions.key(slot).copied();
        let listener = key.and_then(|key| self.listeners.get(key.listener));
        let (Some(listener), Some(session)) = (listener, self.sessions.at(slot)) else {
            return;
        };
        self.refusals.tell(session.client, listener.address);
        let how = if session.answered {
            Outcome::RealReset
        } else {
            Outcome::ConnectFailed
        };
        self.end(slot, how, scene);
    }

    fn lose(&self, run: Picked, why: DatagramDrop, scene: &Scene<'_>) {
        let datagrams = Amount::of(&self.inbox, run).datagrams;
        let way = scene.mine().datagrams.of(Way::ToReal);
        way.drops(why).add(datagrams);
    }
}

/// Who sent a datagram, unless that cannot be answered.
fn who(
    from: Option<SocketAddr>,
    listener: u16,
    service: ServiceKey,
    scene: &Scene<'_>,
) -> Option<Stranger> {
    let from = from.filter(|from| from.port() != 0)?;
    let client = Addr::from(from.ip());
    let flow = FlowKey {
        client,
        client_port: from.port(),
        service,
    };
    Some(Stranger {
        key: SessionKey {
            client,
            port: from.port(),
            listener,
        },
        flow,
        hash: scene.table.key.flow(&flow),
        from,
    })
}

/// Whether datagrams come faster than they go: making a session costs as much as moving twenty
/// datagrams, and what the queue loses may be anybody's.
fn is_filling_up(socket: BorrowedFd<'_>) -> bool {
    queue(socket).is_ok_and(|queue| queue.used > queue.room / 2)
}

fn count_refused(refused: &Refused, lost: &mut Amount, way: &WayCounts) {
    lost.datagrams += refused.datagrams;
    lost.bytes += refused.bytes as u64;
    way.drops(reason(&refused.error)).add(refused.datagrams);
}

fn reason(error: &io::Error) -> DatagramDrop {
    match error.raw_os_error() {
        Some(libc::ECONNREFUSED) => DatagramDrop::Refused,
        Some(libc::EMSGSIZE) => DatagramDrop::TooBig,
        Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => DatagramDrop::NoBuffer,
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::ENETDOWN | libc::EADDRNOTAVAIL) => {
            DatagramDrop::Unreachable
        }
        _ => DatagramDrop::OwnTrouble,
    }
}
