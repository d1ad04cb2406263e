//! In which modes a program may run on an interface, and what the interface must do for that.

use super::Mode;
use super::choose::Ground;
use crate::live::event::Link;
use crate::sys::ethtool;
use crate::sys::packet_socket::PacketSocket;
use lbcore::config::{EngineChoice, XdpMode};

/// What to try on one interface.
pub(super) enum Plan<'a> {
    Absent,
    Refused(String),
    Try { link: &'a Link, modes: Vec<Mode> },
}

/// What to try on the interface called `name`.
pub(super) fn plan<'a>(name: &str, ground: &Ground<'a>) -> Plan<'a> {
    let Some(link) = ground.links.iter().find(|link| link.name == name) else {
        return Plan::Absent;
    };
    let asked = ground.network.engine != EngineChoice::Auto;
    let modes = match (ground.network.xdp_mode, suits_native(name)) {
        (XdpMode::Native, _) => vec![Mode::Native],
        (XdpMode::Generic, _) => vec![Mode::Generic],
        (XdpMode::Auto, Ok(())) if asked => vec![Mode::Native, Mode::Generic],
        (XdpMode::Auto, Ok(())) => vec![Mode::Native],
        (XdpMode::Auto, Err(_)) if asked => vec![Mode::Generic],
        // Generic XDP copies what the host gets, too: only where it is asked for.
        (XdpMode::Auto, Err(why)) => return Plan::Refused(format!("{name} {why}")),
    };
    Plan::Try { link, modes }
}

/// Whether the program belongs into the driver of this interface.
fn suits_native(name: &str) -> Result<(), String> {
    let driver = PacketSocket::new().and_then(|socket| ethtool::driver(&socket, name));
    match driver.as_deref() {
        Ok("veth") => Err(
            "is a veth: checksums arrive unfinished there, and its peer may swallow what XDP sends \
             (engine = \"xdp\" and \"af_xdp\" run behind the driver)"
                .to_owned(),
        ),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("does not tell its driver ({error})")),
    }
}

/// Attaches where frames bear their VLAN tags when a program and AF_XDP sockets see them. What the
/// interface had to change for that is as it was, if nothing was attached.
///
/// # Errors
/// Why not, in words.
pub(super) fn with_tags<T>(
    name: &str,
    attach: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    let changed = keep_tags(name)?;
    let attached = attach();
    if attached.is_err()
        && changed
        && let Err(error) = PacketSocket::new().and_then(|s| ethtool::take_vlan_tags_out(&s, name))
    {
        tracing::warn!(%error, "{name}: rxvlan was switched off, and cannot be switched on again");
    }
    attached
}

/// Whether anything was switched off for it.
fn keep_tags(name: &str) -> Result<bool, String> {
    let kept = PacketSocket::new().and_then(|socket| {
        match ethtool::driver(&socket, name).as_deref() {
            // A veth takes no tag out; it only hands on those its peer has set apart.
            Ok("veth") => Ok(false),
            _ => ethtool::keep_vlan_tags(&socket, name),
        }
    });
    kept.map_err(|error| {
        format!(
            "VLAN tags are taken out of frames before XDP, and that cannot be switched off ({error}): \
             try `ethtool -K {name} rxvlan off`"
        )
    })
}
