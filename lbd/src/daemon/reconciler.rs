//! The single writer: hears news, knows the world, and publishes one snapshot after another.
//!
//! Configuration, health, neighbours and the operator's wishes all come in at this one door, so
//! nothing races; what a snapshot needs outside (guard, filters, persisted set) is in force before
//! it is published.

mod fast_path;
mod in_force;
mod next;
mod readiness;
mod reloading;
mod revisions;
mod unconfirmed;

pub(super) use next::{Next, access_of, compose, pinned};
pub(super) use revisions::Origin;

use super::filed::Filed;
use super::history::History;
use super::journal::Journal;
use super::log_filter::Filter;
use super::notify::Notifier;
use super::persist::{Places, Set};
use super::plans;
use super::reload::Refused;
use super::views::state_reason;
use super::watchdog;
use super::world::World;
use crate::control::{Access, Ask};
use crate::guard::{GuardPlan, GuardState};
use crate::intercept::{InterceptPlan, InterceptState};
use crate::live::Live;
use crate::live::event::Event;
use crate::log::LogFilter;
use crate::neigh::NeighborPlan;
use crate::probe::{Board, CheckNow, Hops, Target};
use crate::proxy::{Proxy, ProxyPlan, ProxyState};
use crate::sys::clock;
use crate::vip::VipPlan;
use crate::xdp::Engines;
use lbcore::api::{DriftView, Happening, Plan, StateChange};
use lbcore::config::Config;
use lbcore::health::Handshakes;
use lbcore::id::RealId;
use lbcore::service::{Exhausted, RealState, Rings, compile};
use lbcore::time::Tick;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};
use unconfirmed::Unconfirmed;

/// News handled before the next snapshot is made: a burst of neighbours or checks costs one.
const EVENTS_AT_ONCE: usize = 256;

/// Chores: what lingers is forgotten, what was held is released, readiness is looked at.
const CHORES_EVERY: Duration = Duration::from_millis(200);

/// How often handshakes are counted up: all reals of all workers, so not with every chore.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// The guard is applied within tens of milliseconds; a reload does not wait longer than this for
/// it or for the receive filters.
const IN_FORCE_WITHIN: Duration = Duration::from_secs(2);

/// A real without checks is judged by whether it answers for its address. By then that is known:
/// an address of ours may be tentative for two seconds (RFC 4862), and silence takes three.
const FIRST_NEIGHBOR: Duration = Duration::from_secs(5);

/// Where each room hears what it is to do.
#[derive(Debug)]
pub struct Outlets {
    /// Who is to be checked.
    pub targets: watch::Sender<Arc<Vec<Target>>>,
    /// Where probes along the path of direct routing go.
    pub hops: watch::Sender<Arc<Hops>>,
    /// Whose MAC is to be known.
    pub neighbors: watch::Sender<Arc<NeighborPlan>>,
    /// Which VIPs are to be answered for.
    pub vips: watch::Sender<Arc<VipPlan>>,
    /// What the host's stack is to be silent about.
    pub guard: watch::Sender<Arc<GuardPlan>>,
    /// The guard in force.
    pub guarded: watch::Receiver<GuardState>,
    /// What the kernel is to hand to proxied sockets.
    pub intercept: watch::Sender<Arc<InterceptPlan>>,
    /// The interception in force.
    pub intercepted: watch::Receiver<InterceptState>,
    /// Where the proxy is to listen.
    pub proxy: watch::Sender<Arc<ProxyPlan>>,
    /// Where it does.
    pub proxied: watch::Receiver<ProxyState>,
    /// Who may use the control socket.
    pub access: watch::Sender<Arc<Access>>,
    /// Whose checks are to be run at once.
    pub check_now: mpsc::Sender<CheckNow>,
    /// Where metrics are served.
    pub metrics: watch::Sender<Option<std::net::SocketAddr>>,
}

/// Who asked for a reload.
#[derive(Debug)]
pub enum Trigger {
    /// SIGHUP, or the file changed.
    Unattended(&'static str),
    /// `lbctl reload`.
    Typed {
        /// Whatever it removes, and on whatever this host listens.
        force: bool,
    },
}

impl Trigger {
    /// Who asked, in a word.
    fn by(&self) -> &'static str {
        match self {
            Trigger::Unattended(what) => what,
            Trigger::Typed { .. } => "command",
        }
    }

    /// How the configuration came, in a word.
    fn how(&self) -> &'static str {
        match self {
            Trigger::Unattended(what) => what,
            Trigger::Typed { .. } => "reload",
        }
    }
}

/// What a reload changed.
#[derive(Clone, Debug, Default)]
pub struct Reloaded {
    /// In words.
    pub changes: Vec<String>,
    /// What may surprise.
    pub warnings: Vec<String>,
    /// What it would do to traffic; only where it was tried out.
    pub plan: Option<Plan>,
}

/// What is counted on the control side.
#[derive(Debug, Default)]
pub struct Tallies {
    /// Reloads put in force.
    pub reloads_ok: u64,
    /// Reloads refused.
    pub reloads_refused: u64,
    /// Last successful one, the start included.
    pub last_success: Option<SystemTime>,
    /// The last one, good or not: when, how, in words.
    pub last_reload: Option<(SystemTime, bool, String)>,
    /// Things of ours put back, by kind.
    pub restored: BTreeMap<String, u64>,
    /// Transitions by real and state.
    pub transitions: HashMap<RealId, BTreeMap<&'static str, u64>>,
}

/// The single writer.
#[derive(Debug)]
pub struct Reconciler {
    pub(super) live: Arc<Live>,
    pub(super) world: World,
    pub(super) places: Places,
    pub(super) config_file: PathBuf,
    pub(super) board: Arc<Board>,
    pub(super) tallies: Tallies,
    pub(super) journal: Journal,
    pub(super) handshakes: HashMap<RealId, Handshakes>,
    counted: Tick,
    pub(super) started: SystemTime,
    pub(super) revision: u64,
    pub(super) generation: u64,
    pub(super) filed: Filed,
    pub(super) history: History,
    /// What runs and is not in the file.
    pub(super) drift: Vec<DriftView>,
    pub(super) unconfirmed: Option<Unconfirmed>,
    /// The file has changed meanwhile.
    file_waits: bool,
    /// What was said of the files' owners.
    told: BTreeSet<String>,
    pub(super) last_good_in_use: bool,
    /// Warnings of the configuration and of the host at the last load.
    pub(super) standing_warnings: Vec<String>,
    pub(super) proxy: Option<Arc<Proxy>>,
    /// Gone when the reconciler is: traces end with it.
    pub(super) running: watch::Sender<()>,
    pub(super) log: Filter,
    pub(super) engines: Engines,
    fast_path_counted: Tick,
    pub(super) out: Outlets,
    rings: Rings,
    next_change: Option<Tick>,
    judged_by: Tick,
    announced_ready: bool,
    notifier: Notifier,
    saved: Option<Set>,
    workers_live: bool,
    /// Until the rooms run.
    starting: bool,
    pub(super) dirty: bool,
}

/// What a reconciler begins with.
#[derive(Debug)]
pub struct Beginning {
    /// Shared with the workers.
    pub live: Arc<Live>,
    /// What is known.
    pub world: World,
    /// Where files are.
    pub places: Places,
    /// The configuration's file.
    pub config_file: PathBuf,
    /// What it says; or the last good configuration, if there is a fallback.
    pub filed: Filed,
    /// The configurations before.
    pub history: History,
    /// Results of checks.
    pub board: Arc<Board>,
    /// The last generation of the last lbd.
    pub generation: u64,
    /// The file was bad, and this is the last good configuration: why.
    pub fallback: Option<Refused>,
    /// Warnings of the configuration.
    pub warnings: Vec<String>,
    /// Whom to ask for proxied connections; `None` in tests.
    pub proxy: Option<Arc<Proxy>>,
    /// The rings of the last lbd.
    pub rings: Rings,
    /// What the log shows.
    pub log: LogFilter,
    /// Which engine moves frames where.
    pub engines: Engines,
    /// The rooms.
    pub out: Outlets,
    /// systemd.
    pub notifier: Notifier,
}

impl Reconciler {
    /// Ready to run; nothing is published yet.
    pub fn new(begin: Beginning) -> Self {
        let now = SystemTime::now();
        let mut tallies = Tallies {
            last_success: Some(now),
            ..Tallies::default()
        };
        let mut standing_warnings = begin.warnings;
        let last_good_in_use = begin.fallback.is_some();
        if let Some(refused) = &begin.fallback {
            tallies.last_success = None;
            tallies.last_reload = Some((now, false, refused.summary.clone()));
            standing_warnings.push(format!(
                "the configuration file is bad ({}): the last good one is in force; mend the \
                 file, then lbctl reload",
                refused.summary
            ));
        }
        let mut journal = Journal::default();
        journal.note(Happening::Start {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
        });
        let log = Filter::new(begin.log, begin.world.config.lbd.log.clone());
        let judged_by = clock::now() + longest_first_check(&begin.world.config);
        Reconciler {
            live: begin.live,
            world: begin.world,
            places: begin.places,
            config_file: begin.config_file,
            board: begin.board,
            tallies,
            journal,
            handshakes: HashMap::new(),
            counted: Tick(0),
            started: now,
            revision: 0,
            generation: begin.generation,
            filed: begin.filed,
            history: begin.history,
            drift: Vec::new(),
            unconfirmed: None,
            file_waits: false,
            told: BTreeSet::new(),
            last_good_in_use,
            standing_warnings,
            proxy: begin.proxy,
            running: watch::Sender::new(()),
            log,
            engines: begin.engines,
            fast_path_counted: Tick(0),
            out: begin.out,
            rings: begin.rings,
            next_change: None,
            judged_by,
            announced_ready: false,
            notifier: begin.notifier,
            saved: None,
            workers_live: true,
            starting: true,
            dirty: false,
        }
    }

    /// Before anything runs: keeps the configuration as a revision, unless it is one already, and
    /// publishes the first snapshot, so that workers begin with it: flows of the last lbd wait for
    /// nothing else.
    pub async fn begin(&mut self) {
        self.take_up_history();
        self.note_drift();
        self.refresh().await;
        self.recount().await;
    }

    /// Runs until `stop` says so.
    pub async fn run(
        mut self,
        mut events: mpsc::Receiver<Event>,
        mut asks: mpsc::Receiver<Ask>,
        mut reloads: mpsc::Receiver<Trigger>,
        mut stop: oneshot::Receiver<()>,
    ) {
        let mut heard = Vec::with_capacity(EVENTS_AT_ONCE);
        let mut chores = tokio::time::interval(CHORES_EVERY);
        chores.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.starting = false;
        self.refresh().await;
        loop {
            tokio::select! {
                biased;
                _ = &mut stop => return,
                // These come seldom, and the watchdog waits for them; of events, when half a rack
                // fails, and of questions there may always be more.
                _ = chores.tick() => {
                    self.chores();
                    self.save_again();
                    self.keep_deadline().await;
                    self.read_late().await;
                }
                _ = events.recv_many(&mut heard, EVENTS_AT_ONCE) => {
                    for event in heard.drain(..) {
                        self.hear(event);
                    }
                }
                Some(trigger) = reloads.recv() => self.reload_unattended(trigger).await,
                Some(ask) = asks.recv() => self.answer(ask).await,
            }
            if self.dirty {
                self.refresh().await;
            }
        }
    }

    fn hear(&mut self, event: Event) {
        let now = clock::now();
        match event {
            Event::Health(news) => self.dirty |= self.world.hear_health(news, now),
            Event::Links(links) => {
                self.live.set_links(links.clone());
                self.world.hear_links(links, now);
                self.dirty = true;
            }
            Event::Neighbor(news) => self.dirty |= self.world.hear_neighbor(news, now),
            Event::Vip(news) => {
                // What the plan has left meanwhile is of no interest any more.
                let of =
                    |w: &crate::vip::Wanted| w.vip == news.vip && w.interface == news.interface;
                if self.out.vips.borrow().vips.iter().any(of) {
                    let key = (news.vip, news.interface.clone());
                    let (to, note) = (news.state, news.note.clone());
                    let (vip, interface) = key.clone();
                    let from = self.world.vips.insert(key, news).map(|before| before.state);
                    if from != Some(to) {
                        self.journal.note(Happening::Vip {
                            vip,
                            interface,
                            from,
                            to,
                            note,
                        });
                    }
                }
            }
            Event::Restored { kind } => {
                *self.tallies.restored.entry(kind.to_owned()).or_default() += 1;
                let kind = kind.to_owned();
                self.journal.note(Happening::Restored { kind });
            }
        }
    }

    fn chores(&mut self) {
        let now = clock::now();
        self.dirty |= self.world.release_held(now);
        self.log.expire(now);
        self.dirty |= self.next_change.is_some_and(|at| now >= at);
        if self
            .world
            .forget_the_gone(&self.live.loads, &self.live.table())
        {
            let reals = &self.world.reals;
            self.tallies
                .transitions
                .retain(|id, _| reals.contains_key(id));
            let table = self.live.table();
            self.journal.retain(
                |id| reals.contains_key(id),
                |id| table.services.iter().any(|s| s.id == *id),
            );
            self.dirty = true;
        }
        if now >= self.counted + COUNT_EVERY {
            self.counted = now;
            self.note_handshakes();
        }
        self.attend_fast_path(now);
        // systemd waits for an lbd that works; one that an operator keeps idle does.
        let readiness = self.working();
        if readiness.ready && !self.announced_ready {
            self.announced_ready = true;
            info!(reason = readiness.reason, "ready");
            self.notifier.ready();
        }
        if !self.announced_ready {
            self.notifier.wait_on();
        }
        self.notifier.status(&self.readiness().reason);
        let whole = self.proxy.as_ref().is_none_or(|proxy| proxy.is_whole());
        let live = whole && watchdog::workers_live(&self.live, now);
        if live {
            self.notifier.alive();
        } else if self.workers_live {
            error!("a worker has stopped beating; the watchdog is no longer fed");
        }
        self.workers_live = live;
    }

    /// Makes the next snapshot and puts it in force: persisted first, then the guard and the
    /// filters, then the table, then the rooms that follow it.
    pub(super) async fn refresh(&mut self) {
        self.dirty = false;
        // A real that leaves lingers by its flows, those that the program has just begun included.
        self.count_fast_path();
        let now = clock::now();
        let generation = self.generation + 1;
        let rings = &mut self.rings;
        let compiled = self.world.with_inputs(&self.live.loads, now, |inputs| {
            compile(inputs, rings, generation)
        });
        let compiled = match compiled {
            Ok(compiled) => compiled,
            Err(exhausted) => {
                let exhausted: Exhausted = exhausted;
                error!(%exhausted, "no snapshot could be made: the one in force stays");
                return;
            }
        };
        self.generation = generation;
        self.next_change = compiled.next_change;
        let table = compiled.table;
        let changed = self.world.learn(&table, now, SystemTime::now());
        for (id, before) in changed {
            self.tell_transition(&table, id, before);
        }
        for service in &table.services {
            let reason = || state_reason(service);
            self.journal
                .service(service.id, &service.name, service.state, reason);
        }
        self.save_set();
        // At the start the guard is on its way. What arrives already reaches this host's stack
        // with or without us, so only the announcements have to wait for it.
        if !self.starting {
            self.guard(plans::guard(&self.world)).await;
            self.intercept(plans::intercept(&self.world)).await;
        }
        let version = self.live.set_vips(plans::filter(&self.world));
        wait_until(IN_FORCE_WITHIN, || self.live.filters_at(version)).await;

        let vips = plans::vips(&self.world, &table);
        self.let_fast_path_follow(&table);
        for program in &mut self.engines.to_sockets {
            program.withdraw(&table);
        }
        self.live.publish(table);
        for program in &mut self.engines.to_sockets {
            program.offer(&self.live.table(), &self.world.links);
        }
        // After the snapshot: a client that is accepted finds its service.
        send_if_new(&self.out.proxy, plans::proxy(&self.world));
        if !self.starting {
            // Checks that travel as traffic need what is in force by now.
            send_if_new(&self.out.hops, plans::hops(&self.world));
            send_if_new(&self.out.targets, plans::targets(&self.world));
        }
        send_if_new(&self.out.neighbors, plans::neighbors(&self.world));
        let wanted: BTreeSet<_> = vips
            .vips
            .iter()
            .map(|w| (w.vip, w.interface.clone()))
            .collect();
        self.world.vips.retain(|key, _| wanted.contains(key));
        if !self.starting {
            send_if_new(&self.out.vips, vips);
        }
    }

    /// Writes what the next lbd must know, if it is not written already. The generation alone is
    /// no reason: nothing depends on it.
    fn save_set(&mut self) {
        let set = self.world.set(self.generation, &self.rings);
        if self
            .saved
            .as_ref()
            .is_some_and(|saved| saved.says_same(&set))
        {
            return;
        }
        match self.places.save_set(&set, &self.world.key) {
            Ok(()) => self.saved = Some(set),
            Err(error) => {
                warn!(%error, "the set could not be written; a killed lbd's successor would not know it");
            }
        }
    }

    fn tell_transition(
        &mut self,
        table: &lbcore::service::ServiceTable,
        id: RealId,
        before: Option<RealState>,
    ) {
        let Some((service, member)) = table.member(id) else {
            return;
        };
        let change = StateChange {
            from: before,
            to: member.state,
            reason: member.reason.clone(),
        };
        self.journal
            .transition(id, &service.name, &member.name, change);
        let tally = self.tallies.transitions.entry(id).or_default();
        *tally.entry(member.state.word()).or_default() += 1;
        info!(
            service = %service.name,
            real = member.name,
            from = before.map_or("new", RealState::word),
            to = member.state.word(),
            service_state = service.state.word(),
            reason = member.reason,
            "real changes state"
        );
    }
}

/// By then every check has had its first answer, and every real without one its own.
fn longest_first_check(config: &Config) -> Duration {
    let services = config.services.iter();
    let first = services.filter_map(|s| {
        let checks = s.checks.iter().map(|c| c.interval + c.timeout);
        checks
            .max()
            .or((!s.reals.is_empty()).then_some(FIRST_NEIGHBOR))
    });
    first.max().unwrap_or_default()
}

fn send_if_new<T: PartialEq>(to: &watch::Sender<Arc<T>>, new: T) {
    to.send_if_modified(|held| {
        let differs = **held != new;
        if differs {
            *held = Arc::new(new);
        }
        differs
    });
}

/// Polls every millisecond: workers follow within one turn of their ring.
async fn wait_until(limit: Duration, done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    if tokio::time::timeout(limit, waiting).await.is_err() {
        warn!("the receive filters do not follow the VIPs yet");
    }
}

#[cfg(test)]
mod tests;
