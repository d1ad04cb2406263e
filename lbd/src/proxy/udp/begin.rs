//! A session begins: a real is picked, room is made, a socket is bound to the client's address.

use super::super::poller::{Flags, Token};
use super::super::sight::Sight;
use super::super::tcp::Scene;
use super::session::{Session, SessionKey};
use super::{Udp, sight};
use crate::live::{DatagramDrop, Outcome};
use crate::sys::{datagrams, transparent};
use lbcore::config::{SendProxy, Source};
use lbcore::director::{Caller, Connect, Unconnected, closed, connect};
use lbcore::id::{RealId, ServiceId};
use lbcore::load::Weightiness;
use lbcore::net::{FlowHash, FlowKey, Protocol, ServiceKey};
use lbcore::proxyproto::write_v2;
use lbcore::service::Service;
use lbcore::session::Slot;
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

/// Somebody who speaks to a VIP.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stranger {
    pub key: SessionKey,
    pub flow: FlowKey,
    pub hash: FlowHash,
    pub from: SocketAddr,
}

impl Udp {
    /// Makes a session for `stranger`.
    ///
    /// # Errors
    /// Why its datagrams are dropped. Like every session, one that could not begin is counted.
    pub(super) fn begin(
        &mut self,
        stranger: &Stranger,
        scene: &Scene<'_>,
    ) -> Result<Slot, DatagramDrop> {
        let found = scene.table.service(&stranger.flow.service);
        let (index, service) = found.ok_or(DatagramDrop::NoReal)?;
        let tally = scene.mine().service(service.id);
        tally.begun.add(1);
        let begun = self.try_to_begin(stranger, index, service, scene);
        match begun {
            Ok(slot) => {
                if let Some(session) = self.sessions.at(slot) {
                    sight(session, stranger.flow.service, None).show(scene);
                }
            }
            Err(why) => {
                tally.ended(why.outcome()).add(1);
                let nobody = Sight {
                    client: stranger.from,
                    vip: stranger.flow.service,
                    service: service.id,
                    real: None,
                    tried: &[],
                    ended: Some(why.outcome()),
                    begun: scene.now,
                    bytes: (0, 0),
                };
                nobody.show(scene);
            }
        }
        begun
    }

    fn try_to_begin(
        &mut self,
        stranger: &Stranger,
        index: usize,
        service: &Service,
        scene: &Scene<'_>,
    ) -> Result<Slot, DatagramDrop> {
        if let Some(why) = closed(scene.table, service, Protocol::Udp) {
            return Err(unconnected(why));
        }
        let counts_for_source = self.make_room(stranger, service, scene)?;
        let (socket, pick) = match self.reach(stranger, index, service, scene) {
            Ok(reached) => reached,
            Err(why) => {
                give_room_back(stranger, service.id, counts_for_source, scene);
                return Err(why);
            }
        };
        let header = match service.proxy.send_proxy {
            SendProxy::V2 => {
                let vip = stranger.flow.service.vip.ip();
                let vip = SocketAddr::new(vip, stranger.flow.service.port);
                Some(Box::new(write_v2(stranger.from, vip, Protocol::Udp)))
            }
            SendProxy::Off | SendProxy::V1 => None,
        };
        let session = Session {
            socket,
            service: service.id,
            real: pick.real,
            epoch: pick.epoch,
            client: stranger.from,
            server: pick.to,
            header,
            bytes_in: 0,
            bytes_out: 0,
            began: scene.now,
            counts_for_source,
            answered: false,
        };
        let entered = self.enter(stranger, session, scene);
        if entered.is_err() {
            let loads = &scene.shared.live.loads;
            loads.sub(pick.real, Weightiness::Active);
            give_room_back(stranger, service.id, counts_for_source, scene);
        }
        entered
    }

    /// A socket to the real the director picks, or to another where that one cannot be dialled. The
    /// real's load counts it.
    fn reach(
        &mut self,
        stranger: &Stranger,
        index: usize,
        service: &Service,
        scene: &Scene<'_>,
    ) -> Result<(Socket, Connect), DatagramDrop> {
        let loads = &scene.shared.live.loads;
        let mut tried: Vec<RealId> = Vec::new();
        let mut why = None;
        let mut made_room = false;
        loop {
            let caller = Caller {
                table: scene.table,
                service: index,
                key: &stranger.flow,
                tried: &tried,
                loads,
            };
            let pick = match connect(&caller, &mut self.cursors) {
                Ok(pick) => pick,
                // Who filled the reals may be no client at all.
                Err(Unconnected::Full) if !made_room && self.evict(Some(service.id), scene) => {
                    made_room = true;
                    continue;
                }
                Err(Unconnected::OwnAddress) => return Err(DatagramDrop::OwnAddress),
                Err(other) => return Err(why.unwrap_or(unconnected(other))),
            };
            if leads_back(scene, pick.to) {
                why = Some(DatagramDrop::OwnAddress);
                tried.push(pick.real);
                continue;
            }
            if !loads.add_below(pick.real, pick.max_connections) {
                continue; // Another worker was quicker; the director will see it is full.
            }
            match dial(stranger, service, &pick) {
                Ok(socket) => return Ok((socket, pick)),
                Err(failed) => {
                    loads.sub(pick.real, Weightiness::Active);
                    why = Some(failed);
                    tried.push(pick.real);
                    if tried.len() > service.proxy.retries as usize {
                        return Err(failed);
                    }
                }
            }
        }
    }

    /// Counts a session in everywhere, and ends others where there is no room. Says whether it was
    /// counted for its client's address.
    fn make_room(
        &mut self,
        stranger: &Stranger,
        service: &Service,
        scene: &Scene<'_>,
    ) -> Result<bool, DatagramDrop> {
        let gates = &scene.shared.gates;
        let (id, client) = (service.id, stranger.key.client);
        let most = service.proxy.max_connections_per_source;
        let counts_for_source = most > 0;
        if counts_for_source && !gates.enter_source(id, client, most) {
            return Err(DatagramDrop::PerSource);
        }
        let max = service.proxy.max_connections;
        let entered = gates.enter(id, max) || (self.evict(Some(id), scene) && gates.enter(id, max));
        if !entered {
            if counts_for_source {
                gates.leave_source(id, client);
            }
            return Err(DatagramDrop::Full);
        }
        let descriptors = scene.shared.budget.descriptors();
        let fits = !self.sessions.is_full() && descriptors.take(1);
        if fits || (self.evict(None, scene) && descriptors.take(1)) {
            return Ok(counts_for_source);
        }
        gates.leave(id);
        if counts_for_source {
            gates.leave_source(id, client);
        }
        Err(DatagramDrop::Full)
    }

    /// Ends the session that is missed least; false if all are active.
    fn evict(&mut self, service: Option<ServiceId>, scene: &Scene<'_>) -> bool {
        let victim = self.sessions.victim(service.map(|id| id.0), scene.now);
        if let Some(slot) = victim {
            self.end(slot, Outcome::Evicted, scene);
        }
        victim.is_some()
    }

    /// The session takes its place.
    fn enter(
        &mut self,
        stranger: &Stranger,
        session: Session,
        scene: &Scene<'_>,
    ) -> Result<Slot, DatagramDrop> {
        let (service, real) = (session.service, session.real);
        // Without it every answer comes alone, which is slower, not wrong.
        let _ = datagrams::join_received(session.socket.as_fd());
        let entered =
            self.sessions
                .insert(stranger.hash, stranger.key, service.0, session, scene.now);
        let Ok(slot) = entered else {
            return Err(DatagramDrop::Full);
        };
        let watched = self.sessions.at(slot).map(|session| {
            let token = Token::Session(slot.number());
            scene.poller.add(&session.socket, token, Flags::IN)
        });
        if !matches!(watched, Some(Ok(()))) {
            self.sessions.remove(slot);
            return Err(DatagramDrop::OwnTrouble);
        }
        let counters = &scene.mine().counters;
        counters.service(service).new_flows.add(1);
        counters.real(real).new_flows.add(1);
        Ok(slot)
    }
}

/// Why the datagrams of a client are dropped for whom nobody is to be dialled.
fn unconnected(why: Unconnected) -> DatagramDrop {
    match why {
        Unconnected::Maintenance => DatagramDrop::Maintenance,
        Unconnected::NoReal => DatagramDrop::NoReal,
        Unconnected::Full => DatagramDrop::Full,
        Unconnected::OwnAddress => DatagramDrop::OwnAddress,
    }
}

fn give_room_back(
    stranger: &Stranger,
    service: ServiceId,
    counts_for_source: bool,
    scene: &Scene<'_>,
) {
    let gates = &scene.shared.gates;
    scene.shared.budget.descriptors().give(1);
    gates.leave(service);
    if counts_for_source {
        gates.leave_source(service, stranger.key.client);
    }
}

/// Whether the real is one of our own VIPs: its datagrams would come back to us.
fn leads_back(scene: &Scene<'_>, to: SocketAddr) -> bool {
    let key = ServiceKey {
        vip: to.ip().into(),
        port: to.port(),
        protocol: Protocol::Udp,
    };
    scene.table.service(&key).is_some()
}

/// A socket to the real, from the client's own port if nobody has it, else from another.
fn dial(stranger: &Stranger, service: &Service, pick: &Connect) -> Result<Socket, DatagramDrop> {
    let bound = match service.proxy.source {
        Source::Client => {
            let any_port = SocketAddr::new(stranger.from.ip(), 0);
            transparent::udp_from(stranger.from).or_else(|error| match error.kind() {
                io::ErrorKind::AddrInUse => transparent::udp_from(any_port),
                _ => Err(error),
            })
        }
        Source::OwnAddress => {
            let domain = Domain::for_address(pick.to);
            Socket::new(
                domain,
                Type::DGRAM.nonblocking(),
                Some(socket2::Protocol::UDP),
            )
        }
    };
    let socket = bound.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => DatagramDrop::NoPorts,
        _ => DatagramDrop::OwnTrouble,
    })?;
    let connected = socket.connect(&pick.to.into());
    connected.map_err(|error| match error.raw_os_error() {
        // No port was free to send from.
        Some(libc::EAGAIN) => DatagramDrop::NoPorts,
        _ => DatagramDrop::Unreachable,
    })?;
    Ok(socket)
}
