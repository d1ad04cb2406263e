//! What an operator can do from here, and what it will do, told before it is done.

use lbcore::api::{RealView, ServiceView};
use lbcore::config::{Admin, Keys};
use lbcore::human;
use lbcore::sched::Kind;
use std::fmt;

/// What is wanted of a real.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// No new flows.
    Drain,
    /// Takes part.
    Enable,
    /// As if it had died.
    Disable,
    /// Its share.
    Weight(u16),
}

/// A wish about one real, by names that lbd finds it by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Name of the service.
    pub service: String,
    /// Name of the real.
    pub real: String,
    /// What.
    pub wish: Wish,
}

impl Wish {
    /// As lbd is asked for it, by the file's own keys.
    pub fn keys(self) -> Keys {
        let admin = |wish: Admin| ("admin".to_owned(), wish.word().into());
        Keys::from_iter([match self {
            Wish::Drain => admin(Admin::Drain),
            Wish::Enable => admin(Admin::Enabled),
            Wish::Disable => admin(Admin::Disabled),
            Wish::Weight(weight) => ("weight".to_owned(), weight.into()),
        }])
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Action { service, real, .. } = self;
        match self.wish {
            Wish::Drain => write!(f, "drain {service}/{real}"),
            Wish::Enable => write!(f, "enable {service}/{real}"),
            Wish::Disable => write!(f, "disable {service}/{real}"),
            Wish::Weight(weight) => write!(f, "weight of {service}/{real}: {weight}"),
        }
    }
}

/// What it will do to traffic, as far as what is seen here tells.
pub fn consequences(service: &ServiceView, real: &RealView, wish: Wish) -> Vec<String> {
    let flows = |one: &str, many: &str| match real.flows {
        0 => "It has no flows.".to_owned(),
        1 => format!("Its one flow {one}."),
        n => format!("Its {} flows {many}.", human::count(n)),
    };
    match wish {
        Wish::Drain => vec![
            "It gets no new flows.".to_owned(),
            flows(
                "stays until it ends, or until drain_timeout",
                "stay until they end, or until drain_timeout",
            ),
            left(service, real),
        ],
        Wish::Disable => vec![
            "It gets no new flows.".to_owned(),
            flows(
                "is treated as after its death, at once (on_dead)",
                "are treated as after its death, at once (on_dead)",
            ),
            left(service, real),
        ],
        Wish::Enable => vec!["It gets new flows again as soon as its checks pass.".to_owned()],
        Wish::Weight(0) => vec![
            "It gets no new flows; those it has stay.".to_owned(),
            left(service, real),
        ],
        Wish::Weight(weight) => vec![share(service, real, weight)],
    }
}

/// Who is left when `real` gets no new flows.
fn left(service: &ServiceView, real: &RealView) -> String {
    let takes = |r: &&RealView| r.state.serves() && r.weight > 0 && !r.backup && !r.removed;
    let others = service
        .reals
        .iter()
        .filter(takes)
        .filter(|r| (r.address, r.port) != (real.address, real.port))
        .count();
    match others {
        0 if service.sorry.is_some() => {
            "NOBODY ELSE is up: the backups or the sorry server answer.".to_owned()
        }
        0 => "NOBODY ELSE is up: without backups the service goes down.".to_owned(),
        1 => "One other real takes its part.".to_owned(),
        n => format!("{n} other reals take its part."),
    }
}

/// How its part of new flows changes.
fn share(service: &ServiceView, real: &RealView, weight: u16) -> String {
    if matches!(service.scheduler, Kind::Rr | Kind::Lc) {
        return format!(
            "The scheduler {} does not look at weights, only whether they are 0.",
            service.scheduler
        );
    }
    if !real.state.serves() {
        return format!("It is {}: the weight counts when it is up.", real.state);
    }
    let others: u32 = service
        .reals
        .iter()
        .filter(|r| (r.address, r.port) != (real.address, real.port))
        .map(|r| r.effective_weight)
        .sum();
    let percent = |own: u32| 100.0 * f64::from(own) / f64::from((own + others).max(1));
    format!(
        "Its share of new flows goes from {:.0} % to {:.0} %.",
        percent(real.effective_weight),
        percent(weight.into())
    )
}
