//! Which engine moves frames on each interface, and why no better one. Chosen once, at the start.

use super::{FastPath, Mode};
use crate::live::event::Link;
use lbcore::config::{EngineChoice, Network, Service, XdpMode};
use lbcore::net::HashKey;
use std::path::Path;

/// The engine of one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The interface.
    pub interface: String,
    /// Where the XDP program runs; `None`: nowhere, raw sockets have every frame.
    pub xdp: Option<Mode>,
    /// Why this engine, and why no better one.
    pub reason: String,
}

/// What was chosen.
#[derive(Debug)]
pub struct Engines {
    /// The program, where any interface has it.
    pub fast_path: Option<FastPath>,
    /// In the order of `network.interfaces`.
    pub chosen: Vec<Chosen>,
}

/// The engine that the configuration asks for cannot work here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("engine = \"xdp\" cannot work here: {0}; engine = \"auto\" takes the best that does")]
pub struct Refusal(String);

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
    /// The host's interfaces.
    pub links: &'a [Link],
}

/// Chooses, and attaches the program where it is chosen; it declines everything until it is told a
/// snapshot.
///
/// # Errors
/// `engine = "xdp"` is asked for and cannot work on an interface that is there.
pub fn choose(ground: &Ground<'_>) -> Result<Engines, Refusal> {
    match ground.network.engine {
        EngineChoice::AfPacket => Ok(raw_sockets(ground, |_| {
            "raw sockets with a receive ring: asked for".to_owned()
        })),
        EngineChoice::Xdp => on_interfaces(ground).map_err(Refusal),
        EngineChoice::Auto => Ok(on_interfaces(ground).unwrap_or_else(|why| {
            raw_sockets(ground, |_| {
                format!("raw sockets with a receive ring; no xdp: {why}")
            })
        })),
    }
}

fn raw_sockets(ground: &Ground<'_>, reason: impl Fn(&str) -> String) -> Engines {
    let of = |interface: &String| Chosen {
        reason: reason(interface),
        interface: interface.clone(),
        xdp: None,
    };
    Engines {
        fast_path: None,
        chosen: ground.network.interfaces.iter().map(of).collect(),
    }
}

#[cfg(not(feature = "xdp"))]
fn on_interfaces(_: &Ground<'_>) -> Result<Engines, String> {
    Err("this lbd was built without it (feature xdp)".to_owned())
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
    let mut fast_path = load(ground)?;
    let mut chosen = Vec::new();
    for (slot, (name, plan)) in ground.network.interfaces.iter().zip(plans).enumerate() {
        let (xdp, reason) = match plan {
            Plan::Refused(why) => (None, format!("raw sockets; no xdp: {why}")),
            Plan::Absent => (
                None,
                "raw sockets: the interface was not there at the start, and XDP attaches at the start only"
                    .to_owned(),
            ),
            Plan::Try { ifindex, modes } => {
                match attach(&mut fast_path, slot, name, ifindex, &modes) {
                    Ok((mode, reason)) => (Some(mode), reason),
                    Err(why) if asked => return Err(format!("{name}: {why}")),
                    Err(why) => (None, format!("raw sockets; no xdp: {why}")),
                }
            }
        };
        chosen.push(Chosen {
            interface: name.clone(),
            xdp,
            reason,
        });
    }
    fast_path.forget_other_links();
    let any = chosen.iter().any(|chosen| chosen.xdp.is_some());
    Ok(Engines {
        fast_path: (any || asked).then_some(fast_path),
        chosen,
    })
}

/// What to try on one interface.
#[cfg(feature = "xdp")]
enum Plan {
    Absent,
    Refused(String),
    Try { ifindex: u32, modes: Vec<Mode> },
}

#[cfg(feature = "xdp")]
fn plan(name: &str, ground: &Ground<'_>) -> Plan {
    let Some(link) = ground.links.iter().find(|link| link.name == name) else {
        return Plan::Absent;
    };
    let asked = ground.network.engine == EngineChoice::Xdp;
    let modes = match (ground.network.xdp_mode, suits_native(name)) {
        (XdpMode::Native, _) => vec![Mode::Native],
        (XdpMode::Generic, _) => vec![Mode::Generic],
        (XdpMode::Auto, Ok(())) if asked => vec![Mode::Native, Mode::Generic],
        (XdpMode::Auto, Ok(())) => vec![Mode::Native],
        (XdpMode::Auto, Err(_)) if asked => vec![Mode::Generic],
        // Generic XDP copies what the host gets, too: only where it is asked for.
        (XdpMode::Auto, Err(why)) => return Plan::Refused(format!("{name} {why}")),
    };
    Plan::Try {
        ifindex: link.ifindex,
        modes,
    }
}

/// Whether the program belongs into the driver of this interface.
#[cfg(feature = "xdp")]
fn suits_native(name: &str) -> Result<(), String> {
    use crate::sys::ethtool;
    use crate::sys::packet_socket::PacketSocket;
    let driver = PacketSocket::new().and_then(|socket| ethtool::driver(&socket, name));
    match driver.as_deref() {
        Ok("veth") => Err(
            "is a veth: checksums arrive unfinished there, and its peer may swallow what XDP sends \
             (engine = \"xdp\" runs behind the driver)"
                .to_owned(),
        ),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("does not tell its driver ({error})")),
    }
}

#[cfg(feature = "xdp")]
fn load(ground: &Ground<'_>) -> Result<FastPath, String> {
    use super::Expected;
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
    };
    FastPath::load(dir, ground.key, expected)
}

/// Attaches in the first mode that works; the reason says what kept the better ones.
#[cfg(feature = "xdp")]
fn attach(
    fast_path: &mut FastPath,
    slot: usize,
    name: &str,
    ifindex: u32,
    modes: &[Mode],
) -> Result<(Mode, String), String> {
    let mut refused = Vec::new();
    for &mode in modes {
        let ready = match mode {
            Mode::Native => keep_tags(name),
            Mode::Generic => Ok(()),
        };
        match ready.and_then(|()| fast_path.attach(slot, ifindex, mode)) {
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
                return Ok((mode, reason));
            }
            Err(why) => refused.push(format!("not {}: {why}", mode.word())),
        }
    }
    Err(refused.join("; "))
}

#[cfg(feature = "xdp")]
fn keep_tags(name: &str) -> Result<(), String> {
    use crate::sys::ethtool;
    use crate::sys::packet_socket::PacketSocket;
    let kept = PacketSocket::new().and_then(|socket| {
        match ethtool::driver(&socket, name).as_deref() {
            // A veth takes no tag out; it only hands on those its peer has set apart.
            Ok("veth") => Ok(false),
            _ => ethtool::keep_vlan_tags(&socket, name),
        }
    });
    match kept {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "VLAN tags are taken out of frames before XDP, and that cannot be switched off ({error}): \
             try `ethtool -K {name} rxvlan off`"
        )),
    }
}
