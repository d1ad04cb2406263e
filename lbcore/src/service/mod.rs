//! The snapshot that packets are decided by, and how it comes about: configuration, health,
//! neighbours, drains and weights go in, one immutable [`ServiceTable`] comes out.

mod compile;
mod hold;
mod judge;
mod plan;
mod ramp;
mod registry;
mod rings;
mod table;
mod weights;

pub use compile::{Compiled, Inputs, RealInput, ServiceInput, compile};
pub use judge::{Health, RealState, ServiceState, Serving, Way, is_dead};
pub use plan::{Fate, Plan, RealPlan, RealPlanChange, ServicePlan, ServicePlanChange, Stand};
pub use ramp::ramping;
pub use registry::{Exhausted, Registry};
pub use rings::{RememberedRing, Rings};
pub use table::{
    Dial, FlowFate, Interface, Member, PastRing, Path, Real, Service, ServiceTable, WhyNot,
};
pub use weights::{SETTLE, Settled};

#[cfg(any(test, feature = "fixture"))]
pub mod fixture;
#[cfg(test)]
mod tests;
