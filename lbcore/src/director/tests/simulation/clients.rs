//! Clients with TCP flows, and what they were promised.
//!
//! A flow stays with its real while that real keeps its flows, unless
//! - *silent*: it was remembered, and said nothing for longer than it is remembered;
//! - *evicted*: it was remembered, nothing but its opening had been seen, and it made room for another;
//! - *unremembered*: there was no room for it, or a flood, and the set has changed since. With `changes`
//!   only if it began while the set was changing, and the older ring's real was gone;
//! - *outlived* (`changes`): it is not remembered, and lived on `drain_timeout` after the set changed;
//! - *untracked* (`none`): the set has changed since it began;
//! - *again*: it was not established, and its SYN came again after the set had changed;
//! - *forged*: somebody else sent a SYN of its tuple, `changes` does not remember it and the set was
//!   changing, or its real takes no new flows. It cannot be told from a port that is used again.
//!
//! Everything else that moves is a defect.

use super::*;
use crate::flow::Entry;
use crate::net::{Addr, FlowHash, FlowKey, Protocol, ServiceKey};
use crate::sched::Kind;
use crate::service::{FlowFate, PastRing};
use std::net::IpAddr;

/// The coarse clock of entries, twice.
const ROUNDING_MS: u64 = 128;

/// Clients at once.
const CROWD: usize = 120;

#[derive(Clone, Debug)]
pub(super) struct Client {
    tuple: u32,
    home: RealId,
    /// What is remembered of it, since its last packet.
    noted: Option<Entry>,
    acknowledged: bool,
    /// Where it is not remembered: how long it was promised to stay; `None`: the set has not changed.
    until: Option<Tick>,
    /// There was no room for it, and no older real to share with others.
    by_ring: bool,
}

impl Simulation {
    /// A flow begins, one in four with a tuple that was used before.
    pub(super) fn begin(&mut self) {
        if self.clients.len() >= CROWD {
            return self.packet();
        }
        let tuple = match self.free.len() {
            0 => None,
            n if self.dice.one_in(4) => Some(self.free.swap_remove(self.dice.below(n))),
            _ => None,
        };
        let tuple = tuple.unwrap_or_else(|| {
            self.next += 1;
            self.next
        });
        let (_, real) = self.send(tuple, "S");
        let Some(home) = real else { return };
        self.sums.begun += 1;
        let mut client = Client {
            tuple,
            home,
            noted: None,
            acknowledged: false,
            until: None,
            by_ring: false,
        };
        self.after_syn(&mut client);
        self.clients.push(client);
    }

    pub(super) fn packet(&mut self) {
        let Some(client) = self.take() else { return };
        match self.dice.below(40) {
            0 => self.icmp_error(client),
            1 if client.acknowledged => self.syn(client, "forged"),
            1..6 if !client.acknowledged => self.syn(client, "again"),
            _ => {
                if let Some(mut client) = self.say(client, "A") {
                    client.acknowledged = true;
                    self.clients.push(client);
                }
            }
        }
    }

    pub(super) fn end(&mut self) {
        let Some(client) = self.take() else { return };
        let tuple = client.tuple;
        if self.dice.one_in(4) {
            self.say(client, "R");
        } else if let Some(client) = self.say(client, "FA") {
            self.say(client, "A");
        }
        self.free.push(tuple);
    }

    fn take(&mut self) -> Option<Client> {
        let n = self.clients.len();
        (n > 0).then(|| self.clients.swap_remove(self.dice.below(n)))
    }

    /// One more packet of a flow; `None` when it has ended, because it was moved or its real is dead.
    fn say(&mut self, mut client: Client, flags: &str) -> Option<Client> {
        let was = client.noted;
        let lives = self.lives(client.home);
        let (decision, real) = self.send(client.tuple, flags);
        if !lives {
            return None;
        }
        if real != Some(client.home) {
            self.excuse(&client, &decision, real);
            return None;
        }
        self.look_again(&mut client);
        if was.is_some() && client.noted.is_none() {
            // Forgotten, and with its real by luck.
            client.until = Some(self.bench.now);
        }
        Some(client)
    }

    /// A SYN of a flow that is there already.
    fn syn(&mut self, mut client: Client, why: &'static str) {
        let lives = self.lives(client.home);
        let takes_new = self
            .bench
            .table
            .real(client.home)
            .is_some_and(|real| real.takes_new);
        let (decision, real) = self.send(client.tuple, "S");
        if !lives {
            return;
        }
        if real == Some(client.home) {
            self.after_syn(&mut client);
            self.clients.push(client);
            return;
        }
        let promised = matches!(decision.met, Met::Hit(_)) && takes_new;
        assert!(!promised, "{client:?} {decision:?} {real:?}");
        let unchanged = client.until.is_none() && client.noted.is_none();
        let refused = real.is_none() && self.bench.table.maintenance;
        assert!(!unchanged || refused, "{client:?} {decision:?} {real:?}");
        self.moved(why);
    }

    /// An ICMP error about a packet of the flow follows it.
    fn icmp_error(&mut self, client: Client) {
        let [_, b, c, d] = client.tuple.to_be_bytes();
        let (mut quoted, mut frame) = (Vec::new(), Vec::new());
        PacketBuilder::ipv4(VIP, [10, b, c, d], 60)
            .tcp(443, 40_000, 1, 100)
            .write(&mut quoted, &[])
            .unwrap();
        PacketBuilder::ethernet2(CLIENT_MAC, OWN_MAC.octets())
            .ipv4([203, 0, 113, 1], VIP, 64)
            .icmpv4_raw(3, 4, [0, 0, 5, 0x78])
            .write(&mut frame, &quoted)
            .unwrap();
        let (decision, done) = self.bench.run(&mut frame);
        let real = match done {
            Verdict::Forward(chosen) => Some(chosen.real),
            Verdict::Pass | Verdict::Drop(_) => None,
        };
        self.count(&decision, real.is_some());
        if self.lives(client.home) && real != Some(client.home) {
            self.excuse(&client, &decision, real);
        } else {
            self.clients.push(client);
        }
    }

    fn lives(&self, real: RealId) -> bool {
        let real = self.bench.table.real(real);
        real.is_some_and(|real| real.fate == FlowFate::Keep)
    }

    /// Why this flow may go to another real.
    fn excuse(&mut self, client: &Client, decision: &Decision, real: Option<RealId>) {
        let (now, timeouts) = (self.bench.now, self.service().timeouts);
        let why = match (client.noted, self.track, client.until) {
            (Some(entry), _, _) => {
                let silent = entry.idle_ms(now) + ROUNDING_MS > timeouts.of(entry.state);
                let known = matches!(decision.met, Met::Hit(_));
                match (silent, known) {
                    (true, false) => Some("silent"),
                    (false, false) if entry.state.opening() => Some("evicted"),
                    _ => None,
                }
            }
            (None, Track::Flows, Some(_)) => Some("unremembered"),
            (None, Track::None, Some(_)) => Some("untracked"),
            (None, Track::Changes, _) if client.by_ring => Some("unremembered"),
            (None, Track::Changes, Some(until)) if now >= until => Some("outlived"),
            _ => None,
        };
        let Some(why) = why else {
            panic!(
                "moved to {real:?} at {now:?}, the set changed at {:?}: {client:?} {decision:?}",
                self.changed
            );
        };
        self.moved(why);
    }

    fn moved(&mut self, why: &'static str) {
        *self.sums.moved.entry(why).or_default() += 1;
    }

    /// A flow that begins, or begins again.
    fn after_syn(&self, client: &mut Client) {
        self.look_again(client);
        if self.track == Track::Changes && client.noted.is_none() && self.is_moved(client.tuple) {
            // There was no room: it goes with those from before the change, and as long as they; where
            // their real is gone, by the ring alone.
            let past = self.service().past.as_ref();
            let of = |past: &PastRing| self.of_ring(past.kind, &past.ring, client.tuple);
            let followed = past.is_some_and(|past| of(past) == client.home);
            client.by_ring = !followed;
            client.until = Some(self.past_ends());
        }
    }

    /// What the flow table says of a client after its packet.
    fn look_again(&self, client: &mut Client) {
        let hit = self.bench.flows.lookup(self.hash_of(client.tuple));
        client.noted = hit.map(|hit| hit.entry);
    }

    pub(super) fn of_ring(&self, kind: Kind, ring: &Ring, tuple: u32) -> RealId {
        ring.pick(match kind {
            Kind::Sh => self.bench.world.key.source(&address_of(tuple)),
            _ => self.hash_of(tuple),
        })
    }

    fn hash_of(&self, tuple: u32) -> FlowHash {
        self.bench.world.key.flow(&FlowKey {
            client: address_of(tuple),
            client_port: 40_000,
            service: ServiceKey {
                vip: IpAddr::from(VIP).into(),
                port: 443,
                protocol: Protocol::Tcp,
            },
        })
    }

    /// The set has another ring: from now on flows that are not remembered have their time.
    pub(super) fn ring_changed(&mut self) {
        self.changed = self.bench.now;
        let until = self.past_ends();
        for client in self.clients.iter_mut().filter(|c| c.noted.is_none()) {
            client.until = client.until.or(Some(until));
        }
    }

    /// `drain_timeout` after the last change.
    fn past_ends(&self) -> Tick {
        self.changed + self.bench.world.config.services[0].drain_timeout
    }
}

fn address_of(tuple: u32) -> Addr {
    let [_, b, c, d] = tuple.to_be_bytes();
    IpAddr::from([10, b, c, d]).into()
}
