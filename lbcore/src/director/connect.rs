//! Which real a proxied connection (or session) is dialled to: the same snapshot, schedulers and
//! loads as for frames.

use super::Cursors;
use crate::config::Mode;
use crate::id::{Epoch, RealId};
use crate::load::Loads;
use crate::net::{Addr, FlowHash, FlowKey, Protocol};
use crate::sched::{Kind, Pick};
use crate::service::{FlowFate, Member, Service, ServiceTable};
use std::net::SocketAddr;

/// A client that wants a real of a tproxy service.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// The snapshot.
    pub table: &'a ServiceTable,
    /// Index of the service in it.
    pub service: usize,
    /// Who calls what.
    pub key: &'a FlowKey,
    /// Reals that were tried for this client already.
    pub tried: &'a [RealId],
    /// Connections by real.
    pub loads: &'a Loads,
}

/// The real to dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Which one.
    pub real: RealId,
    /// Whose id it is now.
    pub epoch: Epoch,
    /// Where it is dialled.
    pub to: SocketAddr,
    /// Connections it takes at once; 0 = any number.
    pub max_connections: u32,
}

/// Why nobody is to be dialled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconnected {
    /// This lbd takes no new flows, by the operator's wish.
    Maintenance,
    /// Nobody may serve, or everybody who may was tried.
    NoReal,
    /// Whoever may serve has all the connections it takes.
    Full,
    /// Only the client itself is left: a machine drops what comes to it from its own address.
    OwnAddress,
}

/// Picks the real for one client: the scheduler's choice, and if that one was tried, is full or is
/// the client itself, another. Changes nothing but where the schedulers stand.
///
/// # Errors
/// Why there is none.
pub fn connect(caller: &Caller<'_>, cursors: &mut Cursors) -> Result<Connect, Unconnected> {
    let table = caller.table;
    let service = &table.services[caller.service];
    if let Some(why) = closed(table, service, caller.key.service.protocol) {
        return Err(why);
    }
    let hash = table.key.flow(caller.key);
    let source = match service.kind {
        Kind::Sh => table.key.source(&caller.key.client),
        _ => hash,
    };
    let pick = Pick {
        cursor: cursors.of(service.id),
        ring: service.ring.as_deref(),
        flow: hash,
        source,
        loads: caller.loads,
    };
    cursors.advance(service.id);
    let first = service.scheduler.pick(&pick);
    if let Some(connect) = first.and_then(|real| caller.acceptable(real).ok()) {
        return Ok(connect);
    }
    caller.another(service, &pick)
}

/// Why nobody is dialled for any client who comes now; worth asking before room is made for one.
pub fn closed(table: &ServiceTable, service: &Service, protocol: Protocol) -> Option<Unconnected> {
    // A TCP client has been let in already: in maintenance nobody listens for more of them.
    if table.maintenance && protocol == Protocol::Udp {
        return Some(Unconnected::Maintenance);
    }
    let serves = service.mode == Mode::Tproxy && service.ring.is_some();
    (!serves).then_some(Unconnected::NoReal)
}

impl Caller<'_> {
    /// Whether this real may be dialled for this client.
    fn acceptable(&self, id: RealId) -> Result<Connect, Unconnected> {
        let real = self.table.real(id).ok_or(Unconnected::NoReal)?;
        if self.tried.contains(&id) || real.fate != FlowFate::Keep {
            return Err(Unconnected::NoReal);
        }
        if Addr::from(real.dial.address) == self.key.client {
            return Err(Unconnected::OwnAddress);
        }
        let max = real.dial.max_connections;
        if max > 0 && self.loads.active(id) >= max {
            return Err(Unconnected::Full);
        }
        Ok(Connect {
            real: id,
            epoch: real.epoch,
            to: real.dial.to(self.key.service.port),
            max_connections: max,
        })
    }

    /// The scheduler's choice is not to be had: where the ring leads from other places, so that
    /// clients of a lost real spread over all others by weight, and at last whoever is left.
    fn another(&self, service: &Service, pick: &Pick<'_>) -> Result<Connect, Unconnected> {
        // Odd, so that the steps visit different slots.
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        const STEPS: u64 = 16;
        let ring = service.ring.as_deref().ok_or(Unconnected::NoReal)?;
        let from = match service.kind {
            Kind::Sh => pick.source,
            // Retries of one client must not all go the same way.
            _ => FlowHash(pick.flow.0 ^ pick.cursor),
        };
        for step in 1..=STEPS {
            let real = ring.pick(FlowHash(from.0.wrapping_add(step.wrapping_mul(STEP))));
            if let Ok(connect) = self.acceptable(real) {
                return Ok(connect);
            }
        }
        let candidate = |m: &&Member| m.why_not.is_none();
        let mut why = Unconnected::NoReal;
        for member in service.members.iter().filter(candidate) {
            match self.acceptable(member.id) {
                Ok(connect) => return Ok(connect),
                Err(Unconnected::NoReal | Unconnected::Maintenance) => {}
                // One that will have room again says more than one that never will do.
                Err(Unconnected::Full) => why = Unconnected::Full,
                Err(Unconnected::OwnAddress) if why == Unconnected::NoReal => {
                    why = Unconnected::OwnAddress;
                }
                Err(Unconnected::OwnAddress) => {}
            }
        }
        Err(why)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::load::Weightiness;
    use crate::net::ServiceKey;
    use crate::service::fixture::World;
    use std::collections::{BTreeMap, BTreeSet};

    fn fixture(extra: &str, reals: &[(&str, u16, u16)]) -> World {
        let mut toml = format!(
            "[[service]]\nname = \"web\"\nvip = \"192.0.2.10\"\nport = 443\nmode = \"tproxy\"\n{extra}\n\
             [[service.check]]\ntype = \"tcp\"\n"
        );
        for (address, port, max) in reals {
            toml += &format!(
                "[[service.real]]\nname = \"{address}:{port}\"\naddress = \"{address}\"\nport = {port}\n\
                 max_connections = {max}\n"
            );
        }
        World::new(&toml)
    }

    fn key(client: &str, port: u16) -> FlowKey {
        FlowKey {
            client: client.parse::<std::net::IpAddr>().unwrap().into(),
            client_port: port,
            service: ServiceKey {
                vip: "192.0.2.10".parse::<std::net::IpAddr>().unwrap().into(),
                port: 443,
                protocol: Protocol::Tcp,
            },
        }
    }

    fn ask(
        table: &ServiceTable,
        loads: &Loads,
        key: &FlowKey,
        tried: &[RealId],
        cursors: &mut Cursors,
    ) -> Result<Connect, Unconnected> {
        let caller = Caller {
            table,
            service: 0,
            key,
            tried,
            loads,
        };
        connect(&caller, cursors)
    }

    const THREE: [(&str, u16, u16); 3] = [
        ("10.0.0.1", 8443, 0),
        ("10.0.0.1", 9443, 0),
        ("10.0.0.2", 8443, 0),
    ];

    #[test]
    fn every_scheduler_serves_and_dials_the_reals_own_port() {
        for kind in ["rr", "wrr", "lc", "wlc", "sh", "maglev"] {
            let table = fixture(&format!("scheduler = \"{kind}\""), &THREE).table();
            let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
            let mut seen = BTreeSet::new();
            for n in 0..200u16 {
                let key = key(&format!("198.51.100.{n}"), 40_000 + n);
                let got = ask(&table, &loads, &key, &[], &mut cursors).unwrap();
                loads.add(got.real, Weightiness::Active);
                seen.insert(got.to.to_string());
            }
            let all = ["10.0.0.1:8443", "10.0.0.1:9443", "10.0.0.2:8443"];
            assert_eq!(seen.iter().collect::<Vec<_>>(), all, "{kind}");
        }
    }

    #[test]
    fn a_retry_goes_to_another_real_until_none_is_left() {
        for kind in ["rr", "lc", "sh", "maglev"] {
            let table = fixture(&format!("scheduler = \"{kind}\""), &THREE).table();
            let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
            let key = key("198.51.100.7", 40_000);
            let mut tried = Vec::new();
            for _ in 0..3 {
                let got = ask(&table, &loads, &key, &tried, &mut cursors).unwrap();
                assert!(!tried.contains(&got.real), "{kind}");
                tried.push(got.real);
            }
            let none = ask(&table, &loads, &key, &tried, &mut cursors);
            assert_eq!(none, Err(Unconnected::NoReal), "{kind}");
        }
    }

    #[test]
    fn retries_of_many_clients_spread_over_the_others() {
        let table = fixture("scheduler = \"maglev\"", &THREE).table();
        let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
        let dead = table.services[0].members[0].id;
        let mut to: BTreeMap<SocketAddr, u32> = BTreeMap::new();
        for n in 0..3000u16 {
            let key = key("198.51.100.7", 10_000 + n);
            let got = ask(&table, &loads, &key, &[dead], &mut cursors).unwrap();
            *to.entry(got.to).or_default() += 1;
        }
        assert_eq!(to.len(), 2);
        assert!(to.values().all(|n| (1300..=1700).contains(n)), "{to:?}");
    }

    #[test]
    fn a_full_real_gets_nothing_until_it_has_room() {
        let mut reals = THREE;
        reals.iter_mut().for_each(|real| real.2 = 2);
        let table = fixture("scheduler = \"maglev\"", &reals).table();
        let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
        let mut placed = Vec::new();
        for n in 0..6u16 {
            let got = ask(&table, &loads, &key("198.51.100.7", n), &[], &mut cursors).unwrap();
            loads.add(got.real, Weightiness::Active);
            placed.push(got.real);
        }
        let full = ask(&table, &loads, &key("198.51.100.7", 9), &[], &mut cursors);
        assert_eq!(full, Err(Unconnected::Full));
        loads.sub(placed[3], Weightiness::Active);
        let got = ask(&table, &loads, &key("198.51.100.7", 9), &[], &mut cursors).unwrap();
        assert_eq!(got.real, placed[3]);
    }

    /// T39
    #[test]
    fn a_real_that_calls_the_vip_never_gets_itself() {
        let table = fixture("scheduler = \"rr\"", &THREE).table();
        let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
        for n in 0..50u16 {
            let got = ask(&table, &loads, &key("10.0.0.1", n), &[], &mut cursors).unwrap();
            assert_eq!(got.to.to_string(), "10.0.0.2:8443");
        }
        let table = fixture("", &THREE[..2]).table();
        let alone = ask(&table, &loads, &key("10.0.0.1", 7), &[], &mut cursors);
        assert_eq!(alone, Err(Unconnected::OwnAddress));
    }

    #[test]
    fn in_maintenance_only_those_are_dialled_for_who_were_let_in() {
        let mut fixture = fixture("", &THREE);
        fixture.maintenance = true;
        let table = fixture.table();
        let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
        let mut key = key("198.51.100.7", 1);
        assert!(ask(&table, &loads, &key, &[], &mut cursors).is_ok());
        key.service.protocol = Protocol::Udp;
        let refused = ask(&table, &loads, &key, &[], &mut cursors);
        assert_eq!(refused, Err(Unconnected::Maintenance));
    }

    #[test]
    fn nobody_is_dialled_when_nobody_serves() {
        let mut fixture = fixture("min_healthy = 0", &THREE);
        for (address, port, _) in THREE {
            fixture.down(&format!("{address}:{port}"));
        }
        let table = fixture.table();
        let (loads, mut cursors) = (Loads::default(), Cursors::new(0));
        let none = ask(&table, &loads, &key("198.51.100.7", 1), &[], &mut cursors);
        assert_eq!(none, Err(Unconnected::NoReal));
    }
}
