//! Which engine moves frames on each interface, and why no better one. Chosen once, at the start.

#[cfg(feature = "xdp")]
use super::Mode;
#[cfg(feature = "xdp")]
use super::fast_path::Candidate;
#[cfg(feature = "xdp")]
use super::modes::{Plan, plan, with_tags};
#[cfg(feature = "xdp")]
use super::sockets::{self, Opened};
use super::{FastPath, ToSockets};
use crate::io::af_xdp::AfXdp;
use crate::live::event::Link;
use lbcore::config::{EngineChoice, Network, Service};
use lbcore::net::HashKey;
use std::path::Path;

/// What moves the frames of an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Raw sockets have every frame.
    AfPacket,
    /// AF_XDP sockets have plain TCP and UDP for services, raw sockets the rest.
    AfXdp,
    /// An XDP program forwards what is plain, raw sockets have the rest.
    Xdp,
}

impl Engine {
    /// As in the configuration.
    pub fn word(self) -> &'static str {
        match self {
            Engine::AfPacket => "af_packet",
            Engine::AfXdp => "af_xdp",
            Engine::Xdp => "xdp",
        }
    }
}

/// The engine of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The interface.
    pub interface: String,
    /// Its engine.
    pub engine: Engine,
    /// What the engine does here.
    pub how: String,
    /// Why no better one, each with its name.
    pub why_not: Vec<String>,
}

impl Chosen {
    /// Why this engine, and why no better one.
    pub fn reason(&self) -> String {
        let mut parts = vec![self.how.as_str()];
        parts.extend(self.why_not.iter().map(String::as_str));
        parts.join("; ")
    }
}

/// One worker's engine on AF_XDP sockets.
#[derive(Debug)]
pub struct Queues {
    /// The interface.
    pub interface: String,
    /// Its place in `network.interfaces`.
    pub slot: usize,
    /// The engine.
    pub engine: AfXdp,
}

/// What was chosen.
#[derive(Debug)]
pub struct Engines {
    /// The program of engine `xdp`, where any interface has it.
    pub fast_path: Option<FastPath>,
    /// The programs of engine `af_xdp`, one for each interface that has it.
    pub to_sockets: Vec<ToSockets>,
    /// In the order of `network.interfaces`.
    pub chosen: Vec<Chosen>,
    /// What an earlier lbd has left that cannot be removed, in words.
    pub left: Option<String>,
}

/// What was chosen and opened.
#[derive(Debug)]
pub struct Choice {
    /// For the one who follows snapshots.
    pub engines: Engines,
    /// Sockets of engine `af_xdp`, one entry a worker.
    pub queues: Vec<Queues>,
}

impl From<Engines> for Choice {
    fn from(engines: Engines) -> Choice {
        let queues = Vec::new();
        Choice { engines, queues }
    }
}

/// The engine that the configuration asks for cannot work here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "engine = \"{}\" cannot work here: {why}; engine = \"auto\" takes the best that does",
    engine.word()
)]
pub struct Refusal {
    /// The engine.
    pub engine: Engine,
    /// Why not.
    pub why: String,
}

/// What the choice depends on.
#[derive(Clone, Copy, Debug)]
pub struct Ground<'a> {
    /// What is asked for.
    pub network: &'a Network,
    /// Where pins live.
    pub bpf_dir: &'a Path,
    /// The services to begin with.
    pub services: &'a [Service],
    /// The key of every hash.
    pub key: &'a HashKey,
    /// How many ids reals were ever given.
    pub ids: usize,
    /// The host's interfaces.
    pub links: &'a [Link],
}

/// Chooses, and attaches programs where they are chosen; they leave everything to raw sockets until they
/// are told a snapshot.
///
/// # Errors
/// An engine is asked for and cannot work on an interface that is there.
pub fn choose(ground: &Ground<'_>) -> Result<Choice, Refusal> {
    let refused = |engine| move |why| Refusal { engine, why };
    match ground.network.engine {
        EngineChoice::AfPacket => Ok(raw_sockets(ground, "asked for").into()),
        EngineChoice::Xdp => on_interfaces(ground)
            .map(Choice::from)
            .map_err(refused(Engine::Xdp)),
        EngineChoice::AfXdp => {
            let mut choice = raw_sockets(ground, ABSENT).into();
            make_room(ground);
            on_queues(ground, &mut choice).map_err(refused(Engine::AfXdp))?;
            Ok(choice)
        }
        EngineChoice::Auto => {
            let engines = on_interfaces(ground)
                .unwrap_or_else(|why| raw_sockets(ground, &format!("no xdp: {why}")));
            if engines.fast_path.is_none() {
                make_room(ground);
            }
            let mut choice = engines.into();
            better_by_queues(ground, &mut choice);
            Ok(choice)
        }
    }
}

/// An interface has room for one program: that of engine `xdp` which an earlier lbd has left goes. Its flow
/// table stays.
fn make_room(ground: &Ground<'_>) {
    if let Err(error) = super::detach(ground.bpf_dir) {
        tracing::warn!(%error, "an old XDP program could not be detached: lbd cleanup does it");
    }
}

/// Why an interface that is not there yet has raw sockets.
const ABSENT: &str = "the interface was not there at the start, and XDP attaches at the start only";

fn raw_sockets(ground: &Ground<'_>, why: &str) -> Engines {
    let of = |interface: &String| raw_socket(interface, why.to_owned());
    Engines {
        fast_path: None,
        to_sockets: Vec::new(),
        chosen: ground.network.interfaces.iter().map(of).collect(),
        left: None,
    }
}

fn raw_socket(interface: &str, why: String) -> Chosen {
    Chosen {
        interface: interface.to_owned(),
        engine: Engine::AfPacket,
        how: "raw sockets with a receive ring".to_owned(),
        why_not: vec![why],
    }
}

#[cfg(not(feature = "xdp"))]
fn on_interfaces(_: &Ground<'_>) -> Result<Engines, String> {
    Err("this lbd was built without it (feature xdp)".to_owned())
}

#[cfg(not(feature = "xdp"))]
fn on_queues(_: &Ground<'_>, _: &mut Choice) -> Result<(), String> {
    Err("this lbd was built without it (feature xdp)".to_owned())
}

#[cfg(not(feature = "xdp"))]
fn better_by_queues(_: &Ground<'_>, _: &mut Choice) {}

/// AF_XDP sockets on every interface that is there.
///
/// # Errors
/// The first interface where that cannot be.
#[cfg(feature = "xdp")]
fn on_queues(ground: &Ground<'_>, choice: &mut Choice) -> Result<(), String> {
    if choice.engines.chosen.is_empty() {
        return Err("no interface is configured".to_owned());
    }
    for slot in 0..choice.engines.chosen.len() {
        let name = choice.engines.chosen[slot].interface.clone();
        match plan(&name, ground) {
            Plan::Absent => {}
            Plan::Refused(why) => return Err(why),
            Plan::Try { link, modes } => {
                let opened = sockets::open(ground, slot, link, &modes);
                let opened = opened.map_err(|why| format!("{name}: {why}"))?;
                choice.engines.chosen[slot].why_not.clear();
                choice.take(slot, opened);
            }
        }
    }
    Ok(())
}

/// AF_XDP sockets where the driver has them, on interfaces without a better engine; elsewhere it is said
/// why not.
#[cfg(feature = "xdp")]
fn better_by_queues(ground: &Ground<'_>, choice: &mut Choice) {
    for slot in 0..choice.engines.chosen.len() {
        let chosen = &mut choice.engines.chosen[slot];
        if chosen.engine != Engine::AfPacket {
            continue;
        }
        // What keeps any program out of the driver has been said.
        let Plan::Try { link, modes } = plan(&chosen.interface, ground) else {
            continue;
        };
        match sockets::open(ground, slot, link, &modes) {
            Ok(opened) => choice.take(slot, opened),
            Err(why) => chosen.why_not.push(format!("no af_xdp: {why}")),
        }
    }
}

#[cfg(feature = "xdp")]
impl Choice {
    fn take(&mut self, slot: usize, opened: Opened) {
        let chosen = &mut self.engines.chosen[slot];
        chosen.engine = Engine::AfXdp;
        chosen.how = opened.how;
        self.engines.to_sockets.push(opened.to_sockets);
        self.queues.extend(opened.workers);
    }
}

#[cfg(feature = "xdp")]
fn on_interfaces(ground: &Ground<'_>) -> Result<Engines, String> {
    let asked = ground.network.engine == EngineChoice::Xdp;
    let plans: Vec<Plan> = ground
        .network
        .interfaces
        .iter()
        .map(|name| plan(name, ground))
        .collect();
    if plans.is_empty() {
        return Err("no interface is configured".to_owned());
    }
    // Loading takes memory and privilege: not for nothing.
    let refused = plans.iter().find_map(|plan| match plan {
        Plan::Refused(why) => Some(why.clone()),
        _ => None,
    });
    match refused {
        Some(why) if asked => return Err(why),
        Some(why) if !plans.iter().any(|plan| matches!(plan, Plan::Try { .. })) => return Err(why),
        _ => {}
    }
    let mut candidate = load(ground)?;
    let mut chosen = Vec::new();
    for (slot, (name, plan)) in ground.network.interfaces.iter().zip(plans).enumerate() {
        chosen.push(match plan {
            Plan::Refused(why) => raw_socket(name, format!("no xdp: {why}")),
            Plan::Absent => raw_socket(name, ABSENT.to_owned()),
            Plan::Try { link, modes } => {
                match attach(&mut candidate, slot, name, link.ifindex, &modes) {
                    Ok(how) => Chosen {
                        interface: name.clone(),
                        engine: Engine::Xdp,
                        how,
                        why_not: Vec::new(),
                    },
                    Err(why) if asked => return Err(format!("{name}: {why}")),
                    Err(why) => raw_socket(name, format!("no xdp: {why}")),
                }
            }
        });
    }
    candidate.forget_other_links();
    let any = chosen.iter().any(|chosen| chosen.engine == Engine::Xdp);
    Ok(Engines {
        fast_path: (any || asked).then(|| candidate.open()).transpose()?,
        to_sockets: Vec::new(),
        chosen,
        left: None,
    })
}

#[cfg(feature = "xdp")]
fn load(ground: &Ground<'_>) -> Result<Candidate, String> {
    use super::fast_path::Expected;
    use crate::sys::capability;
    if !cfg!(target_arch = "x86_64") {
        return Err("the program relies on the memory order of x86-64".to_owned());
    }
    if let Some(missing) = capability::missing_for_bpf() {
        return Err(format!(
            "{missing} is missing (the unit's drop-in lbd-xdp.conf gives it)"
        ));
    }
    let dir = ground.bpf_dir;
    let shown = dir.display();
    // Below a mounted bpffs it may be made; anywhere else it is of no use.
    let _ = std::fs::create_dir(dir);
    /// From linux/magic.h.
    const BPF_FS_MAGIC: i64 = 0xcafe_4a11;
    match rustix::fs::statfs(dir) {
        Ok(fs) if fs.f_type == BPF_FS_MAGIC => {}
        Ok(_) => {
            return Err(format!(
                "{shown} is on no bpffs: mount -t bpf bpf {shown}, or name another bpf_dir"
            ));
        }
        Err(error) => return Err(format!("bpf_dir {shown}: {error}")),
    }
    let count = |of: fn(&Service) -> usize| ground.services.iter().map(of).sum();
    let expected = Expected {
        flow_entries: ground.network.flow_entries,
        services: ground.services.len(),
        keys: count(|service| service.keys().count()),
        reals: count(|service| service.reals.len()),
        ids: ground.ids,
    };
    Candidate::load(dir, ground.key, expected)
}

/// Attaches in the first mode that works; the reason says what kept the better ones.
#[cfg(feature = "xdp")]
fn attach(
    candidate: &mut Candidate,
    slot: usize,
    name: &str,
    ifindex: u32,
    modes: &[Mode],
) -> Result<String, String> {
    let mut refused = Vec::new();
    for &mode in modes {
        if mode == Mode::Native && modes.len() > 1 && candidate.is_pinned(ifindex, Mode::Generic) {
            refused.push(
                "not native: the last lbd's program goes on behind the driver without a gap (a stop and a \
                 start try the driver)"
                    .to_owned(),
            );
            continue;
        }
        let mut attach = || candidate.attach(slot, ifindex, mode);
        let attached = match mode {
            Mode::Native => with_tags(name, attach),
            Mode::Generic => attach(),
        };
        match attached {
            Ok(()) => {
                let mut reason = format!(
                    "a program in {}, what it declines by raw sockets",
                    match mode {
                        Mode::Native => "the driver",
                        Mode::Generic => "the kernel's receive path (generic)",
                    }
                );
                if !refused.is_empty() {
                    reason = format!("{reason}; {}", refused.join("; "));
                }
                return Ok(reason);
            }
            Err(why) => refused.push(format!("not {}: {why}", mode.word())),
        }
    }
    Err(refused.join("; "))
}
