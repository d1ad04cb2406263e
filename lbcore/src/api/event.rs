//! What happened, one event after another: the words of `GET /v1/events` and `lbctl events`.

use super::{RealState, ServiceState, Timestamp, VipState};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// One event. A line of `GET /v1/events` is one of these; like all keys of this interface, its
/// keys stay, and new kinds may come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EventView {
    /// Counts up by one from 1, which is the start of this lbd.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Happening,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Happening {
    /// This lbd started. What was before is not remembered.
    Start {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// A real is in another state.
    Real {
        /// Name of its service.
        service: String,
        /// Its name.
        real: String,
        /// The state and why.
        #[serde(flatten)]
        change: StateChange,
    },
    /// A service is in another state.
    Service {
        /// Its name.
        service: String,
        /// The state before; `None`: it is new.
        from: Option<ServiceState>,
        /// The state now.
        to: ServiceState,
        /// Why: `"2 of 3 reals up"`.
        reason: String,
    },
    /// Somebody else, or nobody else any more, answers for a VIP.
    Vip {
        /// Which.
        vip: IpAddr,
        /// On which interface.
        interface: String,
        /// The state before; `None`: it is new.
        from: Option<VipState>,
        /// The state now.
        to: VipState,
        /// What an operator should know.
        note: Option<String>,
    },
    /// The configuration was read again.
    Reload {
        /// Who wanted it: `command`, `SIGHUP`, `the file changed`.
        by: String,
        /// Whether it is in force; else nothing was changed.
        ok: bool,
        /// The configuration in force.
        revision: u64,
        /// What changed, or why it was refused.
        reason: String,
    },
    /// An operator changed something.
    Change {
        /// The user id that asked.
        uid: u32,
        /// What that user is called here.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The process that asked.
        pid: i32,
        /// What is different: `"web/rs1: admin: enabled -> drain"`.
        change: String,
    },
    /// A configuration that was applied was not confirmed in time.
    RolledBack {
        /// Its number.
        revision: u64,
        /// The one that is in force again.
        to: u64,
        /// Why.
        reason: String,
    },
    /// What could not be written into the configuration file is there now.
    Saved {
        /// Its number.
        revision: u64,
    },
    /// Somebody removed a rule of ours from the host; it was put back.
    Restored {
        /// What: `nft`, `rule`, `route`, `neighbor`.
        kind: String,
    },
    /// A kind this version does not know.
    #[serde(other)]
    Unknown,
}

/// Every kind of event, as [`Happening::kind`] says it.
pub const EVENT_KINDS: [&str; 9] = [
    "start",
    "real",
    "service",
    "vip",
    "reload",
    "change",
    "rolled_back",
    "saved",
    "restored",
];

impl Happening {
    /// Its kind: what stands as `event` in JSON.
    pub fn kind(&self) -> &'static str {
        match self {
            Happening::Start { .. } => "start",
            Happening::Real { .. } => "real",
            Happening::Service { .. } => "service",
            Happening::Vip { .. } => "vip",
            Happening::Reload { .. } => "reload",
            Happening::Change { .. } => "change",
            Happening::RolledBack { .. } => "rolled_back",
            Happening::Saved { .. } => "saved",
            Happening::Restored { .. } => "restored",
            Happening::Unknown => "unknown",
        }
    }

    /// The service it is about; a change by command names it in front.
    pub fn service(&self) -> Option<&str> {
        match self {
            Happening::Real { service, .. } | Happening::Service { service, .. } => Some(service),
            Happening::Change { change, .. } => Some(changed(change)?.0),
            _ => None,
        }
    }

    /// The real it is about.
    pub fn real(&self) -> Option<&str> {
        match self {
            Happening::Real { real, .. } => Some(real),
            Happening::Change { change, .. } => changed(change)?.1,
            _ => None,
        }
    }
}

/// The service, and the real, that a change begins with: `web: ...` or `web/rs1: ...`.
fn changed(change: &str) -> Option<(&str, Option<&str>)> {
    let (subject, _) = change.split_once(": ")?;
    match subject.split_once('/') {
        _ if subject.contains(' ') => None,
        Some((service, real)) => Some((service, Some(real))),
        None => Some((subject, None)),
    }
}

/// Another state of a real, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateChange {
    /// The state before; `None`: it is new.
    pub from: Option<RealState>,
    /// The state now.
    pub to: RealState,
    /// Why: `"connection refused"`.
    pub reason: String,
}

/// One entry of a real's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransitionView {
    /// When.
    pub at: Timestamp,
    /// What, and why.
    #[serde(flatten)]
    pub change: StateChange,
}

impl fmt::Display for StateChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = self.from.map_or("new", RealState::word);
        write!(f, "{from} -> {}: {}", self.to.word(), self.reason)
    }
}

impl fmt::Display for Happening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Happening::Start { version, pid } => write!(f, "lbd {version} started, pid {pid}"),
            Happening::Real {
                service,
                real,
                change,
            } => write!(f, "real {service}/{real} {change}"),
            Happening::Service {
                service,
                from,
                to,
                reason,
            } => {
                let from = from.map_or("new", ServiceState::word);
                write!(f, "service {service} {from} -> {}: {reason}", to.word())
            }
            Happening::Vip {
                vip,
                interface,
                from,
                to,
                note,
            } => {
                let from = from.map_or("new", VipState::word);
                write!(f, "vip {vip} on {interface} {from} -> {}", to.word())?;
                note.as_ref().map_or(Ok(()), |note| write!(f, ": {note}"))
            }
            Happening::Reload {
                by,
                ok,
                revision,
                reason,
            } => {
                let how = if *ok {
                    "done"
                } else {
                    "refused, nothing was changed"
                };
                write!(f, "reload by {by} {how}, revision {revision}: {reason}")
            }
            Happening::Change {
                uid,
                user,
                pid,
                change,
            } => {
                let user = user
                    .as_ref()
                    .map_or(String::new(), |user| format!(" {user}"));
                write!(f, "change by uid {uid}{user} (pid {pid}): {change}")
            }
            Happening::RolledBack {
                revision,
                to,
                reason,
            } => write!(
                f,
                "revision {revision} rolled back, revision {to} is in force again: {reason}"
            ),
            Happening::Saved { revision } => {
                write!(
                    f,
                    "revision {revision} is saved in the configuration file now"
                )
            }
            Happening::Restored { kind } => {
                write!(f, "host {kind} of lbd removed by somebody, put back")
            }
            Happening::Unknown => f.write_str("something this version has no words for"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn an_event_keeps_its_keys() {
        let at = Timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(1_763_710_265_250));
        let change = StateChange {
            from: Some(RealState::Up),
            to: RealState::Down,
            reason: "connection refused".into(),
        };
        let what = Happening::Real {
            service: "web".into(),
            real: "rs1".into(),
            change,
        };
        assert_eq!(
            what.to_string(),
            "real web/rs1 up -> down: connection refused"
        );
        let event = EventView { seq: 7, at, what };
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(
            line,
            r#"{"seq":7,"at":"2025-11-21T07:31:05.250Z","event":"real","service":"web","real":"rs1","from":"up","to":"down","reason":"connection refused"}"#
        );
        assert_eq!(serde_json::from_str::<EventView>(&line).unwrap(), event);
    }

    #[test]
    fn an_event_is_told_by_its_kind_its_service_and_its_real() {
        let change = Happening::Change {
            uid: 0,
            user: None,
            pid: 1,
            change: "web/rs1: admin: enabled -> drain".into(),
        };
        let vip = Happening::Change {
            uid: 0,
            user: None,
            pid: 1,
            change: "vip 192.0.2.10: take".into(),
        };
        let scheduler = Happening::Change {
            uid: 0,
            user: None,
            pid: 1,
            change: "web: scheduler: rr -> sh".into(),
        };
        let restored = Happening::Restored { kind: "nft".into() };
        for (what, service, real) in [
            (change, Some("web"), Some("rs1")),
            (scheduler, Some("web"), None),
            (vip, None, None),
            (restored, None, None),
        ] {
            assert_eq!((what.service(), what.real()), (service, real));
            assert!(EVENT_KINDS.contains(&what.kind()));
            let json = serde_json::to_value(&what).unwrap();
            assert_eq!(json["event"], what.kind());
        }
    }

    #[test]
    fn an_event_of_another_version_is_no_fault() {
        let line = r#"{"seq":1,"at":"2025-11-21T07:31:05.250Z","event":"eclipse","of":"moon"}"#;
        let event: EventView = serde_json::from_str(line).unwrap();
        assert_eq!(event.what, Happening::Unknown);
    }
}
