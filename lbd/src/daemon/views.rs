//! The state of lbd as people and scripts see it.

mod service;
mod vip;

use super::plans;
use super::reconciler::Reconciler;
use crate::control::MetricsView;
use crate::control::metrics::{Connects, Datagrams, Transitions};
use crate::live::datagrams::{DatagramDrop, Way, WayCounts};
use crate::live::proxy::ConnectTimes;
use crate::live::{FrameTotals, Source, WorkerState};
use crate::xdp::{self, Engine};
use lbcore::api::{
    DriftView, EngineView, FramesView, InterfaceView, LastReload, StatusView, Timestamp,
};
use lbcore::config::{self, Announce, Mode};
use lbcore::flow::Eviction;
use lbcore::id::RealId;
use lbcore::net::Protocol;
use lbcore::service::{ServiceState, ServiceTable};
use lbcore::vip::Hold;
pub(super) use service::{said, state_reason};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;

/// Whether packets that a program passes up are worth a word beside those it does not.
fn is_most(passed: u64, taken: u64) -> bool {
    /// Fewer say nothing.
    const MANY: u64 = 100;
    passed > MANY && passed > taken
}

impl Reconciler {
    /// The whole picture.
    pub(super) fn status(&self) -> StatusView {
        let table = self.live.table();
        let readiness = self.readiness();
        let interfaces = self.interface_views();
        let frames = interfaces.iter().fold(FramesView::default(), |mut sum, i| {
            sum.received += i.frames.received;
            sum.sent += i.frames.sent;
            sum.passed += i.frames.passed;
            sum.ring_drops += i.frames.ring_drops;
            sum
        });
        let services: Vec<_> = self.service_views(&table);
        let warnings = self.warnings(&table);
        StatusView {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Timestamp(self.started),
            revision: self.revision,
            generation: self.generation,
            ready: readiness.ready,
            ready_reason: readiness.reason,
            maintenance: self.world.maintenance,
            key_fingerprint: self.world.key.fingerprint(),
            config_file: self.config_file.display().to_string(),
            last_reload: self
                .tallies
                .last_reload
                .clone()
                .map(|(at, ok, message)| LastReload {
                    at: Timestamp(at),
                    ok,
                    message,
                }),
            last_good_in_use: self.last_good_in_use,
            unconfirmed: self.unconfirmed_view(),
            drift: self.drift(),
            engines: self.engines(),
            interfaces,
            services,
            vips: self.vip_views(),
            flow_entries: self.live.flows.len() as u64,
            flow_capacity: self.live.flows.capacity() as u64,
            frames,
            drops: self
                .live
                .drops()
                .into_iter()
                .map(|(r, n)| (r.word().to_owned(), n))
                .collect(),
            warnings,
        }
    }

    pub(super) fn engines(&self) -> Vec<EngineView> {
        let names = self.live.workers().iter().map(|w| w.interface.as_str());
        let names: BTreeSet<&str> = names.collect();
        let of = |interface: &str| {
            let workers: Vec<_> = self
                .live
                .workers()
                .iter()
                .filter(|w| w.interface == interface)
                .collect();
            let waiting = workers.iter().find_map(|w| match w.state() {
                WorkerState::Waiting(why) => Some(why),
                WorkerState::Running | WorkerState::Ended(_) => None,
            });
            let ended = workers.iter().find_map(|w| match w.state() {
                WorkerState::Ended(why) => Some(why),
                WorkerState::Running | WorkerState::Waiting(_) => None,
            });
            let mut chosen = self.engines.chosen.iter();
            let chosen = chosen.find(|c| c.interface == interface);
            let engine = match &ended {
                Some(_) => Engine::AfPacket,
                None => chosen.map_or(Engine::AfPacket, |chosen| chosen.engine),
            };
            let reason = || chosen.map_or(String::new(), xdp::Chosen::reason);
            EngineView {
                name: engine.word().to_owned(),
                interface: interface.to_owned(),
                reason: waiting.or(ended).unwrap_or_else(reason),
                workers: workers.iter().filter(|w| !w.has_ended()).count(),
            }
        };
        names.into_iter().map(of).collect()
    }

    /// Where a program forwards less than it declines for checksums that nobody has finished.
    fn unfinished_warnings(&self) -> Vec<String> {
        let of = |(slot, chosen): (usize, &xdp::Chosen)| {
            let mut programs = self.engines.to_sockets.iter();
            let program = programs.find(|program| program.slot() == slot);
            let (unfinished, forwarded) = match program {
                None => self.by_program(slot),
                Some(program) => (program.passed().unfinished, self.by_queues(slot)),
            };
            is_most(unfinished, forwarded).then(|| {
                format!(
                    "{} on {}: {unfinished} packets came with unfinished checksums and went by raw \
                     sockets: their sender is on this machine and leaves them to a network card that \
                     is not there (engine = \"af_packet\" does as well here; or, at the sender, \
                     ethtool -K INTERFACE tx off)",
                    chosen.engine.word(),
                    chosen.interface
                )
            })
        };
        let chosen = self.engines.chosen.iter().enumerate();
        chosen.filter_map(of).collect()
    }

    /// Where AF_XDP sockets get less than is too large for them.
    fn too_large_warnings(&self) -> Vec<String> {
        let of = |program: &xdp::ToSockets| {
            let slot = program.slot();
            let too_large = program.passed().too_large;
            let interface = &self.engines.chosen.get(slot)?.interface;
            is_most(too_large, self.by_queues(slot)).then(|| {
                format!(
                    "af_xdp on {interface}: {too_large} packets were too large for its sockets and \
                     went by raw sockets: receive offloads put them together, or the MTU is above \
                     3,822 (ethtool -K {interface} gro off leaves them as they came; or engine = \
                     \"af_packet\")"
                )
            })
        };
        self.engines.to_sockets.iter().filter_map(of).collect()
    }

    /// Packets that the program of engine xdp left to raw sockets on the interface with this place because
    /// nobody had finished their checksums, and those it took there.
    fn by_program(&self, slot: usize) -> (u64, u64) {
        let fast_path = self.engines.fast_path.as_ref();
        let unfinished = fast_path.map_or(0, |fast_path| fast_path.unfinished(slot));
        let counters = self.live.fast_path.as_ref();
        let taken = counters.map_or(0, |counters| counters.interface(slot).received.get());
        (unfinished, taken)
    }

    /// Frames that came by AF_XDP sockets of the interface with this place.
    fn by_queues(&self, slot: usize) -> u64 {
        let workers = self.live.workers().iter();
        let queues = workers.filter(|w| w.slot == slot && w.source == Source::Queues);
        queues
            .map(|w| w.counters.interface(slot).received.get())
            .sum()
    }

    fn interface_views(&self) -> Vec<InterfaceView> {
        let of = |(slot, name): (usize, &String)| {
            let FrameTotals {
                received,
                sent,
                passed,
                ring_drops,
            } = self.live.frame_totals(slot);
            let link = self.world.links.iter().find(|l| l.name == *name);
            let state = match link {
                None => "missing".to_owned(),
                Some(l) if !l.up => "down".to_owned(),
                Some(l) if !l.carrier => "no carrier".to_owned(),
                Some(l) if l.addresses.is_empty() => "up, no address".to_owned(),
                Some(_) => "up".to_owned(),
            };
            InterfaceView {
                name: name.clone(),
                state,
                mac: link.map(|l| l.mac.to_string()),
                mtu: link.map_or(0, |l| l.mtu),
                frames: FramesView {
                    received,
                    sent,
                    passed,
                    ring_drops,
                },
            }
        };
        self.world
            .config
            .network
            .interfaces
            .iter()
            .enumerate()
            .map(of)
            .collect()
    }

    pub(super) fn drift(&self) -> Vec<DriftView> {
        let mut drift = self.drift.clone();
        for (vip, hold) in &self.world.overrides.vips {
            let running = match hold {
                Hold::Default => continue,
                // What the file says anyhow.
                Hold::Take if self.announce_of(*vip) == Some(Announce::Always) => continue,
                Hold::Take => "taken",
                Hold::Release => "released",
            };
            drift.push(DriftView {
                key: format!("vip[{vip}]"),
                file: "as announce says".to_owned(),
                running: running.to_owned(),
            });
        }
        drift
    }

    /// What services say of announcing a VIP of theirs: whichever is most willing.
    pub(super) fn announce_of(&self, vip: IpAddr) -> Option<Announce> {
        let services = self.world.services();
        let said = services
            .filter(|s| s.vips.contains(&vip))
            .map(|s| s.announce);
        said.reduce(plans::most_willing)
    }

    fn warnings(&self, table: &ServiceTable) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.world.maintenance.is_some() {
            warnings.push(
                "in maintenance: new flows are dropped and no VIP is answered for; \
                 lbctl maintenance off ends it"
                    .to_owned(),
            );
        }
        warnings.extend(self.standing_warnings.iter().cloned());
        warnings.extend(self.log.warning());
        if let Some(view) = self.unconfirmed_view() {
            warnings.push(format!(
                "revision {} is not confirmed: in {} s revision {} comes back; lbctl config \
                 confirm keeps it, lbctl config undo takes it back now",
                view.revision, view.seconds_left, view.back_to
            ));
        }
        if let Some(unsaved) = &self.filed.unsaved {
            warnings.push(format!(
                "revision {} is in force, but not saved: {}; a restart or a reload undoes it \
                 until it is",
                self.revision, unsaved.why
            ));
        }
        warnings.extend(self.history.warnings.iter().cloned());
        warnings.extend(self.board.certificate_warnings());
        for worker in self.live.workers() {
            match worker.state() {
                WorkerState::Running => {}
                WorkerState::Waiting(why) => {
                    warnings.push(format!("not receiving on {}: {why}", worker.interface));
                }
                WorkerState::Ended(why) => {
                    warnings.push(format!("af_xdp on {}: {why}", worker.interface));
                }
            }
        }
        warnings.extend(self.engines.left.clone());
        warnings.extend(self.unfinished_warnings());
        warnings.extend(self.too_large_warnings());
        for service in &table.services {
            match service.state {
                ServiceState::Panic | ServiceState::Down => warnings.push(format!(
                    "service {} is {}: {}",
                    service.name,
                    service.state,
                    state_reason(service)
                )),
                ServiceState::Up | ServiceState::Degraded => {}
            }
        }
        for silent in self.silent_to_clients() {
            warnings.push(format!(
                "{}: a firewall or rp_filter there, the VIP missing on its lo, or a flood of \
                 SYNs? See lbctl doctor",
                silent.seen()
            ));
        }
        for ((vip, interface), news) in &self.world.vips {
            if let Some(note) = &news.note {
                warnings.push(format!("VIP {vip} on {interface}: {note}"));
            }
        }
        if let Some(trouble) = self.guard_trouble() {
            warnings.push(trouble);
        }
        warnings.extend(self.proxy_trouble());
        let unremembered = self.live.unremembered();
        if unremembered > 0 {
            warnings.push(format!(
                "{unremembered} flows were not remembered (table full, or a flood): the ring \
                 answered for them; a larger network.flow_entries makes room"
            ));
        }
        warnings
    }

    /// Everything that is counted.
    pub(super) fn metrics(&self) -> MetricsView {
        let table = self.live.table();
        let mut evictions = BTreeMap::new();
        for why in [Eviction::Expired, Eviction::Closing, Eviction::Opening] {
            evictions.insert(why.word().to_owned(), self.live.evicted(why));
        }
        evictions.insert("unremembered".to_owned(), self.live.unremembered());
        MetricsView {
            status: self.status(),
            maintenance: self.world.maintenance.is_some(),
            reloads_ok: self.tallies.reloads_ok,
            reloads_refused: self.tallies.reloads_refused,
            last_reload_success: self.tallies.last_success,
            evictions,
            restored: self.tallies.restored.clone(),
            transitions: self.transitions(&table),
            datagrams: self.datagrams(),
            connects: self.connects(&table),
        }
    }

    /// Proxied datagrams, if there can be any.
    fn datagrams(&self) -> Vec<Datagrams> {
        let proxied = |s: &config::Service| s.mode == Mode::Tproxy && s.protocol == Protocol::Udp;
        if !self.world.services().any(proxied) {
            return Vec::new();
        }
        let of = |(direction, way): (&'static str, Way)| {
            let sum = |count: &dyn Fn(&WayCounts) -> u64| {
                let workers = self.live.proxies().iter();
                workers.map(|w| count(w.datagrams.of(way))).sum::<u64>()
            };
            let drops = DatagramDrop::ALL.iter();
            Datagrams {
                direction,
                received: sum(&|c| c.received.get()),
                sent: sum(&|c| c.sent.get()),
                lost: sum(&|c| c.lost.get()),
                drops: drops
                    .map(|why| (why.word().to_owned(), sum(&|c| c.drops(*why).get())))
                    .collect(),
            }
        };
        [("in", Way::ToReal), ("out", Way::ToClient)].map(of).into()
    }

    /// How often reals came into a state.
    fn transitions(&self, table: &ServiceTable) -> Vec<Transitions> {
        let counted = self.tallies.transitions.iter();
        named(counted.map(|(id, to)| (*id, to.clone())), table)
            .map(|(service, real, to)| Transitions { service, real, to })
            .collect()
    }

    /// How long reals took to accept.
    fn connects(&self, table: &ServiceTable) -> Vec<Connects> {
        let mut by_real: HashMap<RealId, ConnectTimes> = HashMap::new();
        for worker in self.live.proxies() {
            for (real, times) in worker.connects() {
                by_real.entry(real).or_default().merge(&times);
            }
        }
        named(by_real, table)
            .map(|(service, real, times)| Connects {
                service,
                real,
                times,
            })
            .collect()
    }
}

/// What is known of reals with their services' names and their own, in that order: of two with one
/// name (one of them removed) only the one that is there may be told.
fn named<T>(
    of: impl IntoIterator<Item = (RealId, T)>,
    table: &ServiceTable,
) -> impl Iterator<Item = (String, String, T)> {
    let mut by_name = BTreeMap::new();
    for (id, what) in of {
        if let Some((service, member)) = table.member(id) {
            let name = (service.name.to_string(), member.name.clone());
            by_name.insert((name, member.lingering), what);
        }
    }
    let mut told = None;
    by_name.into_iter().filter_map(move |((name, _), what)| {
        let new = told.as_ref() != Some(&name);
        told = Some(name.clone());
        new.then_some((name.0, name.1, what))
    })
}
