use super::*;
use crate::proxy::budget::Budget;
use crate::proxy::poller::Events;
use crate::proxy::slab::Slab;
use crate::proxy::tcp::pipe::Pipes;
use lbcore::net::{Protocol, ServiceKey};
use proptest::prelude::*;
use std::io::{ErrorKind, Read, Write};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// What one of the two peers does.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// Sends so many bytes, or as many of them as there is room for.
    Send(usize),
    /// Reads so many at most.
    Read(usize),
    /// Has said all.
    Shut,
}

/// A peer of the relay: the client or the real.
struct Peer {
    stream: UnixStream,
    seed: u8,
    sent: usize,
    shut: bool,
    received: Vec<u8>,
    at_end: bool,
}

impl Peer {
    fn new(stream: UnixStream, seed: u8) -> Self {
        stream.set_nonblocking(true).expect("set");
        Peer {
            stream,
            seed,
            sent: 0,
            shut: false,
            received: Vec::new(),
            at_end: false,
        }
    }

    fn said(seed: u8, at: usize) -> u8 {
        (at / 251 + at) as u8 ^ seed
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Send(_) if self.shut => {}
            Act::Send(n) => {
                let bytes = self.sent..self.sent + n;
                let bytes: Vec<u8> = bytes.map(|at| Peer::said(self.seed, at)).collect();
                match self.stream.write(&bytes) {
                    Ok(n) => self.sent += n,
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            Act::Read(n) => {
                let mut room = vec![0; n];
                match self.stream.read(&mut room) {
                    Ok(0) => self.at_end = true,
                    Ok(n) => self.received.extend(&room[..n]),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
            }
            Act::Shut => {
                self.shut = true;
                let _ = self.stream.shutdown(std::net::Shutdown::Write);
            }
        }
    }
}

/// A connection between them, and the worker's loop around it.
struct Relay {
    connection: Connection,
    me: Key,
    poller: Poller,
    events: Events,
    tools: Tools,
    again: bool,
    ended: Option<Outcome>,
}

impl Relay {
    /// `descriptors`: for pipes.
    fn new(client: UnixStream, real: UnixStream, descriptors: usize) -> Self {
        let address: IpAddr = [192, 0, 2, 10].into();
        let key = FlowKey {
            client: address.into(),
            client_port: 1,
            service: ServiceKey {
                vip: address.into(),
                port: 80,
                protocol: Protocol::Tcp,
            },
        };
        client.set_nonblocking(true).expect("set");
        real.set_nonblocking(true).expect("set");
        let poller = Poller::new().expect("epoll");
        let me = Slab::<()>::default().insert(());
        poller.add(&real, Token::Real(me), BOTH).expect("watched");
        let mut connection = Connection::new(client.into(), key, ServiceId(0), Tick(0));
        connection.phase = Phase::Connecting(real.into(), Instant::now());
        let mut relay = Relay {
            connection,
            me,
            poller,
            events: Events::default(),
            tools: Tools::new(Pipes::new(Arc::new(Budget::new(descriptors)))),
            again: false,
            ended: None,
        };
        let step = relay
            .connection
            .establish(me, 0, &mut relay.tools, &relay.poller);
        relay.follow(step);
        relay
    }

    fn follow(&mut self, step: Step) {
        match step {
            Step::Wait => {}
            Step::Again => self.again = true,
            Step::End(outcome) => self.ended = self.ended.or(Some(outcome)),
        }
    }

    /// One turn of the loop. Events are taken as they come, never polled for: what is missed is
    /// missing.
    fn turn(&mut self) {
        self.poller
            .wait(&mut self.events, Duration::ZERO)
            .expect("waited");
        let events: Vec<_> = self.events.iter().collect();
        for event in events {
            let side = match event.token {
                Token::Client(_) => Side::Client,
                _ => Side::Real,
            };
            if self.ended.is_none() {
                let (me, tools) = (self.me, &mut self.tools);
                let step = self
                    .connection
                    .on(side, event.flags, me, tools, &self.poller);
                self.follow(step);
            }
        }
        if std::mem::take(&mut self.again) && self.ended.is_none() {
            let step = self
                .connection
                .go_on(self.me, &mut self.tools, &self.poller);
            self.follow(step);
        }
    }

    /// The look once a second.
    fn look(&mut self) {
        self.connection.look(&mut self.tools);
    }
}

fn acts() -> impl Strategy<Value = Vec<(bool, Act)>> {
    let size = prop_oneof![1..20_usize, 1..40_000_usize, 100_000..600_000_usize];
    let act = prop_oneof![
        6 => size.clone().prop_map(Act::Send),
        6 => size.prop_map(Act::Read),
        1 => Just(Act::Shut),
    ];
    prop::collection::vec((any::<bool>(), act), 1..80)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// T36, T43: whatever the pieces, and whoever ends first, each side gets exactly what the other
    /// said, and then its end; with pipes and without.
    #[test]
    fn t36_every_byte_arrives_once_and_then_the_end(
        acts in acts(),
        turns in prop::collection::vec(0..4_usize, 1..10),
        descriptors in prop_oneof![Just(0), Just(2), Just(8)],
    ) {
        let (client, accepted) = UnixStream::pair().expect("a pair");
        let (dialled, real) = UnixStream::pair().expect("a pair");
        let mut relay = Relay::new(accepted, dialled, descriptors);
        let mut peers = [Peer::new(client, 0x00), Peer::new(real, 0xa5)];
        for (n, (first, act)) in acts.into_iter().enumerate() {
            peers[usize::from(first)].act(act);
            for _ in 0..turns[n % turns.len()] {
                relay.turn();
            }
            if n % 16 == 15 {
                relay.look();
            }
        }
        for peer in &mut peers {
            peer.act(Act::Shut);
        }
        for _ in 0..100_000 {
            if relay.ended.is_some() {
                break;
            }
            relay.turn();
            peers.iter_mut().for_each(|peer| peer.act(Act::Read(100_000)));
        }
        prop_assert_eq!(relay.ended, Some(Outcome::Ok));
        let (to_real, to_client) = relay.connection.bytes();
        prop_assert_eq!([to_real, to_client], peers.each_ref().map(|p| p.sent as u64));
        relay.connection.close(Outcome::Ok, &mut relay.tools);
        for peer in &mut peers {
            while !peer.at_end {
                peer.act(Act::Read(100_000));
            }
        }
        let [client, real] = &peers;
        for (peer, other) in [(client, real), (real, client)] {
            prop_assert_eq!(peer.received.len(), other.sent);
            let right = |(at, byte): (usize, &u8)| *byte == Peer::said(other.seed, at);
            prop_assert!(peer.received.iter().enumerate().all(right));
        }
    }
}

#[test]
fn a_blocked_direction_goes_on_though_nobody_says_that_there_is_room() {
    let (client, accepted) = UnixStream::pair().expect("a pair");
    let (dialled, real) = UnixStream::pair().expect("a pair");
    let mut relay = Relay::new(accepted, dialled, 0);
    let (mut client, mut real) = (Peer::new(client, 0), Peer::new(real, 0));
    while !relay.connection.is_blocked() {
        client.act(Act::Send(100_000));
        relay.turn();
    }
    let (stuck, _) = relay.connection.bytes();
    real.act(Act::Read(1 << 20));
    // The news of the room is there, but not taken.
    let step = relay
        .connection
        .nudge(relay.me, &mut relay.tools, &relay.poller);
    assert!(!matches!(step, Step::End(_)));
    assert!(relay.connection.bytes().0 > stuck);
}
