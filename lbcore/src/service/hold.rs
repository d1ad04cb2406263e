//! Who flaps stays down for a while after its checks pass again, as long as others serve.

use super::compile::{Judged, RealInput, ServiceInput};
use super::judge::RealState;
use crate::time::Tick;

/// Puts those of `input` that are to be held from up back to down. Returns when the first of them
/// is let go.
///
/// Only who is down already is held: what serves, serves on. And nobody is held where the others
/// would be fewer than `min_healthy`, or none: a real that flaps is better than no real.
pub(super) fn hold(judged: &mut [Judged], input: &ServiceInput<'_>, now: Tick) -> Option<Tick> {
    let wanted = input.config.min_healthy.max(1) as usize;
    let held = |real: &RealInput| {
        let down = matches!(real.last, Some((RealState::Down, _)));
        real.held.clone().filter(|(until, _)| down && now < *until)
    };
    let mut next: Option<Tick> = None;
    for backup in [false, true] {
        let own = |real: &RealInput| real.backup == backup && !real.sorry;
        let others = input
            .reals
            .iter()
            .zip(judged.iter())
            .filter(|(real, judged)| {
                own(real)
                    && judged.state.serves()
                    && judged.reachable(real)
                    && real.effective_weight > 0
                    && held(real).is_none()
            });
        if others.count() < wanted {
            continue;
        }
        for (real, judged) in input.reals.iter().zip(judged.iter_mut()) {
            let Some((until, why)) = held(real).filter(|_| own(real) && judged.state.serves())
            else {
                continue;
            };
            judged.state = RealState::Down;
            judged.reason = format!("held down: {why}");
            judged.held_until = Some(until);
            next = Some(next.map_or(until, |other| other.min(until)));
        }
    }
    next
}

#[cfg(test)]
mod tests {
    use super::super::fixture::World;
    use super::*;
    use crate::service::{FlowFate, ServiceState, Serving, WhyNot};

    fn flapping(extra: &str, reals: usize) -> World {
        let mut world = World::web(extra, &vec![1; reals]);
        world.down("rs1");
        world.compile();
        world.health.clear();
        let until = Tick(world.now.0 + 60_000);
        world
            .held
            .insert("rs1".into(), (until, "went down 4 times in 3 min".into()));
        world
    }

    fn state(world: &mut World, real: &str) -> (RealState, String, Option<u64>) {
        let compiled = world.compile();
        let members = &compiled.table.services[0].members;
        let member = members.iter().find(|m| m.name == real).expect("a member");
        let next = compiled.next_change.map(|at| at.0);
        (member.state, member.reason.clone(), next)
    }

    #[test]
    fn who_flaps_stays_down_until_its_time() {
        let mut world = flapping("", 2);
        let until = world.now.0 + 60_000;
        let (is, why, next) = state(&mut world, "rs1");
        assert_eq!(is, RealState::Down);
        assert_eq!(why, "held down: went down 4 times in 3 min");
        world.now.0 = until - 1;
        assert_eq!(state(&mut world, "rs1").2, Some(until));
        assert!(next.is_some_and(|next| next <= until));
        world.now.0 = until;
        assert_eq!(state(&mut world, "rs1").0, RealState::Up);
        // What serves, serves on, whatever is thought of it.
        let later = Tick(until + 60_000);
        world.held.insert("rs1".into(), (later, "flaps".into()));
        assert_eq!(state(&mut world, "rs1").0, RealState::Up);
    }

    #[test]
    fn nobody_is_held_where_too_few_others_serve() {
        let mut alone = flapping("", 2);
        alone.down("rs2");
        assert_eq!(state(&mut alone, "rs1").0, RealState::Up);

        let mut two = flapping("min_healthy = 2", 2);
        assert_eq!(state(&mut two, "rs1").0, RealState::Up);
        let mut three = flapping("min_healthy = 2", 3);
        assert_eq!(state(&mut three, "rs1").0, RealState::Down);
    }

    #[test]
    fn who_is_held_has_not_failed() {
        let mut world = flapping("min_healthy = 2", 3);
        let table = world.table();
        let service = &table.services[0];
        assert_eq!(
            (service.serving, service.state),
            (Serving::Reals, ServiceState::Degraded)
        );
    }

    #[test]
    fn who_is_ejected_keeps_its_flows_and_gets_no_new_ones_while_others_serve() {
        let mut world = World::web("", &[1; 10]);
        let until = Tick(world.now.0 + 30_000);
        world.ejected.insert("rs1".into(), until);
        let compiled = world.compile();
        assert_eq!(compiled.next_change, Some(until));
        let service = &compiled.table.services[0];
        let member = &service.members[0];
        assert_eq!(member.state, RealState::Up);
        assert_eq!(member.why_not, Some(WhyNot::Ejected));
        assert_eq!(member.ejected_until, Some(until));
        assert_eq!(service.state, ServiceState::Up);
        let real = compiled.table.real(member.id).expect("it is there");
        assert_eq!(real.fate, FlowFate::Keep);
        // Its checks have the last word.
        world.down("rs1");
        let table = world.table();
        let member = &table.services[0].members[0];
        assert_eq!(member.state, RealState::Down);
        assert_eq!(member.ejected_until, None);
    }
}
