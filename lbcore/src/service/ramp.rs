//! Slow start: a real that comes back gets its share little by little.

use super::compile::RealInput;
use super::judge::RealState;
use crate::time::Tick;
use std::time::Duration;

/// In how many steps a share grows: each one moves a part of the Maglev ring, so it does not grow
/// at every tick.
const STEPS: u16 = 10;

/// How far each real of a service has come.
#[derive(Debug)]
pub(super) struct Ramp {
    /// By real: how many [`STEPS`] of its weight it has.
    steps: Vec<u16>,
    /// When one of them gets more.
    pub next: Option<Tick>,
}

/// Since when a real grows; `None`: it does not. One that is new, or that was up when lbd began,
/// never does: then all would, and nobody would gain.
pub fn ramping(
    last: Option<(RealState, Tick)>,
    state: RealState,
    since: Option<Tick>,
    now: Tick,
) -> Option<Tick> {
    match last {
        _ if state.leaves() => None,
        Some((before, _)) if before.leaves() => Some(now),
        // Before its first check it was away, and had no flows yet.
        Some((RealState::Checking, _)) if state != RealState::Checking => since.map(|_| now),
        _ => since,
    }
}

impl Ramp {
    /// Of all reals of one service.
    pub(super) fn new(
        reals: &[RealInput],
        states: &[RealState],
        slow_start: Duration,
        now: Tick,
    ) -> Self {
        let mut ramp = Ramp {
            steps: vec![STEPS; reals.len()],
            next: None,
        };
        let whole = u64::try_from(slow_start.as_millis()).unwrap_or(u64::MAX);
        if whole == 0 {
            return ramp;
        }
        for (at, real) in reals.iter().enumerate() {
            let since = ramping(real.last, states[at], real.ramping_since, now);
            let Some(since) = since.filter(|since| now.since(*since) < whole) else {
                continue;
            };
            let done = now.since(since) * u64::from(STEPS) / whole;
            // Below STEPS, so nothing is cut off.
            ramp.steps[at] = done as u16 + 1;
            let next = whole * (done + 1) / u64::from(STEPS);
            let next = since + Duration::from_millis(next.max(1));
            ramp.next = Some(ramp.next.map_or(next, |other| other.min(next)));
        }
        ramp
    }

    /// The weights that schedulers and the ring see: their proportions count, so all grow alike
    /// while one is on its way.
    pub(super) fn shares(&self, weights: &[u16]) -> Vec<u16> {
        if self.next.is_none() {
            return weights.to_vec();
        }
        let pairs = weights.iter().zip(&self.steps);
        pairs
            .map(|(weight, step)| weight.saturating_mul(*step))
            .collect()
    }

    /// The weight of one real for people: at least 1 if it has one at all.
    pub(super) fn shown(&self, at: usize, weight: u16) -> u16 {
        let shown = u32::from(weight) * u32::from(self.steps[at]) / u32::from(STEPS);
        // Not above `weight`, so nothing is cut off.
        (shown as u16).max(weight.min(1))
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use crate::sched::Ring;

    fn share(world: &mut World, real: &str) -> (f64, Option<u64>, u16) {
        let compiled = world.compile();
        let service = &compiled.table.services[0];
        let member = service.members.iter().find(|m| m.name == real);
        let member = member.expect("a member");
        let slots = service.ring.as_ref().expect("a ring").share(member.id);
        (
            slots as f64 / Ring::SIZE as f64,
            compiled.next_change.map(|at| at.0),
            member.effective_weight,
        )
    }

    #[test]
    fn a_real_that_comes_back_grows_by_tenths() {
        let mut world = World::web("slow_start = \"30s\"", &[10, 10]);
        world.now.0 = 1_000;
        let (even, next, _) = share(&mut world, "rs1");
        assert!(
            (even - 0.5).abs() < 0.01 && next.is_none(),
            "{even} {next:?}"
        );
        world.down("rs1");
        world.compile();
        world.health.clear();
        world.now.0 = 100_000;
        for step in 1..=10u16 {
            let (share, next, weight) = share(&mut world, "rs1");
            let expected = f64::from(step) / f64::from(step + 10);
            assert!((share - expected).abs() < 0.01, "step {step}: {share}");
            assert_eq!(weight, step);
            let due = 100_000 + u64::from(step) * 3_000;
            assert_eq!(next, Some(due), "step {step}");
            world.now.0 = due;
        }
        let (whole, next, weight) = share(&mut world, "rs1");
        assert!((whole - 0.5).abs() < 0.01 && next.is_none() && weight == 10);
    }

    #[test]
    fn nobody_ramps_at_the_start_or_without_the_key() {
        let mut world = World::web("slow_start = \"30s\"", &[1, 1]);
        assert_eq!(share(&mut world, "rs1").1, None);
        let mut world = World::web("", &[1, 1]);
        world.compile();
        world.down("rs1");
        world.compile();
        world.health.clear();
        let (even, next, _) = share(&mut world, "rs1");
        assert!((even - 0.5).abs() < 0.01 && next.is_none());
    }

    #[test]
    fn a_real_that_ramps_alone_has_everything() {
        let mut world = World::web("slow_start = \"30s\"\nmin_healthy = 0", &[1, 1]);
        world.compile();
        world.down("rs1");
        world.down("rs2");
        world.compile();
        world.health.remove("rs1");
        assert_eq!(share(&mut world, "rs1").0, 1.0);
    }
}
