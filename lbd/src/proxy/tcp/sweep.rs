//! The look at every connection, once a second: no connection has a timer of its own.

use super::connection::{Connection, Phase};
use super::header::HEADER_TIMEOUT;
use super::{Scene, Tcp};
use crate::live::Outcome;
use lbcore::service::FlowFate;
use std::time::Duration;

/// A connection of which one side has said all it will say ends when nothing moved for this long:
/// IPVS's `tcpfin`.
const HALF_CLOSED: Duration = Duration::from_secs(120);

impl Tcp {
    /// Ends what has idled for too long or has lost its real, and counts bytes. Who is still being
    /// connected has lost nothing, and goes to another real.
    pub fn sweep(&mut self, scene: &Scene<'_>) {
        self.tools.now = scene.now;
        let (mut over, mut blocked, mut unmet) = (Vec::new(), Vec::new(), Vec::new());
        let mut connections = std::mem::take(&mut self.connections);
        for (key, connection) in connections.iter_mut() {
            let moved = self.count_bytes(connection, scene);
            if !moved && connection.is_blocked() {
                blocked.push(key);
            }
            match (verdict(connection, scene), &connection.phase) {
                (Some(Outcome::RealGone), Phase::Connecting(..)) => unmet.push(key),
                (Some(outcome), _) => over.push((key, outcome)),
                (None, _) => {}
            }
        }
        self.connections = connections;
        for (key, outcome) in over {
            self.end(key, outcome, scene);
        }
        for key in unmet {
            if self.in_vain(key, Outcome::RealGone, scene) {
                self.dial(key, scene);
            }
        }
        for key in blocked {
            if let Some(connection) = self.connections.get_mut(key) {
                let step = connection.nudge(key, &mut self.tools, scene.poller);
                self.follow(key, step, scene);
            }
        }
        if self.is_empty() {
            self.tools.pipes.close_spare();
        }
    }

    /// The look at what waits for an answer or for room.
    pub fn glance(&mut self, scene: &Scene<'_>) {
        self.give_up_the_silent(scene);
        self.look_for_room = true;
    }
}

/// How it ends, if it does.
fn verdict(connection: &Connection, scene: &Scene<'_>) -> Option<Outcome> {
    let idle_for = Duration::from_millis(scene.now.since(connection.active));
    let service = match connection.real {
        Some((id, epoch, _)) => match scene.table.real(id) {
            Some(real) if real.epoch == epoch && real.fate == FlowFate::Keep => {
                &scene.table.services[real.service]
            }
            _ => return Some(Outcome::RealGone),
        },
        None => match scene.table.service(&connection.key.service) {
            Some((_, service)) => service,
            None => return Some(Outcome::NoReal),
        },
    };
    if matches!(connection.phase, Phase::Header) {
        return (idle_for >= HEADER_TIMEOUT).then_some(Outcome::BadHeader);
    }
    let patience = if connection.is_half_closed() {
        HALF_CLOSED.min(service.idle_timeout)
    } else {
        service.idle_timeout
    };
    (idle_for >= patience).then_some(match connection.phase {
        Phase::Waiting => connection.why,
        _ => Outcome::Idle,
    })
}
