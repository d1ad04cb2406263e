//! Decisions in words, one rule a sentence.

use crate::api::FlowFound;
use crate::config::Track;
use crate::director::{Decision, Met};
use crate::flow::Entry;
use crate::sched::Kind;
use crate::service::{Member, Service, ServiceTable, WhyNot};

/// How a frame met the flow table, and what follows from it.
pub fn met(decision: &Decision, service: &Service, table: &ServiceTable) -> (FlowFound, String) {
    let name = |entry: &Entry| {
        let member = table.real_of(entry).and_then(|_| table.member(entry.real));
        member.map_or("a real that is gone", |(_, m)| m.name.as_str())
    };
    match decision.met {
        Met::Hit(entry) => {
            let words = format!("a known flow ({}) of {}", entry.state.word(), name(&entry));
            (FlowFound::Hit, words)
        }
        Met::Anew(entry) => {
            let takes_new = table.real_of(&entry).is_some_and(|real| real.takes_new);
            let why = match (entry.state.closing(), takes_new) {
                (true, _) => "which the client has ended",
                (false, false) => "which takes no new flows",
                (false, true) => "silent for longer than its timeout",
            };
            let words = format!(
                "a known flow ({}) of {}, {why}: decided anew by {}",
                entry.state.word(),
                name(&entry),
                service.kind
            );
            (FlowFound::HitRedecided, words)
        }
        Met::Rehashed(entry) => {
            let words = format!(
                "a known flow of {}, which is dead: the ring decides",
                name(&entry)
            );
            (FlowFound::HitRedecided, words)
        }
        Met::New if service.track == Track::Changes && !service.looks_up => (
            FlowFound::NotTracked,
            "a new flow: the ring decides, and will decide alike until the set changes".to_owned(),
        ),
        Met::ByRing if service.track == Track::Changes => (
            FlowFound::NotTracked,
            if service.past.is_some() {
                "not remembered: a flow from before the last change, which the ring of then decides"
            } else {
                "flows are not remembered while the set is unchanged: the ring decides"
            }
            .to_owned(),
        ),
        Met::New => (
            FlowFound::Miss,
            format!("a new flow: {} decides", service.kind),
        ),
        Met::ByRing if service.track == Track::None => (
            FlowFound::NotTracked,
            "flows are not remembered here: the ring decides".to_owned(),
        ),
        Met::ByRing => (
            FlowFound::Miss,
            "not known, and no beginning: the ring decides".to_owned(),
        ),
        Met::NotLooked => (FlowFound::NotTracked, "no flow was looked for".to_owned()),
    }
}

/// Who chose the real, in words that its name follows: `maglev chose`.
pub fn chooser(met: &Met, kind: Kind) -> String {
    match met {
        Met::Hit(_) => "the flow is with".to_owned(),
        Met::New | Met::Anew(_) => format!("{kind} chose"),
        Met::ByRing | Met::Rehashed(_) | Met::NotLooked => "the ring chose".to_owned(),
    }
}

/// What a new flow meets in maintenance.
pub const IN_MAINTENANCE: &str = "this lbd takes no new flows; the client's next packet may find \
                                  another one (lbctl maintenance off ends it)";

/// Why a real is not a candidate.
pub fn why_not(why: WhyNot, member: &Member) -> String {
    match why {
        WhyNot::State(state) => format!("{state}: {}", member.reason),
        WhyNot::WeightZero => "its weight is 0".to_owned(),
        WhyNot::Ejected => "most clients got no answer from it lately".to_owned(),
        WhyNot::Backup => "a backup: ordinary reals are up".to_owned(),
        WhyNot::Sorry => "the sorry server: reals are up".to_owned(),
        WhyNot::NoPath => "its MAC address is not known".to_owned(),
        WhyNot::NotLastGood => "it was not in the last good set".to_owned(),
    }
}
