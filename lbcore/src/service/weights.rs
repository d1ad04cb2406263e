//! Weights in force: what reals say of themselves, calmed, and never to the ruin of all.

use super::compile::RealInput;
use super::judge::RealState;
use crate::id::RealId;
use crate::time::Tick;
use std::collections::BTreeMap;
use std::time::Duration;

/// Between two changes of a service's weights. Each one moves a share of the Maglev ring, and with
/// it flows that nobody remembers; a rollout of a minute then costs six of them instead of one for
/// each pod.
pub const SETTLE: Duration = Duration::from_secs(10);

/// The weights that the reals of one service have given themselves, as they are in force: the
/// first at once, later ones together and not sooner than [`SETTLE`] after the last change. Nobody
/// waits to get its first flow, or its last one: from and to 0 all weights follow at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    weights: BTreeMap<RealId, u16>,
    changed: Option<Tick>,
}

impl Settled {
    /// Follows what the reals say now. Returns when to look again, if a change has to wait.
    pub fn follow(&mut self, said: &BTreeMap<RealId, u16>, now: Tick) -> Option<Tick> {
        self.weights.retain(|real, _| said.contains_key(real));
        if self.weights == *said {
            return None;
        }
        let urgent = said
            .iter()
            .any(|(real, says)| match self.weights.get(real) {
                Some(weight) => (*weight == 0) != (*says == 0),
                None => true,
            });
        let due = self.changed.map(|at| at + SETTLE);
        if let Some(due) = due.filter(|due| !urgent && now < *due) {
            return Some(due);
        }
        self.weights.clone_from(said);
        self.changed = Some(now);
        None
    }

    /// The weight in force of a real that has ever said one.
    pub fn of(&self, real: RealId) -> Option<u16> {
        self.weights.get(&real).copied()
    }
}

/// The weights the snapshot uses. Where all reals that serve say 0 of themselves, though the
/// operator gave them a weight, it is not they who are believed: they pass their checks, and
/// somebody has to serve.
pub(super) fn in_force(reals: &[RealInput], states: &[RealState]) -> Vec<u16> {
    let mut weights: Vec<u16> = reals.iter().map(|real| real.effective_weight).collect();
    for backup in [false, true] {
        let able = |at: &usize| {
            let real: &RealInput = &reals[*at];
            real.backup == backup && !real.sorry && real.weight > 0 && states[*at].serves()
        };
        let able: Vec<usize> = (0..reals.len()).filter(able).collect();
        if able.iter().all(|at| weights[*at] == 0) {
            for at in able {
                weights[at] = reals[at].weight;
            }
        }
    }
    weights
}

#[cfg(test)]
mod tests {
    use super::super::Health;
    use super::super::fixture::World;
    use super::*;

    fn said(weights: &[u16]) -> BTreeMap<RealId, u16> {
        let numbered = (0..).map(RealId);
        numbered.zip(weights.iter().copied()).collect()
    }

    fn at(seconds: u64) -> Tick {
        Tick(1_000_000 + seconds * 1_000)
    }

    #[test]
    fn the_first_weights_are_in_force_at_once() {
        let mut settled = Settled::default();
        assert_eq!(settled.of(RealId(0)), None);
        assert_eq!(settled.follow(&said(&[3]), at(0)), None);
        assert_eq!(settled.follow(&said(&[3, 1]), at(1)), None, "another node");
        assert_eq!(settled.of(RealId(1)), Some(1));
    }

    #[test]
    fn a_change_after_calm_is_in_force_at_once_and_the_next_ones_wait_together() {
        let mut settled = Settled::default();
        settled.follow(&said(&[3, 3]), at(0));
        assert_eq!(settled.follow(&said(&[4, 3]), at(60)), None);
        assert_eq!(settled.of(RealId(0)), Some(4));
        for (second, weights) in [(61, [5, 3]), (65, [5, 2]), (69, [6, 2])] {
            assert_eq!(settled.follow(&said(&weights), at(second)), Some(at(70)));
            assert_eq!(settled.of(RealId(0)), Some(4));
        }
        assert_eq!(settled.follow(&said(&[6, 2]), at(70)), None);
        assert_eq!(
            (settled.of(RealId(0)), settled.of(RealId(1))),
            (Some(6), Some(2))
        );
    }

    #[test]
    fn what_is_taken_back_before_it_was_due_changes_nothing() {
        let mut settled = Settled::default();
        settled.follow(&said(&[3]), at(0));
        let before = settled.clone();
        settled.follow(&said(&[4]), at(1));
        assert_eq!(settled.follow(&said(&[3]), at(2)), None);
        assert_eq!(settled, before);
    }

    #[test]
    fn from_and_to_zero_nobody_waits() {
        let mut settled = Settled::default();
        settled.follow(&said(&[3, 3]), at(0));
        assert_eq!(settled.follow(&said(&[0, 4]), at(1)), None);
        assert_eq!(
            (settled.of(RealId(0)), settled.of(RealId(1))),
            (Some(0), Some(4))
        );
        assert_eq!(settled.follow(&said(&[1, 4]), at(2)), None);
        assert_eq!(settled.of(RealId(0)), Some(1));
    }

    #[test]
    fn a_real_that_is_gone_is_forgotten() {
        let mut settled = Settled::default();
        settled.follow(&said(&[3, 3]), at(0));
        assert_eq!(settled.follow(&said(&[3]), at(1)), None);
        assert_eq!(settled.of(RealId(1)), None);
    }

    /// A rollout over ten minutes that changes a weight each second.
    #[test]
    fn a_rollout_changes_the_table_once_in_ten_seconds() {
        let mut settled = Settled::default();
        let mut changes = 0;
        for second in 0..600 {
            let before = settled.clone();
            settled.follow(&said(&[5, 1 + (second % 7) as u16]), at(second));
            changes += u32::from(settled != before);
        }
        assert!((50..=61).contains(&changes), "{changes}");
    }

    fn shares(world: &mut World) -> Vec<u16> {
        let table = world.table();
        let members = &table.services[0].members;
        members.iter().map(|m| m.effective_weight).collect()
    }

    #[test]
    fn what_reals_say_of_themselves_is_their_weight() {
        let mut world = World::web("", &[1, 1, 100]);
        world.says.insert("rs1".to_owned(), 3);
        world.says.insert("rs3".to_owned(), 0);
        assert_eq!(shares(&mut world), [3, 1, 0]);
        let table = world.table();
        let out = &table.services[0].members[2];
        assert_eq!(out.why_not, Some(super::super::WhyNot::WeightZero));
        assert_eq!((out.state, out.weight), (RealState::Up, 100));
    }

    #[test]
    fn where_all_that_serve_say_zero_the_configured_weights_are_in_force() {
        let mut world = World::web("", &[2, 1, 0, 1]);
        for real in ["rs1", "rs2", "rs3"] {
            world.says.insert(real.to_owned(), 0);
        }
        assert_eq!(
            shares(&mut world),
            [0, 0, 0, 1],
            "one serves: it has them all"
        );
        world.health.insert("rs4".to_owned(), Health::Draining);
        assert_eq!(
            shares(&mut world),
            [2, 1, 0, 1],
            "but the operator's 0 stays 0"
        );
    }
}
