//! Who has which id: stable across reloads and, once persisted, across restarts.

use crate::id::{Epoch, MAX_REALS, MAX_SERVICES, RealId, ServiceId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

/// Gives ids to services (by name) and to reals (by service, address and port), and remembers
/// them. A freed id is given away again only when no unused one is left, oldest first, and with
/// another [`Epoch`], so that a forgotten flow entry cannot speak for its next owner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Registry {
    services: BTreeMap<String, u16>,
    free_services: VecDeque<u16>,
    next_service: u16,
    reals: BTreeMap<String, BTreeMap<SocketAddr, Owned>>,
    free_reals: VecDeque<(u16, u16)>,
    next_real: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owned {
    id: u16,
    epoch: u16,
}

/// No id is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Exhausted {
    /// More services than [`MAX_SERVICES`].
    #[error("more than {MAX_SERVICES} services")]
    Services,
    /// More (service, real) pairs than [`MAX_REALS`].
    #[error("more than {MAX_REALS} real servers, counted once for each service they serve")]
    Reals,
}

impl Registry {
    /// The id of the service called `name`, made if it has none.
    pub fn service(&mut self, name: &str) -> Result<ServiceId, Exhausted> {
        if let Some(id) = self.services.get(name) {
            return Ok(ServiceId(*id));
        }
        let id = if usize::from(self.next_service) < MAX_SERVICES {
            self.next_service += 1;
            self.next_service - 1
        } else {
            self.free_services.pop_front().ok_or(Exhausted::Services)?
        };
        self.services.insert(name.to_owned(), id);
        Ok(ServiceId(id))
    }

    /// How many ids reals were ever given: from 0 on, without a gap.
    pub fn given(&self) -> usize {
        self.next_real as usize
    }

    /// The id of one real in one service, made if it has none. Its port is 0 unless it has one of
    /// its own.
    pub fn real(&mut self, service: &str, at: SocketAddr) -> Result<(RealId, Epoch), Exhausted> {
        if let Some(owned) = self.reals.get(service).and_then(|reals| reals.get(&at)) {
            return Ok((RealId(owned.id), Epoch::new(owned.epoch)));
        }
        let (id, epoch) = if (self.next_real as usize) < MAX_REALS {
            self.next_real += 1;
            (
                u16::try_from(self.next_real - 1).unwrap_or(u16::MAX),
                Epoch::default(),
            )
        } else {
            let (id, epoch) = self.free_reals.pop_front().ok_or(Exhausted::Reals)?;
            (id, Epoch::new(epoch).next())
        };
        let owned = Owned {
            id,
            epoch: epoch.get(),
        };
        self.reals
            .entry(service.to_owned())
            .or_default()
            .insert(at, owned);
        Ok((RealId(id), epoch))
    }

    /// The id of one real in one service, if it has one.
    pub fn known_real(&self, service: &str, at: SocketAddr) -> Option<RealId> {
        let owned = self.reals.get(service)?.get(&at)?;
        Some(RealId(owned.id))
    }

    /// The id of a service, if it has one.
    pub fn known_service(&self, name: &str) -> Option<ServiceId> {
        self.services.get(name).map(|id| ServiceId(*id))
    }

    /// Forgets a real that has no flows left.
    pub fn retire_real(&mut self, service: &str, at: SocketAddr) {
        let Some(reals) = self.reals.get_mut(service) else {
            return;
        };
        if let Some(owned) = reals.remove(&at) {
            self.free_reals.push_back((owned.id, owned.epoch));
        }
        if reals.is_empty() {
            self.reals.remove(service);
        }
    }

    /// The service called `from` is called `to` from now on, with all its ids; nothing happens, and it is
    /// false, if `to` has ids already.
    pub fn rename_service(&mut self, from: &str, to: &str) -> bool {
        if self.services.contains_key(to) || self.reals.contains_key(to) {
            return false;
        }
        if let Some(id) = self.services.remove(from) {
            self.services.insert(to.to_owned(), id);
        }
        if let Some(reals) = self.reals.remove(from) {
            self.reals.insert(to.to_owned(), reals);
        }
        true
    }

    /// Forgets a service that is no longer configured and has no flows left.
    pub fn retire_service(&mut self, name: &str) {
        if let Some(id) = self.services.remove(name) {
            self.free_services.push_back(id);
        }
    }

    /// Every (service name, place, id, epoch) that is known.
    pub fn reals(&self) -> impl Iterator<Item = (&str, SocketAddr, RealId, Epoch)> {
        self.reals.iter().flat_map(|(service, reals)| {
            reals.iter().map(|(at, owned)| {
                (
                    service.as_str(),
                    *at,
                    RealId(owned.id),
                    Epoch::new(owned.epoch),
                )
            })
        })
    }

    /// Every (place, id) that is known of one service.
    pub fn reals_of(&self, service: &str) -> impl Iterator<Item = (SocketAddr, RealId)> + '_ {
        self.reals
            .get(service)
            .into_iter()
            .flat_map(|reals| reals.iter().map(|(at, owned)| (*at, RealId(owned.id))))
    }

    /// Names of all services that are known.
    pub fn services(&self) -> impl Iterator<Item = &str> {
        self.services.keys().map(String::as_str)
    }
}
