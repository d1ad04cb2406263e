//! A plan that a room puts in force, as the room tells of it.

use std::sync::Arc;

/// How a plan of kind `P` stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanState<P> {
    /// The plan that was to be put in force.
    pub wanted: Option<Arc<P>>,
    /// The plan in force.
    pub in_force: Option<Arc<P>>,
    /// Why the plan wanted is not in force, in words.
    pub trouble: Option<String>,
}

impl<P> Default for PlanState<P> {
    fn default() -> Self {
        PlanState {
            wanted: None,
            in_force: None,
            trouble: None,
        }
    }
}

impl<P: PartialEq> PlanState<P> {
    /// Whether `plan` is in force, or was tried in vain: nothing is left to wait for.
    pub fn has_settled(&self, plan: &P) -> bool {
        let is = |other: &Option<Arc<P>>| other.as_ref().is_some_and(|other| **other == *plan);
        is(&self.in_force) || (self.trouble.is_some() && is(&self.wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trouble_with_another_plan_settles_nothing() {
        let state = |wanted, in_force, trouble: Option<&str>| PlanState {
            wanted: Some(Arc::new(wanted)),
            in_force: Some(Arc::new(in_force)),
            trouble: trouble.map(str::to_owned),
        };
        assert!(state(2, 2, None).has_settled(&2));
        assert!(state(2, 1, Some("refused")).has_settled(&2));
        assert!(!state(2, 1, None).has_settled(&2));
        assert!(!state(1, 0, Some("refused")).has_settled(&2));
        assert!(!PlanState::default().has_settled(&2));
    }
}
