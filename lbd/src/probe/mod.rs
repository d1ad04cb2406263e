//! Asks reals how they are, and reports only what changes.
//!
//! The [`runner`] drives one timetable: when a probe is due it runs as a task of its own, bounded
//! in time, in memory and in number; its result goes to the real's trackers, to the [`Board`] for
//! views and metrics, and, where the real's verdict changed, to the reconciler.
//!
//! What this host itself lacks (file descriptors, a source address, an interface that is up) is
//! never held against a real: such a probe says nothing, and is counted apart.

mod answer;
mod board;
mod bounded;
mod datagram;
mod dns;
mod exec;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod https;
mod icmp;
mod kubernetes;
mod legs;
mod now;
mod roster;
mod runner;
mod tcp;
mod udp;
mod wire;

pub use answer::{Answer, Found, ProbeError};
pub use board::{Board, CheckResult, CheckStatus, LastProbe};
pub use now::{CheckNow, CheckedNow};
pub use runner::run;
pub use wire::{Hops, Port};

use crate::live::event::HealthState;
use lbcore::config::{Check, CheckKind};
use lbcore::id::{Epoch, RealId};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use wire::{Road, Wires};

/// A real to be judged. One without checks is never asked and never reported.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// Which real.
    pub real: RealId,
    /// Whose id it is now; another epoch is another real.
    pub epoch: Epoch,
    /// Name of its service, for metrics and logs.
    pub service: String,
    /// Its own name, for metrics and logs.
    pub name: String,
    /// Its own address.
    pub address: IpAddr,
    /// It is up when all pass.
    pub checks: Vec<Check>,
    /// Its service's VIPs, in file order.
    pub vips: Vec<IpAddr>,
    /// Asked where a check names no port.
    pub default_port: u16,
    /// Its verdict before a restart: overturned by rise and fall, as if nothing had happened.
    pub initial: Option<HealthState>,
}

/// One probe: what to ask whom, and for how long.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Question {
    /// Who is asked.
    pub to: SocketAddr,
    /// Which way it travels.
    pub way: Way,
    /// Where it comes from; `None`: as routed.
    pub source: Option<IpAddr>,
    /// What takes longer has failed.
    pub timeout: Duration,
    /// What is asked.
    pub kind: CheckKind,
    /// Service and real, where the kind has to know them (exec): others ask the same for all.
    pub names: Option<(String, String)>,
}

/// Which way a probe travels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Way {
    /// To the real's own address, from one of this host's.
    Real,
    /// To the real's own address, from `source`, whosever that is: as proxied clients are dialled.
    Client,
    /// Along the path of direct routing: to a VIP, in frames of our own to this real's MAC.
    Vip(Leg),
}

/// The path of direct routing to one real.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Leg {
    /// The real's own address, and the port that is asked.
    real: SocketAddr,
    /// The first VIP of the other family, if there is one: it has to answer as well.
    other: Option<SocketAddr>,
    /// What its frames leave by: put in when it is asked.
    wires: Option<Arc<Wires>>,
}

impl Question {
    /// The same by these wires, if it needs any.
    fn on(mut self, wires: &Arc<Wires>) -> Self {
        if let Way::Vip(leg) = &mut self.way {
            leg.wires = Some(wires.clone());
        }
        self
    }

    /// The way for frames of our own, for a question that travels so.
    async fn road(&self) -> Result<Option<Road>, ProbeError> {
        let Way::Vip(leg) = &self.way else {
            return Ok(None);
        };
        let Some(wires) = &leg.wires else {
            let words = "lbd's probes have no packet sockets".to_owned();
            return Err(ProbeError::Own(words));
        };
        let patience = self.timeout / 2;
        let road = wires.road(leg.real.ip(), self.to, self.source, patience);
        road.await.map(Some)
    }

    /// Asks over the network.
    pub(crate) async fn ask(self) -> Answer {
        let began = Instant::now();
        let outcome = match self.way {
            Way::Real => {
                let probe = tokio::time::timeout(self.timeout, self.once());
                probe
                    .await
                    .unwrap_or(Err(ProbeError::NoAnswer(self.timeout)))
            }
            Way::Client | Way::Vip(_) => legs::ask(&self).await,
        };
        Answer {
            outcome,
            took: began.elapsed(),
        }
    }

    /// Asks, and fails where that takes 100 ms more than the time limit (T34). A machine that stands
    /// still for a while is not the probe's fault: a probe that has ended is seen before the clock.
    #[cfg(test)]
    async fn ask_in_time(self) -> Answer {
        let limit = self.timeout + Duration::from_millis(100);
        let answer = tokio::time::timeout(limit, self.ask()).await;
        answer.unwrap_or_else(|_| panic!("not ended within {limit:?}"))
    }

    /// Asks without an end.
    async fn once(&self) -> Result<Found, ProbeError> {
        match &self.kind {
            CheckKind::Tcp => tcp::probe(self).await,
            CheckKind::Http(check) => http::probe(self, check).await,
            CheckKind::Udp(check) => udp::probe(self, check).await,
            CheckKind::Icmp => icmp::probe(self).await,
            CheckKind::Dns(check) => dns::probe(self, check).await,
            CheckKind::Exec(check) => exec::probe(self, check).await,
            CheckKind::Https(check, tls) => https::probe(self, check, tls).await,
            #[cfg(feature = "grpc")]
            CheckKind::Grpc(check) => grpc::probe(self, check).await,
            #[cfg(not(feature = "grpc"))]
            CheckKind::Grpc(_) => Err(ProbeError::Own(
                "this lbd was built without the feature grpc".to_owned(),
            )),
            CheckKind::Kubernetes(check) => kubernetes::probe(self, check).await,
        }
    }
}
