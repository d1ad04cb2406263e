//! What a change does to traffic, before it does it.

use super::table::{Service, ServiceTable};
use crate::config::{self, Admin, Config};
use crate::id::RealId;
use crate::sched::Ring;
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// The services whose traffic another snapshot treats differently; empty where none is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// In the order of the new snapshot; what is gone comes last.
    pub services: Vec<ServicePlan>,
}

/// What becomes of one service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// Its name.
    pub service: String,
    /// What happens to it.
    pub change: ServicePlanChange,
    /// The reals that change, in the order of the new snapshot; what is gone comes last.
    pub reals: Vec<RealPlan>,
    /// Slots of its Maglev ring.
    pub slots: u32,
    /// Of these, slots that lead to another real: the share of the packets without a flow of their
    /// own, and with scheduler maglev of the new flows, that go elsewhere.
    pub slots_moved: u32,
    /// Flows it has now.
    pub flows: u64,
    /// Of these, flows whose real changes such that they do not simply go on.
    pub flows_affected: u64,
}

/// What happens to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServicePlanChange {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// It stays, and is different.
    Changed,
}

/// What becomes of one real of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RealPlan {
    /// Its name.
    pub real: String,
    /// Its address.
    pub address: IpAddr,
    /// What happens to it.
    pub change: RealPlanChange,
    /// Flows it has now.
    pub flows: u64,
    /// What becomes of them.
    pub fate: Fate,
}

/// What happens to a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RealPlanChange {
    /// It is new.
    Added,
    /// It goes.
    Removed,
    /// No new flows any more.
    Drained,
    /// No flows at all any more.
    Disabled,
    /// New flows again.
    Enabled,
    /// Another weight, or other values that do not change who gets flows.
    Changed,
}

/// What becomes of the flows of a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// They go on.
    Stay,
    /// They may end by themselves, within `drain_timeout`.
    Linger,
    /// They are treated at once as after the death of their real: see `on_dead`.
    End,
}

/// A configuration in force, or one that could be, and the snapshot made of it.
#[derive(Clone, Copy)]
pub struct Stand<'s> {
    /// What was configured, changes by command included.
    pub config: &'s Config,
    /// What it was compiled to. Both snapshots of a plan have their ids from one registry.
    pub table: &'s ServiceTable,
}

impl Plan {
    /// What becomes of traffic where `new` follows on `old`. `flows` says how many a real has;
    /// with `now` the flows of what is removed do not linger.
    pub fn new(old: Stand<'_>, new: Stand<'_>, flows: impl Fn(RealId) -> u64, now: bool) -> Self {
        let mut services = Vec::new();
        let mut went_on = HashSet::new();
        for service in &new.config.services {
            let before = old.config.same_service(service, new.config);
            if let Some(before) = before {
                went_on.insert(before.name.as_str());
            }
            let planned = Pair {
                old: before.map(|config| Side::of(old, config)),
                new: Some(Side::of(new, service)),
                now,
            };
            services.extend(planned.plan(&flows));
        }
        let gone = old.config.services.iter();
        for service in gone.filter(|service| !went_on.contains(service.name.as_str())) {
            let planned = Pair {
                old: Some(Side::of(old, service)),
                new: None,
                now,
            };
            services.extend(planned.plan(&flows));
        }
        Plan { services }
    }

    /// Flows whose real changes such that they do not simply go on.
    pub fn flows_affected(&self) -> u64 {
        self.services
            .iter()
            .map(|service| service.flows_affected)
            .sum()
    }
}

/// One service of a [`Stand`].
#[derive(Clone, Copy)]
struct Side<'s> {
    config: &'s config::Service,
    compiled: Option<&'s Service>,
}

impl<'s> Side<'s> {
    fn of(stand: Stand<'s>, config: &'s config::Service) -> Self {
        let mut services = stand.table.services.iter();
        Side {
            config,
            compiled: services.find(|service| *service.name == *config.name),
        }
    }

    fn flows(&self, real: &config::Real, flows: &impl Fn(RealId) -> u64) -> u64 {
        let members = self.compiled.map_or(&[][..], |service| &service.members);
        let mut same = members.iter().filter(|member| {
            let place = SocketAddr::new(member.address, member.port.unwrap_or(0));
            !member.sorry && place == real.place()
        });
        same.next().map_or(0, |member| flows(member.id))
    }

    fn slots(&self) -> Option<&'s [u16]> {
        Some(self.compiled?.ring.as_ref()?.slots())
    }
}

/// One service before and after.
struct Pair<'s> {
    old: Option<Side<'s>>,
    new: Option<Side<'s>>,
    now: bool,
}

impl Pair<'_> {
    /// `None`: nothing changes.
    fn plan(&self, flows: &impl Fn(RealId) -> u64) -> Option<ServicePlan> {
        let Pair { old, new, now } = self;
        let config = new.or(*old)?.config;
        let (before, after) = (old.map(|side| side.config), new.map(|side| side.config));
        if before == after {
            return None;
        }
        let removal = if *now { Fate::End } else { Fate::Linger };
        let mut reals = Vec::new();
        let mut total = 0;
        let of = |service: Option<&'_ config::Service>| -> HashMap<SocketAddr, config::Real> {
            let reals = service.map_or(&[][..], |service| &service.reals);
            reals
                .iter()
                .map(|real| (real.place(), real.clone()))
                .collect()
        };
        let (reals_before, reals_after) = (of(before), of(after));
        for real in after.map_or(&[][..], |service| &service.reals) {
            let known = old.as_ref().map_or(0, |side| side.flows(real, flows));
            total += known;
            let Some((change, fate)) = real_change(reals_before.get(&real.place()), real) else {
                continue;
            };
            reals.push(RealPlan::new(real, change, known, fate));
        }
        for real in before.map_or(&[][..], |service| &service.reals) {
            if !reals_after.contains_key(&real.place()) {
                let known = old.as_ref().map_or(0, |side| side.flows(real, flows));
                total += known;
                reals.push(RealPlan::new(real, RealPlanChange::Removed, known, removal));
            }
        }
        let affected = |real: &&RealPlan| real.fate != Fate::Stay;
        let by_reals = reals.iter().filter(affected).map(|real| real.flows).sum();
        Some(ServicePlan {
            service: config.name.clone(),
            change: match (before, after) {
                (None, _) => ServicePlanChange::Added,
                (_, None) => ServicePlanChange::Removed,
                _ => ServicePlanChange::Changed,
            },
            slots: Ring::SIZE as u32,
            slots_moved: moved(
                old.and_then(|side| side.slots()),
                new.and_then(|side| side.slots()),
            ),
            flows_affected: match (before, after) {
                (Some(before), Some(after)) if !reaches_the_same(before, after) => total,
                _ => by_reals,
            },
            flows: total,
            reals,
        })
    }
}

impl RealPlan {
    fn new(real: &config::Real, change: RealPlanChange, flows: u64, fate: Fate) -> Self {
        RealPlan {
            real: real.name.clone(),
            address: real.address,
            change,
            flows,
            fate,
        }
    }
}

/// What happens to a real that stays, and to its flows; `None`: nothing.
fn real_change(
    before: Option<&config::Real>,
    after: &config::Real,
) -> Option<(RealPlanChange, Fate)> {
    let Some(before) = before else {
        return Some((RealPlanChange::Added, Fate::Stay));
    };
    if before == after {
        return None;
    }
    Some(match (before.admin, after.admin) {
        (from, to) if from == to => (RealPlanChange::Changed, Fate::Stay),
        (_, Admin::Enabled) => (RealPlanChange::Enabled, Fate::Stay),
        (_, Admin::Drain) => (RealPlanChange::Drained, Fate::Linger),
        (_, Admin::Disabled) => (RealPlanChange::Disabled, Fate::End),
    })
}

/// Whether every client that reached `old` reaches `new`, in the same way.
fn reaches_the_same(old: &config::Service, new: &config::Service) -> bool {
    let keys: HashSet<_> = new.keys().collect();
    old.mode == new.mode && old.keys().all(|key| keys.contains(&key))
}

/// Slots that lead to another real, or to one where there was none, or to none.
fn moved(old: Option<&[u16]>, new: Option<&[u16]>) -> u32 {
    match (old, new) {
        (Some(old), Some(new)) => {
            old.iter().zip(new).filter(|(old, new)| old != new).count() as u32
        }
        (None, None) => 0,
        _ => Ring::SIZE as u32,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::fixture::World;
    use super::*;

    /// The plan of turning one world into another one, each real with ten flows.
    fn planned(from: &str, to: &str, now: bool) -> Plan {
        let mut world = World::new(from);
        let (old_config, old) = (world.config.clone(), world.table());
        world.config = config::parse(to).unwrap();
        let new = world.table();
        let (old, new) = (
            Stand {
                config: &old_config,
                table: &old,
            },
            Stand {
                config: &world.config,
                table: &new,
            },
        );
        Plan::new(old, new, |_| 10, now)
    }

    fn file(service: &str, reals: &[&str]) -> String {
        let mut text = format!("[network]\ninterface = \"eth0\"\n[[service]]\n{service}\n");
        for real in reals {
            text += &format!("[[service.real]]\n{real}\n");
        }
        text
    }

    const WEB: &str = "name = \"web\"\nvip = \"192.0.2.10\"\nport = 80";
    const A: &str = "name = \"a\"\naddress = \"192.0.2.21\"";
    const B: &str = "name = \"b\"\naddress = \"192.0.2.22\"";
    const C: &str = "name = \"c\"\naddress = \"192.0.2.23\"";

    fn told(plan: &Plan) -> Vec<(&str, RealPlanChange, u64, Fate)> {
        let reals = plan.services.iter().flat_map(|service| &service.reals);
        reals
            .map(|r| (r.real.as_str(), r.change, r.flows, r.fate))
            .collect()
    }

    #[test]
    fn nothing_changes_nothing() {
        let same = file(WEB, &[A, B]);
        assert_eq!(planned(&same, &same, false), Plan::default());
    }

    #[test]
    fn a_removed_real_takes_its_slots_and_its_flows_linger_or_end() {
        for (now, fate) in [(false, Fate::Linger), (true, Fate::End)] {
            let plan = planned(&file(WEB, &[A, B, C]), &file(WEB, &[A, B]), now);
            assert_eq!(told(&plan), [("c", RealPlanChange::Removed, 10, fate)]);
            let web = &plan.services[0];
            assert_eq!((web.flows, web.flows_affected), (30, 10));
            // Its own third, and hardly any other.
            let share = f64::from(web.slots_moved) / f64::from(web.slots);
            assert!((0.32..0.40).contains(&share), "{share}");
        }
    }

    #[test]
    fn every_wish_has_its_consequence() {
        let with = |admin: &str| format!("{B}\nadmin = \"{admin}\"");
        for (from, to, change, fate, affected) in [
            (
                "enabled",
                "drain",
                RealPlanChange::Drained,
                Fate::Linger,
                10,
            ),
            (
                "enabled",
                "disabled",
                RealPlanChange::Disabled,
                Fate::End,
                10,
            ),
            ("drain", "enabled", RealPlanChange::Enabled, Fate::Stay, 0),
        ] {
            let plan = planned(
                &file(WEB, &[A, &with(from)]),
                &file(WEB, &[A, &with(to)]),
                false,
            );
            assert_eq!(told(&plan), [("b", change, 10, fate)]);
            assert_eq!(plan.flows_affected(), affected);
        }
        let heavier = format!("{B}\nweight = 3");
        let plan = planned(&file(WEB, &[A, B]), &file(WEB, &[A, &heavier]), false);
        assert_eq!(
            told(&plan),
            [("b", RealPlanChange::Changed, 10, Fate::Stay)]
        );
        assert!(plan.services[0].slots_moved > 0 && plan.flows_affected() == 0);
    }

    #[test]
    fn services_come_go_and_are_renamed() {
        let shop = WEB.replace("web", "shop");
        let renamed = planned(&file(WEB, &[A, B]), &file(&shop, &[A, B]), false);
        assert_eq!(renamed.services.len(), 1);
        let service = &renamed.services[0];
        assert_eq!(
            (service.change, service.flows_affected),
            (ServicePlanChange::Changed, 0)
        );

        let other = shop.replace("80", "81");
        let plan = planned(&file(WEB, &[A]), &file(&other, &[B]), false);
        let changes: Vec<_> = plan
            .services
            .iter()
            .map(|s| (s.service.as_str(), s.change, s.flows_affected))
            .collect();
        assert_eq!(
            changes,
            [
                ("shop", ServicePlanChange::Added, 0),
                ("web", ServicePlanChange::Removed, 10)
            ]
        );
        assert!(plan.services.iter().all(|s| s.slots_moved == s.slots));
    }

    #[test]
    fn another_port_leaves_no_flow_where_it_was() {
        let plan = planned(
            &file(WEB, &[A, B]),
            &file(&WEB.replace("80", "81"), &[A, B]),
            false,
        );
        assert_eq!(plan.services[0].flows_affected, 20);
        let more = WEB.replace("80", "[80, 81]");
        let plan = planned(&file(WEB, &[A, B]), &file(&more, &[A, B]), false);
        assert_eq!(plan.services[0].flows_affected, 0);
    }
}
