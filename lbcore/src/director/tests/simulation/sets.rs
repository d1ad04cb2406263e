//! What changes a service's set, and the publishing of it, as the daemon does both.

use super::*;
use crate::config::Admin;
use crate::sched::Kind;
use crate::service::Health;

impl Simulation {
    /// One change, at times another one at once, or the way back.
    pub(super) fn change_the_set(&mut self) {
        let (config, health) = (
            self.bench.world.config.clone(),
            self.bench.world.health.clone(),
        );
        let back = self.dice.one_in(4);
        self.change();
        if self.dice.one_in(3) {
            for _ in 0..10 {
                self.begin();
            }
            self.change();
        }
        if back {
            for _ in 0..20 {
                self.begin();
                self.packet();
            }
            // Reals that came meanwhile stay.
            self.bench.world.health = health;
            for real in &mut self.bench.world.config.services[0].reals {
                let before = config.services[0]
                    .reals
                    .iter()
                    .find(|r| r.name == real.name);
                if let Some(before) = before {
                    *real = before.clone();
                }
            }
            self.publish();
        }
    }

    fn change(&mut self) {
        if std::mem::take(&mut self.bench.world.maintenance) {
            return self.publish();
        }
        let reals = self.reals().len();
        let nth = self.dice.below(reals);
        let name = self.reals()[nth].name.clone();
        match self.dice.below(10) {
            0 | 1 if reals < 10 => self.add(),
            0..3 if reals - self.bench.world.lingering.len() > 3 => {
                self.bench.world.lingering.insert(name);
            }
            3 => self.toggle(nth, Admin::Drain),
            4 => self.toggle(nth, Admin::Disabled),
            5 => self.reals()[nth].weight = self.dice.pick(&[0, 1, 2, 5]),
            // Moves nothing.
            6 => self.reals().iter_mut().for_each(|real| real.weight *= 2),
            7 => self.bench.world.maintenance = true,
            8 => {
                let scheduler = &mut self.bench.world.config.services[0].scheduler;
                *scheduler = match scheduler {
                    Kind::Sh => Kind::Maglev,
                    _ => Kind::Sh,
                };
            }
            _ => {
                let health = self.bench.world.health.entry(name).or_insert(Health::Up);
                *health = match health {
                    Health::Up => Health::Down,
                    _ => Health::Up,
                };
            }
        }
        for real in self.reals() {
            real.weight = real.weight.min(100);
        }
        self.publish();
    }

    fn reals(&mut self) -> &mut Vec<crate::config::Real> {
        &mut self.bench.world.config.services[0].reals
    }

    fn add(&mut self) {
        if let Some(back) = self.bench.world.lingering.pop_first() {
            // One that was removed and still has flows.
            assert!(self.reals().iter().any(|real| real.name == back));
            return;
        }
        let Some(address) = self.addresses.checked_add(1).filter(|n| *n < 200) else {
            return;
        };
        self.addresses = address;
        let mut real = self.reals()[0].clone();
        real.name = format!("rs{address}");
        real.address = [192, 0, 2, 20 + address].into();
        (real.weight, real.admin) = (1, Admin::Enabled);
        self.reals().push(real);
    }

    fn toggle(&mut self, nth: usize, to: Admin) {
        let admin = &mut self.reals()[nth].admin;
        *admin = match *admin {
            Admin::Enabled => to,
            Admin::Drain | Admin::Disabled => Admin::Enabled,
        };
    }

    /// The next snapshot, as the reconciler makes it.
    pub(super) fn publish(&mut self) {
        let before = self.service();
        let (kind, ring) = (before.kind, before.ring.clone());
        let loads = &self.bench.loads;
        let has_flows = |(id, _): (RealId, _)| loads.flows(id) > 0;
        self.bench.world.remembers = self.bench.table.reals().any(has_flows);
        self.bench.world.now = self.bench.now;
        let compiled = self.bench.world.compile();
        self.bench.table = compiled.table;
        self.next_change = compiled.next_change;
        if self.service().ring != ring || self.service().kind != kind {
            self.sums.changes += 1;
            self.ring_changed();
        }
    }

    /// Removed reals whose flows have ended are forgotten.
    pub(super) fn forget_the_gone(&mut self) {
        let Bench { table, loads, .. } = &self.bench;
        let service = &table.services[0];
        let ended = |id| loads.flows(id) == 0 && !table.may_have_uncounted(id);
        let gone: Vec<String> = service
            .members
            .iter()
            .filter(|member| member.lingering && ended(member.id))
            .map(|member| member.name.clone())
            .collect();
        if gone.is_empty() {
            return;
        }
        let world = &mut self.bench.world;
        let (leaving, staying) = std::mem::take(&mut world.config.services[0].reals)
            .into_iter()
            .partition(|real| gone.contains(&real.name));
        world.config.services[0].reals = staying;
        let leaving: Vec<crate::config::Real> = leaving;
        for real in leaving {
            world.lingering.remove(&real.name);
            world.registry.retire_real("web", real.place());
        }
        self.publish();
    }

    /// lbd is killed and comes back: the flow table and what was written of the rings are kept.
    pub(super) fn restart(&mut self) {
        self.sums.restarts += 1;
        self.bench.world.restart();
        let (flows, recovered) = FlowTable::open(self.memory, &self.bench.world.key).unwrap();
        assert_eq!(
            (recovered.flows, recovered.swept),
            (self.bench.flows.len(), 0)
        );
        self.bench.flows = flows;
        self.bench.loads = Loads::default();
        let loads = &self.bench.loads;
        flows.for_each(|_, entry, _| loads.add(entry.real, entry.state.weightiness()));
        self.gauge = Flood::new(flows.capacity());
        self.bench.flood = false;
        self.publish();
    }
}
