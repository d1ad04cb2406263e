//! Start: privilege first, then what the last lbd left, then the rooms, then traffic. Stop: the
//! other way round.

use super::Options;
use super::config_files;
use super::filed::Filed;
use super::history::History;
use super::last_run;
use super::notify::{Notifier, stay_patient};
use super::persist::Places;
use super::plans;
use super::reconciler::{Beginning, Reconciler, access_of, compose, pinned};
use super::recover::{Recovered, claim, recover};
use super::reload::{self, Loaded, Refused};
use super::rooms::Rooms;
use super::signals::{Signals, Stop};
use super::watch_file;
use super::world::World;
use crate::control::server::{BindError, Server};
use crate::control::{self, metrics};
use crate::dataplane::{Packets, Pool, workers_for};
use crate::guard;
use crate::intercept;
use crate::kernel;
use crate::link;
use crate::live::{Live, Source, WorkerShared};
use crate::probe::Board;
use crate::proxy::Proxy;
use crate::sys::{affinity, capability, clock};
use crate::xdp;
use lbcore::config::{self, Config, Network};
use lbcore::service::Rings;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::{info, warn};

/// Why lbd cannot start; each kind has an exit code.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// 78
    #[error("{}", if .0.detail.is_empty() { &.0.summary } else { &.0.detail })]
    Config(Refused),
    /// 77
    #[error(
        "missing capability {0}: run lbd by its unit (systemctl start lbd), as root, or with \
         `setpriv --ambient-caps +net_admin,+net_raw`"
    )]
    Capability(&'static str),
    /// 71
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel says.
        source: io::Error,
    },
    /// 69
    #[error("{0}")]
    Missing(String),
}

impl StartError {
    /// What lbd exits with (sysexits.h).
    pub fn exit_code(&self) -> u8 {
        match self {
            StartError::Missing(_) => 69,
            StartError::System { .. } => 71,
            StartError::Capability(_) => 77,
            StartError::Config(_) => 78,
        }
    }
}

pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> StartError {
    move |source| StartError::System { what, source }
}

pub(super) fn places(config: &Config) -> Places {
    let state_dir = config.lbd.state_dir.clone();
    let default_key = || state_dir.join("hash.key");
    Places {
        run_dir: config.lbd.run_dir.clone(),
        hash_key: config
            .network
            .hash_key_file
            .clone()
            .unwrap_or_else(default_key),
        state_dir,
    }
}

/// The file, if it is good and this host does not stand against it. What the host does not say
/// stops nobody.
async fn good_here(options: &Options) -> Result<Loaded, Refused> {
    let loaded = reload::load_orders(&options.config)?;
    match link::facts().await {
        Ok(facts) => reload::check_host(&loaded.config, &facts, options.force)?,
        Err(error) => {
            warn!(%error, "what this host itself uses cannot be read; VIPs are not compared with it");
        }
    }
    Ok(loaded)
}

/// The configuration to begin with: the file's, or the last good one with the reason.
async fn first_config(options: &Options) -> Result<(Loaded, Option<Refused>), StartError> {
    let refused = match good_here(options).await {
        Ok(loaded) => return Ok((loaded, None)),
        Err(refused) => refused,
    };
    if options.strict {
        return Err(StartError::Config(refused));
    }
    let history = History::load(&salvaged(&options.config).state_dir);
    let last_good = history.last_good().map(|(_, sources)| sources);
    match last_good.map(reload::judge) {
        Some(Ok(loaded)) => Ok((loaded, Some(refused))),
        _ => Err(StartError::Config(refused)),
    }
}

/// Where a bad file says that things are, as far as that can be read; else the defaults.
pub(super) fn salvaged(file: &Path) -> config::Lbd {
    // It matters most when another file is the one that cannot be read.
    let text = config_files::read_main(file).unwrap_or_default();
    let mut lbd = config::Lbd::default();
    for (key, place) in [
        ("run_dir", &mut lbd.run_dir),
        ("state_dir", &mut lbd.state_dir),
        ("bpf_dir", &mut lbd.bpf_dir),
    ] {
        if let Some(said) = config::lbd_path_of_bad(&text, key) {
            *place = said;
        }
    }
    lbd
}

/// Runs lbd until a signal stops it.
///
/// # Errors
/// Why it cannot start.
pub async fn run(options: Options) -> Result<(), StartError> {
    let mut signals = Signals::new().map_err(system("hearing signals"))?;
    // A change from here on is news, whenever it is noticed.
    let read = config_files::read(&options.config).ok();
    let (loaded, fallback) = first_config(&options).await?;
    let config = &loaded.config;
    let log = crate::log::set(&config.lbd);
    if let Some(refused) = &fallback {
        tracing::error!(
            reason = refused.summary,
            "the configuration file is bad: running the last good one"
        );
    }
    if let Some(missing) = capability::missing() {
        return Err(StartError::Capability(missing));
    }
    check_kernel(config)?;
    let places = places(config);
    places.make().map_err(system("making directories"))?;
    let key = places.hash_key().map_err(system("reading the hash key"))?;
    claim(&places)?;
    let links = link::snapshot()
        .await
        .map_err(system("reading this host's interfaces"))?;
    let last = places.load_set(&key);
    let xdp::Choice {
        mut engines,
        queues,
    } = xdp::choose(&xdp::Ground {
        network: &config.network,
        bpf_dir: &config.lbd.bpf_dir,
        services: &config.services,
        key: &key,
        ids: last.0.as_ref().map_or(0, |set| set.registry.given()),
        links: &links,
    })
    .map_err(|refusal| StartError::Missing(refusal.to_string()))?;
    let shared = engines.fast_path.as_ref().map(xdp::FastPath::flow_words);
    let bpf_dir = &config.lbd.bpf_dir;
    let Recovered { set, flows, left } =
        recover(&places, last, &key, &config.network, shared, bpf_dir)?;
    engines.left = left;
    let generation = set.generation;
    let history = History::load(&places.state_dir);
    let (mut overrides, trouble) = places.load_overrides();
    if let Some(trouble) = trouble {
        warn!(
            trouble,
            "changes by command cannot be read; they are forgotten"
        );
    }
    let filed = Filed::read(&loaded);
    let (running, runtime) = compose(&filed.wanted, &overrides.runtime);
    let config = running.checked.config;
    if std::mem::replace(&mut overrides.runtime, runtime) != overrides.runtime
        && let Err(error) = places.save_overrides(&overrides)
    {
        warn!(%error, "what the file overrules could not be forgotten");
    }

    let (maintenance, trouble) = places.load_maintenance();
    if let Some(trouble) = trouble {
        warn!(trouble, "in maintenance, since when cannot be read");
    }

    let workers = plan_workers(&config.network, &queues);
    let mut live = Live::new(key.clone(), flows, workers, proxy_workers(&config.network));
    live.fast_path = shared.map(|_| lbcore::director::Counters::default());
    let live = Arc::new(live);
    live.flows
        .for_each(|_, entry, _| live.loads.add(entry.real, entry.state.weightiness()));

    let registry = prometheus::Registry::new();
    let board = Board::new(&registry).map_err(|e| StartError::Missing(e.to_string()))?;
    let board = Arc::new(board);
    let (access, access_warnings) = access_of(&config);
    let server = Server::bind(&places.socket(), &access).map_err(|error| match error {
        BindError::Io { path, source } => {
            let words = format!("{}: {source}", path.display());
            system("making the control socket")(io::Error::new(source.kind(), words))
        }
        other => StartError::Missing(other.to_string()),
    })?;

    let now = (clock::now(), SystemTime::now());
    let rings = Rings::recovered(&set.rings, &key);
    let mut world = World::new(config.clone(), key, overrides, set, now);
    world.maintenance = maintenance;
    world.pinned = pinned(&filed.wanted.config, &config);
    last_run::follow(&mut world, &history, &live.loads);
    let links = Arc::new(links);
    live.set_links(links.clone());
    world.hear_links(links.clone(), clock::now());

    let guard = plans::guard(&world);
    let intercept = plans::intercept(&world);
    let (rooms, out, events) = Rooms::open(&config, links, access, (guard, intercept), &board);
    let proxy = Proxy::start(live.clone(), rooms.proxy, rooms.proxied)
        .map_err(system("starting the proxy"))?;
    let proxy = Arc::new(proxy);
    let (ask, asks) = mpsc::channel(control::ASK_QUEUE);
    let (reload, reloads) = mpsc::channel(1);
    let mut warnings = loaded.warnings;
    warnings.extend(access_warnings);
    let mut reconciler = Reconciler::new(Beginning {
        live: live.clone(),
        world,
        places: places.clone(),
        config_file: options.config.clone(),
        filed,
        history,
        board,
        generation,
        fallback,
        warnings,
        proxy: Some(proxy.clone()),
        rings,
        log,
        engines,
        out,
        notifier: Notifier::new(),
    });
    reconciler.begin().await;
    let mut tasks = rooms.tasks;
    tasks.push(tokio::spawn(server.run(rooms.access, ask.clone())));
    tasks.push(tokio::spawn(metrics::run(rooms.metrics, ask, registry)));
    if config.lbd.watch {
        tasks.push(tokio::spawn(watch_file::run(
            options.config,
            read,
            reload.clone(),
        )));
    }
    let on_queues = queues.into_iter().map(|queues| queues.engine).collect();
    let pool = Pool::start(&live, config.network.ring_mib, on_queues, |me, number| {
        Packets::new(live.clone(), me.clone(), number)
    })
    .map_err(system("starting workers"))?;
    let (stop, stopped) = oneshot::channel();
    let mut writer = tokio::spawn(reconciler.run(events, asks, reloads, stopped));
    info!(version = env!("CARGO_PKG_VERSION"), "lbd runs");

    let how = tokio::select! {
        how = signals.until_stop(&reload) => how,
        // Without it nothing follows what happens; whoever starts lbd again finds every flow.
        ended = &mut writer => {
            let fault = ended.err().map_or_else(|| "it just ended".to_owned(), |e| e.to_string());
            return Err(system("the reconciler has ended")(io::Error::other(fault)));
        }
        () = broken(|| pool.is_whole() && proxy.is_whole()) => {
            let fault = io::Error::other("it has panicked; the log says where");
            return Err(system("a worker has ended")(fault));
        }
    };
    Notifier::stopping();
    // Everything else goes on meanwhile: connections that end need their VIPs and their reals.
    let patience = match how {
        Stop::Clean => config.lbd.shutdown_timeout,
        // The next lbd is there in a moment, and takes new connections at once.
        Stop::HandOver => Duration::ZERO,
    };
    let mut finished = std::pin::pin!(proxy.finish(patience));
    tokio::select! {
        () = &mut finished => {}
        () = stay_patient() => {}
        _ = signals.until_stop(&reload) => {
            proxy.hurry();
            finished.await;
        }
    }
    if how == Stop::HandOver {
        // Whatever the rooms keep in the kernel stays for the next lbd.
        tasks.iter().for_each(JoinHandle::abort);
    }
    let _ = stop.send(());
    // With the reconciler go the plans' senders, and with those the rooms end in order.
    let _ = writer.await;
    live.stop();
    tokio::task::spawn_blocking(move || pool.join())
        .await
        .map_err(|e| StartError::Missing(e.to_string()))?;
    if how == Stop::Clean {
        stop_clean(tasks, &places, &config.lbd.bpf_dir).await;
    }
    info!("lbd ends");
    Ok(())
}

/// Ends when a worker's thread has: what it forwarded nobody forwards. It need not be quick, but quicker than
/// a watchdog, which not everybody has.
async fn broken(whole: impl Fn() -> bool) {
    while whole() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

/// Says in one line what the kernel lacks.
///
/// # Errors
/// lbd cannot do its work without.
fn check_kernel(config: &Config) -> Result<(), StartError> {
    let lacks = kernel::lacks(kernel::Needs::of(config));
    if lacks.is_empty() {
        return Ok(());
    }
    let words: Vec<String> = lacks.iter().map(ToString::to_string).collect();
    let words = format!(
        "this kernel ({}) lacks {}; see docs/kernels.md",
        kernel::release(),
        words.join("; ")
    );
    if lacks.iter().any(|lack| lack.vital) {
        return Err(StartError::Missing(words));
    }
    warn!("{words}");
    Ok(())
}

/// One proxy worker a core, or as many as the file says.
fn proxy_workers(network: &Network) -> usize {
    match network.workers {
        0 => affinity::allowed_cores().map_or(1, |cores| cores.len()),
        wanted => wanted,
    }
}

/// Every worker of every interface: on raw sockets, and on `queues`, in their order. Beside queues
/// one raw socket is enough.
fn plan_workers(network: &Network, queues: &[xdp::Queues]) -> Vec<Arc<WorkerShared>> {
    let mut workers = Vec::new();
    for (slot, interface) in network.interfaces.iter().enumerate() {
        let count = match queues.iter().any(|queues| queues.slot == slot) {
            true => 1,
            false => workers_for(interface, network.workers),
        };
        let new = |i| WorkerShared::new(interface, slot, i, Source::RawSocket);
        workers.extend((0..count).map(new).map(Arc::new));
    }
    for queues in queues {
        let index = workers.iter().filter(|w| w.slot == queues.slot).count();
        let new = WorkerShared::new(&queues.interface, queues.slot, index, Source::Queues);
        workers.push(Arc::new(new));
    }
    workers
}

/// Takes down what only serves while lbd runs. The set and the flow table stay: in `run_dir` they
/// cost nothing, and a quick start finds its flows again.
async fn stop_clean(tasks: Vec<JoinHandle<()>>, places: &Places, bpf_dir: &Path) {
    const END_WITHIN: std::time::Duration = std::time::Duration::from_secs(2);
    let ends = async {
        for task in tasks {
            let _ = task.await;
        }
    };
    if tokio::time::timeout(END_WITHIN, ends).await.is_err() {
        warn!("a task did not end in time");
    }
    if let Err(error) = guard::remove().await {
        warn!(%error, "the guard could not be removed: lbd cleanup does it");
    }
    if let Err(error) = intercept::remove().await {
        warn!(%error, "the interception could not be removed: lbd cleanup does it");
    }
    // As the file of flows, the pinned flow table stays for a quick start.
    if let Err(error) = xdp::detach(bpf_dir) {
        warn!(%error, "the XDP program could not be detached: lbd cleanup does it");
    }
    let _ = std::fs::remove_file(places.socket());
}
